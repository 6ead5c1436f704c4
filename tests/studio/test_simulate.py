"""Whole takes of the virtual studio, with a simple performer and a writer that only remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.errors import ConfigError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import Mesh, closedness_problem, load_mesh
from anim_real.rig import RigSpec, load_rig
from anim_real.studio.devices import Device, Studio, StudioErrors, make_studio, stream
from anim_real.studio.factory import shipped_factory
from anim_real.studio.multipath import MultipathPatch, multipath_error
from anim_real.studio.simulate import record_calibration, record_performance
from anim_real.studio.tables import TakeName
from anim_real.studio.truth import TakeTruth, load_truth
from anim_real.take import Take, load_take

SEED = 5
SUBJECT = TakeName(take_id="s01-walk", number=1, kind="subject", subject="s01", action="walk")
CALIBRATION = TakeName(take_id="calibration", number=0, kind="calibration", subject="target", action="")


class Memory:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.captures: list[tuple] = []
        self.imu: list[tuple] = []

    def write_capture(self, *capture) -> None:
        self.captures.append(capture)

    def write_imu(self, *sample) -> None:
        self.imu.append(sample)


class Pillar:
    """A capsule that moves sideways at 0.2 m/s and is as closed as a person."""

    def __init__(self) -> None:
        capsule = trimesh.creation.capsule(height=1.2, radius=0.2, count=[40, 40])
        vertices = np.asarray(capsule.vertices)[:, [1, 2, 0]]
        self._mesh = Mesh(
            vertices=vertices - (0.0, vertices[:, 1].min(), 0.0),
            faces=capsule.faces,
            colors=np.full((len(vertices), 3), (180, 90, 60), np.uint8),
            regions=(vertices[:, 1] > 0.5).astype(np.uint8),
        )
        self.ir_albedo = np.full(len(vertices), 0.5)

    def pose(self, action: str, time_s: float) -> Mesh:
        assert action == "walk"
        shift = np.array([(time_s % 1.0) - 0.5, 0.0, 0.0])
        return self._mesh.moved(self._mesh.vertices + 0.2 * shift)


@pytest.fixture(scope="module")
def rig() -> RigSpec:
    return load_rig(str(Path(__file__).parents[2] / "rigs" / "virtual.toml"))[0]


@pytest.fixture(scope="module")
def studio(rig: RigSpec) -> Studio:
    return make_studio(rig, shipped_factory(), parse_calibration, SEED)


def remembering(memory: Memory):
    @contextmanager
    def opened(path: Path, _: Device) -> Iterator[Memory]:
        yield memory
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"recording")

    return opened


@pytest.fixture(scope="module")
def performance(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TakeTruth, Memory]:
    output, memory = tmp_path_factory.mktemp("performance"), Memory()
    truth = record_performance(
        studio, SUBJECT, Pillar(), start_us=9e7, num_frames=9, output=output, open_writer=remembering(memory)
    )
    return output, truth, memory


@pytest.fixture(scope="module")
def calibration(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TakeTruth, Memory]:
    output, memory = tmp_path_factory.mktemp("calibration"), Memory()
    box = trimesh.creation.box((0.5, 0.6, 0.4)).subdivide().subdivide().subdivide()
    target = Mesh(vertices=box.vertices, faces=box.faces, colors=np.full((len(box.vertices), 3), 220, np.uint8))
    truth = record_calibration(
        studio,
        CALIBRATION,
        target,
        start_us=2e7,
        num_placements=3,
        burst=5,
        output=output,
        open_writer=remembering(memory),
    )
    return output, truth, memory


def opened(result: tuple[Path, TakeTruth, Memory]) -> Take:
    return load_take(result[0] / "takes" / result[1].take_id)


def test_take_is_what_a_rig_writes(performance):
    take = opened(performance)
    assert take.spec.subject == "s01" and take.spec.kind == "subject" and take.spec.rig == "virtual"
    assert take.spec.consent is not None
    assert sorted(take.scan_paths) == list(range(9))
    assert take.pulse_time_us is not None and take.led is None
    assert take.recording("k0").is_file()


def test_truth_reads_back(performance):
    output, truth, _ = performance
    assert load_truth(output, "s01-walk") == truth


def test_captures_are_what_the_truth_says(performance):
    _, truth, memory = performance
    sensor = truth.sensors["k0"]
    assert len(memory.captures) == len(sensor.captures) == 9 + 6 - len(sensor.dropped_pulses)
    for written, told in zip(memory.captures, sensor.captures, strict=True):
        jpeg, depth_mm, ir, color_us, depth_us = written
        assert (color_us, depth_us) == (told.color_time_us, told.depth_time_us)
        assert (jpeg is None) == (color_us is None)
        assert (depth_mm is None) == (ir is None) == (depth_us is None)
        if depth_mm is not None:
            assert depth_mm.shape == (576, 640) and 0.2 < (depth_mm > 0).mean() < 0.8
        if jpeg is not None:
            assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (720, 1280, 3)
    assert len(sensor.dropped_pulses) == 1 and len(sensor.incomplete) == 1


def test_clock_truth_ties_stamps_of_both_systems(performance):
    take, truth = opened(performance), performance[1]
    sensor = truth.sensors["k0"]
    assert abs(sensor.clock_to_scanner.drift_ppm) < 500
    for capture in sensor.captures:
        if capture.scan_frame is not None and capture.depth_time_us is not None:
            mapped = sensor.clock_to_scanner.to_dst(capture.depth_time_us)
            stamp = take.scan_time_us[capture.scan_frame]
            assert mapped - stamp == pytest.approx(capture.scan_dt_us, abs=2.0)  # rounding of both stamps, drift of dt


def test_pulses_are_told_to_the_truth_only(performance):
    take, truth = opened(performance), performance[1]
    sensor = truth.sensors["k0"]
    pulses = np.array(truth.pulse_time_us)
    assert take.pulse_time_us is not None and len(take.pulse_time_us) == len(truth.logged_pulses)
    assert np.abs(take.pulse_time_us - pulses[list(truth.logged_pulses)]).max() < 50
    for capture in sensor.captures:
        if capture.depth_time_us is not None:
            exposed = sensor.clock_to_generator.to_dst(capture.depth_time_us)
            assert exposed - pulses[capture.pulse] == pytest.approx(sensor.latency_us, abs=2.0)


def test_scan_is_in_millimetres_in_its_own_frame(performance, studio: Studio):
    output, _truth, _ = performance
    take = opened(performance)
    closed = load_mesh(output / "truth" / "s01-walk" / "meshes" / "frame-000004.ply")
    assert closedness_problem(closed) is None
    scan = load_mesh(take.scan_paths[4])
    assert 1_000 < np.ptp(scan.vertices, axis=0).max() < 2_500  # a person's height in millimetres
    assert scan.regions is not None and set(scan.regions) == {0, 1}
    distance = SurfaceDistance(closed.vertices, closed.faces).closest(scan.vertices / 1000.0).distance
    assert np.median(distance) == pytest.approx(0.0003 * 0.6745, rel=0.15)  # median of |N(0, 0.3 mm)|
    assert len(np.load(output / "truth" / "s01-walk" / "regions.npy")) == len(closed.vertices)


def test_depth_lies_on_the_scan_once_the_bias_is_removed(performance):
    """The whole chain: device clock, poses, lens, bias. A wrong sign or frame would show at once."""
    output, truth, memory = performance
    sensor = truth.sensors["k0"]
    camera = sensor.depth.camera()
    rays = camera.rays()
    length = np.sqrt((rays**2).sum(-1) + 1)
    pattern = np.load(output / "truth" / "s01-walk" / "depth_pattern-k0.npy")
    T_scan_depth = sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()
    checked, added, left = 0, [], []
    for capture, written in zip(sensor.captures, memory.captures, strict=True):
        if capture.scan_frame is None or written[1] is None:
            continue
        z = written[1] / 1000.0
        seen = np.concatenate([rays * z[..., None], z[..., None]], -1)
        patches = tuple(
            MultipathPatch(center_depth=np.array(p.center_depth), amplitude_m=p.amplitude_m, radius_m=p.radius_m)
            for p in capture.multipath
        )
        error = np.interp(z * length, sensor.depth_error_range_m, sensor.depth_error_m) + pattern
        error = error + multipath_error(seen, patches)
        corrected = np.where(z > 0, z - error / length, np.nan)
        points = T_scan_depth.apply(np.concatenate([rays * corrected[..., None], corrected[..., None]], -1))
        points = points[np.isfinite(points).all(-1)]
        points = points[(np.hypot(points[:, 0], points[:, 2]) < 0.7) & (points[:, 1] > 0.05)]
        closed = load_mesh(output / "truth" / "s01-walk" / "meshes" / f"frame-{capture.scan_frame:06d}.ply")
        nearest = SurfaceDistance(closed.vertices, closed.faces).closest(points)
        assert (nearest.distance < 0.02).mean() > 0.97  # the rest are flying pixels
        triangles = closed.corners[nearest.face]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        signed = ((points - nearest.point) * normals).sum(1)[nearest.distance < 0.02]
        assert abs(np.median(signed)) < 0.0004
        in_depth = T_scan_depth.inverse().apply(points)
        facing = -(T_scan_depth.rotate(in_depth) * normals).sum(1) / np.linalg.norm(in_depth, axis=1)
        sure = (nearest.distance < 0.02) & (facing > 0.5)
        added.append(multipath_error(in_depth, patches)[sure] * facing[sure])
        left.append(((points - nearest.point) * normals).sum(1)[sure])
        checked += 1
    assert checked >= 6
    patched = np.concatenate(added) > 0.0006
    assert patched.sum() > 300
    assert abs(np.median(np.concatenate(left)[patched])) < 0.0004 < np.median(np.concatenate(added)[patched])


def test_scene_errors_can_be_switched_off_and_are_what_the_truth_says(rig: RigSpec, performance, tmp_path: Path):
    """The same take without them: scans differ by the bend of the truth, the truth's meshes not at all."""
    output, truth, _ = performance
    errors = StudioErrors(scanner_m=0.0, multipath_m=0.0)
    exact = make_studio(rig, shipped_factory(), parse_calibration, SEED, errors=errors)
    again = record_performance(
        exact, SUBJECT, Pillar(), start_us=9e7, num_frames=9, output=tmp_path, open_writer=remembering(Memory())
    )
    assert not again.scanner_bend.bend().amplitudes.any()
    assert any(capture.multipath for capture in truth.sensors["k0"].captures)
    assert not any(capture.multipath for capture in again.sensors["k0"].captures)
    name = "takes/s01-walk/scans/frame-000004.glb"
    straight, bent = (load_mesh(folder / name).vertices / 1000.0 for folder in (tmp_path, output))
    assert np.abs(truth.scanner_bend.bend()(straight) - bent).max() < 1e-6  # float32 of a file in millimetres
    assert 0.00005 < np.linalg.norm(bent - straight, axis=1).mean() < 0.0006
    mesh = "truth/s01-walk/meshes/frame-000004.ply"
    assert (tmp_path / mesh).read_bytes() == (output / mesh).read_bytes()
    with pytest.raises(ConfigError, match="multipath_m"):
        StudioErrors(multipath_m=-0.001)


