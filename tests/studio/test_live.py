"""Live virtual cameras on a clock that the test moves: stamps, order of starting, losses, modes; then in real time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.depth_camera import LiveCapture
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import RigSpec, load_rig
from anim_real.studio.devices import Studio, equip_studio
from anim_real.studio.factory import shipped_factory
from anim_real.studio.live import QUEUE_CAPTURES, CaptureEvent, Faults, VirtualCamera, VirtualRig

RIGS = Path(__file__).parents[2] / "rigs"
SEED = 3
PERIOD_US = 1e6 / 30
COLOR_WIDTH = 320  # traced at a quarter of 720P and enlarged


class HandClock:
    """Seconds that pass only when someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def changed(name: str, **of_first: object) -> RigSpec:
    """A shipped rig with small images, its first sensor changed."""
    rig = load_rig(str(RIGS / f"{name}.toml"))[0]
    small = [sensor.model_copy(update={"depth_mode": "NFOV_2X2BINNED"}) for sensor in rig.sensors]
    return rig.model_copy(update={"sensors": (small[0].model_copy(update=of_first), *small[1:])})


def alone(**changes: object) -> RigSpec:
    """The first sensor of the pair, changed, as a rig of its own."""
    rig = load_rig(str(RIGS / "virtual_pair.toml"))[0]
    return rig.model_copy(update={"sensors": (rig.sensors[0].model_copy(update=changes),)})


@pytest.fixture(scope="module")
def equipped() -> dict[tuple, Studio]:
    """Studios are slow to trace: tests share them through ``make_rig``."""
    return {}


@pytest.fixture
def make_rig(equipped: dict[tuple, Studio], monkeypatch: pytest.MonkeyPatch):
    def cached(rig: RigSpec, *rest, **options) -> Studio:
        key = tuple((sensor.id, sensor.depth_mode, sensor.color_mode) for sensor in rig.sensors)
        if key not in equipped:
            equipped[key] = equip_studio(rig, *rest, **options)
        devices = {
            sensor.id: replace(equipped[key].devices[sensor.id], spec=sensor) for sensor in rig.sensors
        }  # what is traced depends on the modes only
        return replace(equipped[key], rig=rig, devices=devices)

    monkeypatch.setattr("anim_real.studio.live_stage.equip_studio", cached)
    monkeypatch.setattr("anim_real.studio.live_stage.MAX_COLOR_WIDTH", COLOR_WIDTH)

    def made(rig: RigSpec, clock: HandClock | None = None, **faults: Faults) -> VirtualRig:
        timing = {} if clock is None else {"clock": clock, "sleep": clock.sleep}
        return VirtualRig(rig, parse_calibration, seed=SEED, faults=faults, **timing)

    return made


def read_until(cameras: list[VirtualCamera], clock: HandClock, seconds: float) -> list[list[LiveCapture]]:
    """Read all cameras in turn until so much time has passed."""
    end, captures = clock.now_s + seconds, [[] for _ in cameras]
    while clock.now_s < end:
        for camera, got in zip(cameras, captures, strict=True):
            capture = camera.read(1.0)
            assert capture is not None
            got.append(capture)
    return captures


def depth_stamps(captures: list[LiveCapture]) -> np.ndarray:
    return np.array([capture.depth_time_us for capture in captures])


def test_master_and_subordinate_expose_on_the_same_pulses(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock)
    master, subordinate = rig.open("k0"), rig.open("k1")
    subordinate.start()
    master.start()
    first, second = (depth_stamps(got) for got in read_until([master, subordinate], clock, 6.0))
    assert len(first) == len(second) >= 170
    assert np.abs(np.diff(first) - PERIOD_US).max() <= 1.0  # the master's own clock sets the pace, whole µs
    clocks = [rig.studio.devices[name].clock for name in ("k0", "k1")]
    studio = [
        (stamps - c.offset_us) / (1 + c.drift_ppm * 1e-6) for stamps, c in zip((first, second), clocks, strict=True)
    ]
    assert np.abs(studio[1] - studio[0] - 160.0).max() < 2.0  # the rig's subordinate_delay_us, in true time
    relative_ppm = (np.diff(second).mean() / np.diff(first).mean() - 1.0) * 1e6
    assert relative_ppm == pytest.approx(clocks[1].drift_ppm - clocks[0].drift_ppm, abs=0.5)
    assert abs(relative_ppm) > 5.0  # else this seed would show nothing


