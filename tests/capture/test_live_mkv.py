"""Playing a recording as a camera: exactly what was recorded, paced to its stamps."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.live.playback import MkvCamera
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.depth_camera import CableState
from anim_real.errors import ConfigError, DataError, NotFoundError
from anim_real.rig import SensorSpec

from .recordings import CONFIG, depth_image, factory_calibration, jpeg, write_recording

TIMES = [2_000_000, 2_033_333, 2_100_000, 2_133_333]  # one capture was dropped


class _Time:
    """A clock that only moves when someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def _spec(**changes: object) -> SensorSpec:
    return SensorSpec.model_validate({"id": "front", "depth_mode": "NFOV_2X2BINNED", **changes})


def test_captures_are_those_of_the_file_byte_for_byte(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES, without_color=(1,), without_depth=(2,))
    with MkvCamera(_spec(), path, is_paced=False) as camera:
        assert camera.calibration_json == factory_calibration().to_json()
        assert (camera.info.backend, camera.info.serial) == ("mkv", CONFIG.serial)
        assert (camera.info.color_firmware, camera.info.depth_firmware) == (
            CONFIG.color_firmware,
            CONFIG.depth_firmware,
        )
        assert camera.cable_state() == CableState()
        camera.start()
        captures = [camera.read(1.0) for _ in TIMES]
        assert camera.read(1.0) is None and camera.read(1.0) is None
    first, no_color, no_depth, _ = captures
    assert first is not None and no_color is not None and no_depth is not None
    assert first.color == jpeg(0)
    assert (first.color_time_us, first.depth_time_us) == (2_000_037, 2_000_000)
    assert first.depth_mm is not None and np.array_equal(first.depth_mm, depth_image(0))
    assert first.ir is not None and np.array_equal(first.ir, depth_image(500))
    assert (no_color.color, no_color.color_time_us, no_color.depth_time_us) == (None, None, 2_033_333)
    assert no_depth.color == jpeg(10) and no_depth.color_time_us == 2_100_037
    assert (no_depth.depth_mm, no_depth.ir, no_depth.depth_time_us) == (None, None, None)


def test_starting_again_plays_from_the_first_capture(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES)
    with MkvCamera(_spec(), path, is_paced=False) as camera:
        with pytest.raises(ConfigError, match="before it was started"):
            camera.read(1.0)
        for _ in range(2):
            camera.start()
            capture = camera.read(1.0)
            assert capture is not None and capture.depth_time_us == TIMES[0]


def test_imu_samples_follow_the_captures_and_none_is_lost(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES, num_imu=12)
    with open_recording(path) as recording:
        table = recording.imu()
    with MkvCamera(_spec(), path, is_paced=False) as camera:
        camera.start()
        assert camera.read_imu() == []
        camera.read(1.0)
        early = camera.read_imu()
        assert [sample.acc_time_us for sample in early] == [TIMES[0]]  # later ones have not happened yet
        samples = list(early)
        while camera.read(1.0) is not None:
            samples += camera.read_imu()
    assert [sample.acc_time_us for sample in samples] == table.acc_time_us.tolist()
    assert [sample.gyro_time_us for sample in samples] == table.gyro_time_us.tolist()
    assert [list(sample.acc) for sample in samples] == table.acc.tolist()
    assert [list(sample.gyro) for sample in samples] == table.gyro.tolist()


def test_paced_captures_come_when_their_stamps_are_due(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES)
    watch = _Time()
    with MkvCamera(_spec(), path, clock=watch.clock, sleep=watch.sleep) as camera:
        camera.start()
        arrived = []
        while camera.read(1.0) is not None:
            arrived.append(watch.now_s - 50.0)
    assert arrived == pytest.approx([(time_us - TIMES[0]) / 1e6 for time_us in TIMES], abs=1e-9)


def test_a_capture_that_is_not_due_in_time_is_a_timeout_and_comes_later(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES)
    watch = _Time()
    with MkvCamera(_spec(), path, clock=watch.clock, sleep=watch.sleep) as camera:
        camera.start()
        camera.read(1.0)
        with pytest.raises(TimeoutError):
            camera.read(0.02)
        assert watch.slept[-1] == 0.02
        capture = camera.read(0.02)
    assert capture is not None and capture.depth_time_us == TIMES[1]


def test_pacing_keeps_real_time(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES)
    with MkvCamera(_spec(), path) as camera:
        camera.start()
        started_s = time.monotonic()
        while camera.read(1.0) is not None:
            pass
        assert time.monotonic() - started_s >= (TIMES[-1] - TIMES[0]) / 1e6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serial": "000999"}, "serial 000123456789 instead of 000999"),
        ({"depth_mode": "NFOV_UNBINNED"}, "depth_mode NFOV_2X2BINNED instead of NFOV_UNBINNED"),
        ({"fps": 15, "color_mode": "1080P"}, "color_mode 720P instead of 1080P, fps 30 instead of 15"),
        ({"color_format": "BGRA"}, "color_format MJPG instead of BGRA"),
    ],
)
def test_a_recording_of_another_configuration_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = write_recording(tmp_path / "a.mkv", TIMES[:1])
    with pytest.raises(ConfigError, match=words):
        MkvCamera(_spec(**changes), path)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        MkvCamera(_spec(), tmp_path / "none.mkv")
    (tmp_path / "text.mkv").write_text("no recording at all")
    with pytest.raises(DataError):
        MkvCamera(_spec(), tmp_path / "text.mkv")


def test_the_real_recording_plays(shared_data: Path) -> None:
    (path,) = sorted((shared_data / "k4a-recording").glob("*.mkv"))[:1]
    with open_recording(path) as recording:
        info, num_captures = recording.info, len(recording)
        last_color = recording.color_payload(num_captures - 1)
    spec = _spec(depth_mode=info.depth_mode, color_mode=info.color_mode, color_format=info.color_format, fps=info.fps)
    with MkvCamera(spec, path, is_paced=False) as camera:
        camera.start()
        captures, samples = [], []
        while (capture := camera.read(1.0)) is not None:
            captures.append(capture)
            samples += camera.read_imu()
    assert len(captures) == num_captures and len(samples) == info.num_imu_samples
    assert captures[-1].color == last_color