def test_imu_feels_gravity(performance):
    memory = performance[2]
    acceleration = np.stack([sample[1] for sample in memory.imu])
    assert np.linalg.norm(acceleration.mean(0)) == pytest.approx(9.81, abs=0.01)
    times = np.array([sample[0] for sample in memory.imu])
    assert (np.diff(times) > 0).all()
    assert 1_500 < 1e6 / np.median(np.diff(times)) < 1_700


def test_calibration_take_tells_its_placements(calibration, studio: Studio):
    take, truth = opened(calibration), calibration[1]
    assert take.spec.kind == "calibration" and take.spec.target == "prism"
    assert sorted(take.scan_paths) == sorted(place.scan_frame for place in truth.placements)
    for place in truth.placements:
        scan = load_mesh(take.scan_paths[place.scan_frame])
        inside = place.T_scan_target.rigid().inverse().apply(scan.vertices / 1000.0)
        assert np.abs(np.abs(inside) - (0.25, 0.3, 0.2)).min(1).max() < 0.002  # on a face of the box
        assert studio.rig.volume.contains(scan.vertices / 1000.0, np.array([0.0, 1.0, 0.0])).mean() > 0.99


def test_led_shows_its_code_to_both_systems(calibration):
    take, truth, memory = opened(calibration), calibration[1], calibration[2]
    assert take.led is not None and len(take.led) == len(take.scan_time_us)
    sensor = truth.sensors["k0"]
    assert sensor.led_px is not None
    u, v = (round(value) for value in sensor.led_px)
    levels, seen, scanned = [], [], []
    for capture, written in zip(sensor.captures, memory.captures, strict=True):
        if written[0] is None:
            continue
        image = cv2.imdecode(np.frombuffer(written[0], np.uint8), cv2.IMREAD_COLOR)
        seen.append(float(image[v - 1 : v + 2, u - 1 : u + 2, 1].mean()))
        levels.append(capture.led_level)
        scanned.append(take.led["level"][capture.scan_frame])
    assert np.ptp(levels) > 0.9
    assert np.corrcoef(levels, seen)[0, 1] > 0.99
    assert np.corrcoef(levels, scanned)[0, 1] > 0.8  # exposures of 8 and 3 ms integrate edges differently


