"""The whole probe on virtual cameras with a projector whose effect is known; time passes only when someone sleeps."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anim_real.calibration import Calibration, CameraModel, DepthBias, RigidModel, SensorCalibration, save_calibration
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.commands.jobs.probe import run_probe
from anim_real.console import Console
from anim_real.depth_camera import CableState, DepthCamera, ImuSample, LiveCapture
from anim_real.errors import ConfigError, MissingDependencyError, RefusedError
from anim_real.report import Report
from anim_real.rig import RigSpec, load_rig
from anim_real.studio.devices import Studio, equip_studio
from anim_real.studio.live import Faults, VirtualCamera, VirtualRig
from anim_real.studio.live_images import projector_effect

SECONDS = 2.2
SHAPE = (288, 320)
QUIET = Console(quiet=True)


class HandClock:
    """Seconds that pass when someone sleeps; ``then`` is called once when ``at_s`` is reached."""

    def __init__(self) -> None:
        self.now_s, self.at_s = 0.0, np.inf
        self.then: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self.at_s:
            self.at_s = np.inf
            self.then()


class Foreign(DepthCamera):
    """A camera that the probe cannot recognise as virtual."""

    def __init__(self, inner: VirtualCamera, *, without_depth: bool = False) -> None:
        self.inner, self.info, self.calibration_json = inner, inner.info, inner.calibration_json
        self._without_depth = without_depth

    def start(self) -> None:
        self.inner.start()

    def read(self, timeout_s: float) -> LiveCapture | None:
        capture = self.inner.read(timeout_s)
        if self._without_depth and capture is not None:
            return LiveCapture(color=capture.color, color_time_us=capture.color_time_us)
        return capture

    def read_imu(self) -> list[ImuSample]:
        return self.inner.read_imu()

    def cable_state(self) -> CableState:
        return self.inner.cable_state()

    def close(self) -> None:
        self.inner.close()


class Hand(io.StringIO):
    """A person at the terminal, who switches the projector and presses Enter."""

    def __init__(self, stage: VirtualRig) -> None:
        super().__init__()
        self.stage, self.is_on, self.num_presses = stage, True, 0

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:  # type: ignore[override]
        self.is_on = not self.is_on
        self.num_presses += 1
        self.stage.switch_projector(self.is_on)
        return "\n"


@pytest.fixture(scope="module")
def rig() -> RigSpec:
    """The shipped pair with binned depth, to be quick."""
    pair = load_rig(str(Path(__file__).parents[2] / "rigs" / "virtual_pair.toml"))[0]
    sensors = tuple(sensor.model_copy(update={"depth_mode": "NFOV_2X2BINNED"}) for sensor in pair.sensors)
    return pair.model_copy(update={"sensors": sensors})


@pytest.fixture(scope="module")
def studio(rig: RigSpec) -> Studio:
    from anim_real.studio.factory import shipped_factory

    return equip_studio(rig, shipped_factory(), parse_calibration, 4, max_color_width=160)


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds; tests of the verdict do without."""
    monkeypatch.setattr("anim_real.commands.jobs.probe_page.probe_page", lambda *_: Report("probe"))