def test_subordinate_waits_for_its_master_and_misses_one_that_is_ahead(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock)
    master, subordinate = rig.open("k0"), rig.open("k1")
    subordinate.start()
    with pytest.raises(TimeoutError, match="k1"):
        subordinate.read(2.0)
    assert clock.now_s == pytest.approx(102.0, abs=0.01)
    master.start()
    assert subordinate.read(1.0) is not None
    late = make_rig(changed("virtual_pair"), clock)
    master, subordinate = late.open("k0"), late.open("k1")
    master.start()
    assert master.read(1.0) is not None
    subordinate.start()
    with pytest.raises(TimeoutError):
        subordinate.read(3.0)


def test_pulses_end_when_the_master_is_closed(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock)
    master, subordinate = rig.open("k0"), rig.open("k1")
    subordinate.start()
    master.start()
    assert master.read(1.0) is not None
    master.close()
    master.close()
    assert master.read(1.0) is None
    assert subordinate.read(0.5) is not None
    with pytest.raises(TimeoutError):
        for _ in range(5):
            subordinate.read(0.5)


def test_trigger_box_paces_a_subordinate_with_jitter(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual"), clock)
    camera = rig.open("k0")
    camera.start()
    (got,) = read_until([camera], clock, 10.0)
    drift = 1.0 + rig.studio.devices["k0"].clock.drift_ppm * 1e-6
    steps = np.diff(depth_stamps(got))
    assert steps.mean() == pytest.approx(PERIOD_US * drift, abs=1.0)
    assert 30.0 < steps.std() < 55.0  # 30 µs at either end: 42


def test_depth_delay_and_exposure_are_in_the_capture(make_rig):
    clock = HandClock()
    camera = make_rig(changed("virtual_pair", depth_delay_us=-250, sync_mode="STANDALONE"), clock).open("k0")
    camera.start()
    for capture in read_until([camera], clock, 0.5)[0]:
        assert capture.depth_time_us is not None and capture.color_time_us is not None
        assert abs(capture.depth_time_us - capture.color_time_us + 250) <= 1
        assert capture.color_exposure_us == 8_000


def test_faults_are_what_was_asked_for_and_told_as_truth(make_rig):
    clock = HandClock()
    faults = Faults.parse("drop=3+4,no_color=6,no_depth=8,drop_share=0.1")
    rig = make_rig(changed("virtual_pair"), clock, k0=faults)
    camera = rig.open("k0")
    camera.start()
    (got,) = read_until([camera], clock, 8.0)
    events = {event.index: event for event in camera.events}
    assert sorted(events) == list(range(len(camera.events)))
    assert events[3].fate == events[4].fate == "dropped"
    assert events[6] == CaptureEvent(6, "delivered", None, events[6].depth_time_us)
    assert events[8].depth_time_us is None
    delivered = [event for event in camera.events if event.fate == "delivered"]
    stamps = [(capture.color_time_us, capture.depth_time_us) for capture in got]
    assert stamps == [(event.color_time_us, event.depth_time_us) for event in delivered]
    bare = [capture for capture in got if capture.depth_time_us is None]
    assert len(bare) == 1 and bare[0].depth_mm is None and bare[0].ir is None and bare[0].color is not None
    dropped = sum(event.fate == "dropped" for event in camera.events)
    assert 12 <= dropped <= 45  # two asked for and a tenth of 240
    missing = np.rint(np.diff([s[1] or s[0] for s in stamps]) / PERIOD_US) - 1
    assert missing.sum() == dropped - sum(event.fate == "dropped" for event in camera.events[-1:])


def test_captures_that_nobody_reads_are_lost_beyond_the_queue(make_rig):
    clock = HandClock()
    camera = make_rig(changed("virtual_pair"), clock).open("k0")
    camera.start()
    assert camera.read(1.0) is not None
    clock.now_s += 1.0
    got = [camera.read(0.0) for _ in range(QUEUE_CAPTURES)]
    with pytest.raises(TimeoutError):
        camera.read(0.0)
    indices = [event.index for event in camera.events if event.fate == "delivered"]
    assert indices[1:] == list(range(indices[1], indices[1] + len(got)))
    lost = [event.index for event in camera.events if event.fate == "overrun"]
    assert lost == list(range(1, indices[1])) and 26 <= len(lost) <= 28  # 30 came, three were kept


def test_pulled_cable_is_seen_and_the_subordinate_runs_on_by_its_own_clock(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock, k1=Faults(unplug_s=2.0))
    master, subordinate = rig.open("k0"), rig.open("k1")
    subordinate.start()
    master.start()
    assert (master.cable_state().sync_out, subordinate.cable_state().sync_in) == (True, True)
    first, second = (depth_stamps(got) for got in read_until([master, subordinate], clock, 6.0))
    assert (master.cable_state().sync_out, subordinate.cable_state().sync_in) == (True, False)
    own = np.diff(second)
    assert np.abs(own[61:] - PERIOD_US).max() <= 1.0  # after 2 s: a period of its own clock
    drifts = [rig.studio.devices[name].clock.drift_ppm for name in ("k0", "k1")]
    expected = PERIOD_US * (1.0 + (drifts[1] - drifts[0]) * 1e-6)
    assert np.abs(own[:58] - expected).max() <= 1.0
    assert abs(expected - PERIOD_US) > 5.0
    assert len(first) == len(second)  # nothing stops


def test_lost_device_is_an_error_that_names_it(make_rig):
    clock = HandClock()
    camera = make_rig(changed("virtual_pair"), clock, k0=Faults(lose_s=1.0)).open("k0")
    with pytest.raises(MissingDependencyError, match="not started"):
        camera.read(1.0)
    camera.start()
    with pytest.raises(MissingDependencyError, match=camera.info.serial):
        read_until([camera], clock, 3.0)
    assert len(camera.events) in (30, 31)


def test_depth_noise_is_independent_from_capture_to_capture(make_rig):
    clock = HandClock()
    camera = make_rig(changed("virtual_pair"), clock).open("k0")
    camera.start()
    (got,) = read_until([camera], clock, 3.0)
    stack = np.stack([capture.depth_mm for capture in got if capture.depth_mm is not None]).astype(float)
    stack[:, (stack == 0).any(0)] = np.nan
    sure = np.isfinite(stack[0])
    centred = stack[:, sure] - stack[:, sure].mean(0)
    assert sure.sum() > 20_000
    lag_1 = (centred[1:] * centred[:-1]).mean(0) / (centred**2).mean(0)
    assert abs(np.median(lag_1) + 1 / len(stack)) < 0.01  # the bias of a mean taken from the same readings
    odds = camera._view(is_pushed=False)[0]
    expected = np.hypot(odds.sigma_mm.reshape(odds.shape)[sure], np.sqrt(1 / 12))
    assert np.median(centred.std(0, ddof=1) / expected) == pytest.approx(1.0, abs=0.02)


def test_projector_disturbs_as_stated_while_it_is_on(make_rig):
    clock = HandClock()
    faults = Faults(lit_bias_mm=8.0, lit_noise_factor=2.0, lit_dropout_share=0.4, lit_ir_counts=300.0)
    rig = make_rig(changed("virtual_pair"), clock, k0=faults)
    camera = rig.open("k0")
    camera.start()
    stacks = {}
    for is_on in (False, True):
        rig.switch_projector(is_on)
        read_until([camera], clock, 0.2)
        stacks[is_on] = read_until([camera], clock, 3.0)[0]
    middle = np.s_[:, 124:164, 140:180]
    depth = {on: np.stack([c.depth_mm for c in got])[middle].astype(float) for on, got in stacks.items()}
    sure = (depth[False] > 0).all(0)
    assert sure.sum() > 400
    depth = {on: values[:, sure] for on, values in depth.items()}
    ir = {on: np.stack([c.ir for c in got])[middle].astype(float).mean() for on, got in stacks.items()}
    assert (depth[True] == 0).mean() == pytest.approx(0.4, abs=0.02)
    for values in depth.values():
        values[values == 0] = np.nan
    change = np.nanmean(depth[True], 0) - np.nanmean(depth[False], 0)
    assert np.median(change) == pytest.approx(8.0, abs=0.15)
    assert np.nanstd(depth[True], 0).mean() / np.nanstd(depth[False], 0).mean() == pytest.approx(2.0, rel=0.1)
    assert ir[True] - ir[False] == pytest.approx(300.0, rel=0.05)


def test_a_push_moves_what_is_seen(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock)
    camera = rig.open("k0")
    camera.start()
    before = camera.read(1.0)
    rig.push()
    read_until([camera], clock, 0.2)
    after = camera.read(1.0)
    assert before is not None and before.depth_mm is not None and before.color is not None
    assert after is not None and after.depth_mm is not None and after.color is not None
    jump = np.abs(before.depth_mm.astype(int) - after.depth_mm)[(before.depth_mm > 0) & (after.depth_mm > 0)] > 100
    assert 100 < jump.sum() < 3_000  # the outline


def test_imu_runs_at_its_rate_without_gaps_and_forgets_what_nobody_reads(make_rig):
    clock = HandClock()
    rig = make_rig(changed("virtual_pair"), clock)
    camera = rig.open("k0")
    assert camera.read_imu() == []
    camera.start()
    samples = []
    for _ in range(50):
        clock.now_s += 0.02
        samples += camera.read_imu()
    stamps = np.array([sample.acc_time_us for sample in samples])
    assert np.abs(np.diff(stamps) - 610.0).max() <= 2.0
    assert 1e6 / np.diff(stamps).mean() == pytest.approx(1639.0, abs=3.0)
    acc = np.array([sample.acc for sample in samples])
    assert np.linalg.norm(acc.mean(0)) == pytest.approx(9.81, abs=0.02)
    clock.now_s += 60.0
    assert len(camera.read_imu()) == pytest.approx(2e6 / 610, abs=2)


@pytest.mark.parametrize("color_format", ["MJPG", "NV12", "YUY2", "BGRA"])
def test_colour_comes_in_the_format_of_the_sensor(make_rig, color_format: str):
    clock = HandClock()
    rig = changed("virtual_pair", color_format=color_format)
    camera = make_rig(rig, clock).open("k0")
    camera.start()
    capture = camera.read(1.0)
    assert capture is not None and capture.color is not None
    raw = np.frombuffer(capture.color, np.uint8)
    if color_format == "MJPG":
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    elif color_format == "NV12":
        image = cv2.cvtColor(raw.reshape(1080, 1280), cv2.COLOR_YUV2BGR_NV12)
    elif color_format == "YUY2":
        image = cv2.cvtColor(raw.reshape(720, 1280, 2), cv2.COLOR_YUV2BGR_YUY2)
    else:
        image = raw.reshape(720, 1280, 4)[..., :3]
    assert image is not None and image.shape == (720, 1280, 3)
    kinect = camera._device.kinect
    seen = kinect.see_color(camera.stage.surface, camera.stage.surface_pose(False), num_samples=2).color[..., ::-1]
    expected = cv2.resize(seen, (1280, 720), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(cv2.blur(image.astype(np.float32), (9, 9)) - cv2.blur(expected, (9, 9)))
    difference[np.hypot(*(np.indices(difference.shape[:2]) - 4 * kinect.led_pixel()[::-1, None, None])) < 60] = 0.0
    assert difference.mean() < 1.0  # the noise of an image averaged over 81 pixels, and its code
    assert np.percentile(difference, 99) < 3.0


@pytest.mark.parametrize(
    ("depth_mode", "size", "fps"),
    [("NFOV_UNBINNED", (576, 640), 30), ("WFOV_2X2BINNED", (512, 512), 30), ("WFOV_UNBINNED", (1024, 1024), 15)],
)
def test_depth_modes_have_their_size_and_range(make_rig, depth_mode: str, size: tuple[int, int], fps: int):
    clock = HandClock()
    camera = make_rig(alone(depth_mode=depth_mode, fps=fps), clock).open("k0")
    camera.start()
    first, second = camera.read(1.0), camera.read(1.0)
    assert first is not None and first.depth_mm is not None and first.ir is not None and second is not None
    assert first.depth_mm.shape == first.ir.shape == size
    assert second.depth_time_us is not None and first.depth_time_us is not None
    assert abs(second.depth_time_us - first.depth_time_us - 1e6 / fps) <= 1.0
    farthest = {"NFOV_UNBINNED": 3860, "WFOV_2X2BINNED": 2880, "WFOV_UNBINNED": 2210}[depth_mode]
    assert 0.9 * farthest < np.percentile(first.depth_mm[first.depth_mm > 0], 99.9) < farthest + 30
    assert (first.depth_mm > 0).mean() > 0.1


def test_passive_ir_has_an_image_and_no_depth(make_rig):
    clock = HandClock()
    camera = make_rig(alone(depth_mode="PASSIVE_IR"), clock).open("k0")
    camera.start()
    capture = camera.read(1.0)
    assert capture is not None and capture.ir is not None and capture.depth_time_us is not None
    assert capture.depth_mm is None
    assert capture.ir.shape == (1024, 1024) and 20 < np.percentile(capture.ir, 90) < 500


def test_devices_are_those_of_the_studios_takes(make_rig):
    rig = changed("virtual")
    recorded = equip_studio(rig, shipped_factory(), parse_calibration, SEED, max_color_width=64).devices["k0"]
    live = make_rig(rig, HandClock()).open("k0")
    assert live.calibration_json == recorded.factory_json and live.info.serial == recorded.serial
    assert live._device.clock == recorded.clock
    assert np.array_equal(live._device.kinect.T_color_world.matrix, recorded.kinect.T_color_world.matrix)


def test_same_seed_same_captures(make_rig):
    images = []
    for _ in range(2):
        camera = make_rig(changed("virtual_pair"), HandClock()).open("k0")
        camera.start()
        images.append([camera.read(1.0) for _ in range(3)])
    for first, second in zip(*images, strict=True):
        assert first is not None and second is not None
        assert first.color == second.color and np.array_equal(first.depth_mm, second.depth_mm)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dorp=3", "dorp"),
        ("drop=x", "drop"),
        ("drop_share=1.5", "drop_share"),
        ("lit_noise_factor=0.5", "lit_noise_factor"),
        ("lose_s", "lose_s"),
        ("lose_s=-3", "lose_s -3"),
        ("unplug_s=nan", "unplug_s nan"),
        ("lit_bias_mm=nan", "lit_bias_mm"),
        ("drop=3+-1", "drop -1"),
    ],
)
def test_impossible_faults_are_refused(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Faults.parse(text)


def test_faults_must_fit_the_rig():
    rig = changed("virtual_pair")
    with pytest.raises(ConfigError, match="k7"):
        VirtualRig(rig, parse_calibration, faults={"k7": Faults()})
    with pytest.raises(ConfigError, match="no cable"):
        VirtualRig(rig, parse_calibration, faults={"k0": Faults(unplug_s=1.0)})


def test_two_cameras_keep_up_with_the_wall_clock(make_rig):
    rig = make_rig(changed("virtual_pair"))
    master, subordinate = rig.open("k0"), rig.open("k1")
    subordinate.start()
    master.start()
    began, used, num = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < 2.0:
        for camera in (master, subordinate):
            assert camera.read(2.0) is not None
            num += 1
    used = time.process_time() - used
    elapsed = time.monotonic() - began
    lost = sum(event.fate == "overrun" for camera in (master, subordinate) for event in camera.events)
    assert num + lost == pytest.approx(2 * 30 * elapsed, abs=14)  # less the time until the first exposure
    assert used / num < 0.012  # CPU seconds; two sensors at 30 fps on one core allow 16 ms each