def test_same_seed_same_bytes(rig: RigSpec, performance, tmp_path: Path):
    output, _, memory = performance
    again, again_memory = make_studio(rig, shipped_factory(), parse_calibration, SEED), Memory()
    record_performance(
        again, SUBJECT, Pillar(), start_us=9e7, num_frames=9, output=tmp_path, open_writer=remembering(again_memory)
    )
    files = sorted(path.relative_to(output) for path in output.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((output / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)
    for first, second in zip(memory.captures, again_memory.captures, strict=True):
        assert first[0] == second[0]
        assert np.array_equal(first[1], second[1]) and np.array_equal(first[2], second[2])


def test_streams_do_not_depend_on_each_other():
    assert stream(1, 2, 3).random() == stream(1, 2, 3).random()
    assert len({stream(*path).random() for path in ((1,), (1, 2), (1, 2, 3), (1, 3, 2), (2, 1, 3))}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trigger": None}, "trigger"),
        ({"scanner.fps": 15.0}, "one rate"),
        ({"depth_mode": "PASSIVE_IR"}, "has no depth"),
    ],
)
def test_refuses_rigs_it_cannot_simulate(rig: RigSpec, changes: dict, message: str):
    table = rig.model_dump(by_alias=True)
    for key, value in changes.items():
        if key == "scanner.fps":
            table["scanner"]["fps"] = value
        elif key == "depth_mode":
            table["sensors"][0][key] = value
        else:
            table[key] = value
    with pytest.raises(ConfigError, match=message):
        make_studio(RigSpec.model_validate(table), shipped_factory(), parse_calibration, 0)