@pytest.fixture
def make_rig(rig: RigSpec, studio: Studio, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anim_real.studio.live_stage.equip_studio", lambda *_, **__: studio)

    def made(clock: HandClock, **faults: Faults) -> VirtualRig:
        return VirtualRig(rig, parse_calibration, seed=4, faults=faults, clock=clock, sleep=clock.sleep)

    return made


def opened(stage: VirtualRig) -> dict[str, VirtualCamera]:
    return {sensor.id: stage.open(sensor.id) for sensor in stage.rig.sensors}


def true_effect(camera: VirtualCamera) -> tuple[np.ndarray, np.ndarray]:
    """(N,) effect and (N,) standard deviation in mm of the pixels that return surely and are no edges."""
    odds = camera._view(is_pushed=False)[0]
    v, u = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    sure = (odds.low == 0.0) & (odds.high == 1.0)
    return projector_effect(v, u).ravel()[sure], odds.sigma_mm[sure]


def test_one_camera_is_disturbed_as_the_truth_says_and_the_other_is_not(make_rig, rig: RigSpec, tmp_path: Path):
    clock = HandClock()
    disturbed = Faults(lit_bias_mm=3.0, lit_noise_factor=2.0, lit_dropout_share=0.05, lit_ir_counts=80.0)
    cameras = opened(make_rig(clock, k1=disturbed))
    with pytest.raises(RefusedError, match="k1 disturbed: mean bias") as refused:
        run_probe(rig, cameras, tmp_path / "probe", console=QUIET, seconds=SECONDS)
    assert "probe.html" in str(refused.value) and "k0" not in str(refused.value)
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    k0, k1 = record["sensors"]["k0"], record["sensors"]["k1"]
    assert (k0["verdict"], k1["verdict"]) == ("ok", "disturbed")
    assert k1["num_captures"] == [64, 64, 64]  # 66 planned, eight blocks of eight
    effect, sigma = true_effect(cameras["k1"])
    assert k1["bias_mm"] == pytest.approx(3.0 * effect.mean(), abs=5 * k1["bias_se_mm"] + 0.03)
    assert k1["rms_bias_mm"] == pytest.approx(3.0 * np.sqrt((effect**2).mean()), abs=0.04)
    growth = sigma.astype(float) ** 2 * ((1.0 + effect) ** 2 - 1.0)
    assert k1["added_noise_mm"] == pytest.approx(np.sqrt(np.median(growth)), rel=0.03)
    assert k1["added_dropout"] == pytest.approx(0.05 * effect.mean(), abs=0.002)
    assert 2.6 < k1["worst_tile_mm"] < 3.4
    assert abs(k0["bias_mm"]) < 5 * k0["bias_se_mm"] + 0.005 and k0["rms_bias_mm"] < 0.15
    page = (tmp_path / "probe" / "probe.html").read_text()
    assert page.count("image/svg+xml") == 4  # maps and histograms of each sensor
    assert "k0: ok" in page and "k1: disturbed" in page
    assert "160 µs" in page and "850 nm" in page  # what helps
    assert 'class="bad">no' in page and 'class="good">yes' in page


@pytest.mark.usefixtures("plain_page")
def test_nothing_disturbs_and_the_command_ends_well(make_rig, rig: RigSpec, tmp_path: Path):
    clock = HandClock()
    result = run_probe(rig, opened(make_rig(clock)), tmp_path / "probe", console=QUIET, seconds=SECONDS)
    assert result.path == tmp_path / "probe" and len(result.lines) == 2
    assert all(sensor["verdict"] == "ok" for sensor in result.record["sensors"].values())
    assert 3 * SECONDS + 3.0 < clock.now_s < 3 * SECONDS + 6.0  # three stretches, three times settling
    with pytest.raises(ConfigError, match="exists"):
        run_probe(rig, {}, tmp_path / "probe", console=QUIET)


@pytest.mark.parametrize("at_s", [2.5, 5.0, 8.0])  # while off, while on, while off again
@pytest.mark.usefixtures("plain_page")
def test_a_push_at_any_time_is_refused(make_rig, rig: RigSpec, tmp_path: Path, at_s: float):
    clock = HandClock()
    stage = make_rig(clock, k1=Faults(lit_bias_mm=5.0))
    clock.at_s, clock.then = at_s, stage.push
    with pytest.raises(RefusedError, match=r"k0 refused: .*moved"):
        run_probe(rig, opened(stage), tmp_path / "probe", console=QUIET, seconds=SECONDS)
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert {sensor["verdict"] for sensor in record["sensors"].values()} == {"refused"}


@pytest.mark.usefixtures("plain_page")
@pytest.mark.parametrize("is_confirmed", [False, True])
def test_a_person_switches_when_asked(
    make_rig, rig: RigSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, is_confirmed: bool
):
    stage = make_rig(HandClock(), k0=Faults(lit_bias_mm=3.0), k1=Faults(lit_bias_mm=3.0))
    hand = Hand(stage)
    waits: list[float] = []
    if is_confirmed:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        monkeypatch.setattr("time.sleep", lambda seconds: (waits.append(seconds), hand.readline()))
    else:
        monkeypatch.setattr(sys, "stdin", hand)
    cameras = {name: Foreign(camera) for name, camera in opened(stage).items()}
    with pytest.raises(RefusedError, match=r"k0 disturbed: mean bias 1.*k1 disturbed"):
        run_probe(rig, cameras, tmp_path / "probe", console=Console(), seconds=SECONDS, is_confirmed=is_confirmed)
    assert hand.num_presses == 3 and waits == ([5.0] * 3 if is_confirmed else [])
    asked = capsys.readouterr().err
    assert [asked.count(f"projector {word} ") for word in ("ON", "OFF")] == [1, 2]


def test_without_a_terminal_nobody_can_switch(make_rig, rig: RigSpec, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n\n"))
    cameras = {name: Foreign(camera) for name, camera in opened(make_rig(HandClock())).items()}
    with pytest.raises(ConfigError, match="Enter"):
        run_probe(rig, cameras, tmp_path / "probe", console=QUIET, seconds=SECONDS)
    assert not (tmp_path / "probe").exists()


def calibrated(rig: RigSpec, studio: Studio, serial: str | None = None) -> Calibration:
    """The true calibration of the virtual rig."""
    sensors = {
        name: SensorCalibration(
            sensor=name,
            serial=serial or device.serial,
            color=CameraModel.of(device.kinect.color, device.spec.color_mode),
            depth=CameraModel.of(device.kinect.depth, device.spec.depth_mode),
            T_color_depth=RigidModel.of(device.kinect.T_color_depth),
            T_color_scan=RigidModel.of(device.kinect.T_color_world @ studio.T_scan_world.inverse()),
            covariance=tuple((0.0,) * 6 for _ in range(6)),
            depth_bias=DepthBias(),
            placements=(),
            predicted_person_mm=0.5,
        )
        for name, device in studio.devices.items()
    }
    return Calibration(
        rig=rig.name, rig_sha256="0" * 64, target="prism", protocol="default", take_id="calibration", sensors=sensors,
        gates=(), inputs_sha256={}, tool_version="0", created="2026-01-01",
    )  # fmt: skip


@pytest.mark.usefixtures("plain_page")
def test_calibrated_only_the_volume_counts(make_rig, rig: RigSpec, studio: Studio, tmp_path: Path):
    path = save_calibration(tmp_path / "calibration.json", calibrated(rig, studio))
    cameras = opened(make_rig(HandClock()))
    result = run_probe(rig, cameras, tmp_path / "probe", console=QUIET, seconds=SECONDS, calibration=path)
    for name, camera in cameras.items():
        kinect = studio.devices[name].kinect
        truth = kinect.see_depth(camera.stage.surface, camera.stage.surface_pose(False))
        points = kinect.depth.unproject(np.stack(np.meshgrid(np.arange(320), np.arange(288)), -1), truth.z)
        points[~np.isfinite(points)] = np.nan
        world = kinect.T_depth_world.inverse().apply(points)
        odds = camera._view(is_pushed=False)[0]
        sure = ((odds.low == 0.0) & (odds.high == 1.0)).reshape(SHAPE)
        with np.errstate(invalid="ignore"):
            inside = (np.hypot(world[..., 0], world[..., 2]) < 1.0) & (world[..., 1] > 0.015) & (world[..., 1] < 2.4)
        figures = result.record["sensors"][name]
        assert figures["in_volume"]
        assert figures["num_pixels"] == pytest.approx((inside & sure).sum(), rel=0.05)
        assert figures["num_pixels"] < 0.5 * sure.sum()  # neither floor nor wall


def test_a_calibration_of_other_devices_is_refused(make_rig, rig: RigSpec, studio: Studio, tmp_path: Path):
    path = save_calibration(tmp_path / "calibration.json", calibrated(rig, studio, serial="123"))
    with pytest.raises(ConfigError, match="was 123"):
        run_probe(rig, opened(make_rig(HandClock())), tmp_path / "probe", console=QUIET, calibration=path)


def test_cameras_that_deliver_nothing_are_named(make_rig, rig: RigSpec, tmp_path: Path):
    cameras: dict[str, DepthCamera] = dict(opened(make_rig(HandClock(), k0=Faults(lose_s=3.0))))
    with pytest.raises(MissingDependencyError, match=r"k0.*gone"):
        run_probe(rig, cameras, tmp_path / "probe", console=QUIET, seconds=SECONDS)
    stage = make_rig(HandClock())
    blind = {name: Foreign(camera, without_depth=name == "k1") for name, camera in opened(stage).items()}
    with pytest.raises(MissingDependencyError, match=r"k1.*no depth"):
        run_probe(rig, blind, tmp_path / "probe", console=QUIET, seconds=SECONDS, is_confirmed=True)
    alone = rig.model_copy(update={"sensors": rig.sensors[1:]})
    subordinate = {"k1": make_rig(HandClock()).open("k1")}
    with pytest.raises(MissingDependencyError, match=r"k1.*master"):
        run_probe(alone, subordinate, tmp_path / "probe", console=QUIET, seconds=SECONDS)
    assert not (tmp_path / "probe").exists()


def test_rigs_that_cannot_be_probed_are_refused_before_anything_starts(make_rig, rig: RigSpec, tmp_path: Path):
    cameras = opened(make_rig(HandClock()))
    with pytest.raises(ConfigError, match="fewer than 60"):
        run_probe(rig, cameras, tmp_path / "probe", console=QUIET, seconds=1.0)
    with pytest.raises(ConfigError, match="differ: k1"):
        run_probe(rig, {"k0": cameras["k0"]}, tmp_path / "probe", console=QUIET)
    passive = rig.sensors[0].model_copy(update={"depth_mode": "PASSIVE_IR"})
    with pytest.raises(ConfigError, match="PASSIVE_IR"):
        run_probe(
            rig.model_copy(update={"sensors": (passive, rig.sensors[1])}), cameras, tmp_path / "probe", console=QUIET
        )
    assert all(camera._exposures is None for camera in cameras.values())
