"""The recorder with scripted cameras and real files: everything arrives or is counted, and one failure stays one."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anim_real.capture.recorder import sensor_stream, stream_writer
from anim_real.capture.recorder.sensor_stream import Feed, SensorStatus
from anim_real.capture.recorder.session import Recorder
from anim_real.capture.recorder.stream_health import Finding
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.depth_camera import CableState, LiveCapture
from anim_real.errors import DataError, MissingDependencyError, NoSpaceError
from capture.fake_camera import FakeCamera, live_capture, sensor_spec
from capture.recordings import depth_image, factory_calibration, jpeg

GONE = MissingDependencyError("the device is gone")


def feed(folder: Path, camera: FakeCamera, name: str = "k0", *, is_live: bool = True, **spec: Any) -> Feed:
    return Feed(sensor=sensor_spec(name, **spec), camera=camera, path=folder / f"kinect-{name}.mkv", is_live=is_live)


def wait_for(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.01)


def record(feeds: list[Feed], *, until: Callable[[Recorder], bool] | None = None) -> tuple[
    dict[str, SensorStatus], list[Finding]
]:  # fmt: skip
    """Record until every stream is over (or ``until``); statuses by sensor, and findings in the order of time."""
    over = ("ended", "lost", "failed")
    recorder = Recorder(feeds)
    recorder.begin()
    recorder.start()
    wait_for(
        lambda: all(stream.status().state in over for stream in recorder.streams) if until is None else until(recorder)
    )
    recorder.finish()
    findings = [finding for stream in recorder.streams for finding in stream.take_news()[0]]
    return {stream.feed.sensor.id: stream.status() for stream in recorder.streams}, findings


def written(path: Path) -> list[int]:
    """Indices of the captures in a recording, told by their depth images."""
    with open_recording(path) as recording:
        captures = list(recording.captures(decode_color=False))
    first = [capture.depth_mm[0, 0] // 1 for capture in captures if capture.depth_mm is not None]
    return [next(index for index in range(200) if depth_image(index)[0, 0] == value) for value in first]


def test_what_comes_is_written(tmp_path: Path) -> None:
    captures = [live_capture(index) for index in range(20)]
    captures[4] = live_capture(4, color=None)
    captures[7] = live_capture(7, depth_mm=None, ir=None, depth_time_us=None)
    del captures[12]
    statuses, findings = record([feed(tmp_path, FakeCamera(captures), is_live=False)])
    status = statuses["k0"]
    assert (status.state, status.error) == ("ended", None)
    assert (status.figures.num_captures, status.figures.num_incomplete, status.figures.num_dropped) == (19, 2, 1)
    assert (status.counts.num_written, status.counts.num_imu_written, status.counts.num_imu_lost) == (19, 18, 0)
    assert [finding.kind for finding in findings] == ["dropped", "ended"]
    with open_recording(tmp_path / "kinect-k0.mkv") as recording:
        info, stamps = recording.info, recording.stamps()
        assert (info.serial, info.color_firmware, info.depth_firmware) == ("000123456789", "1.2.3", "4.5.6")
        assert (info.num_captures, info.num_incomplete, info.num_dropped, info.is_damaged) == (19, 2, 1, False)
        assert recording.calibration_json == factory_calibration().to_json()
        for number, capture in enumerate(captures):
            frame = recording.capture(number, decode_color=False)
            assert recording.color_payload(number) == capture.color
            np.testing.assert_array_equal(frame.depth_mm, capture.depth_mm)
            np.testing.assert_array_equal(frame.ir, capture.ir)
            assert stamps.depth_time_us[number] == (capture.depth_time_us if capture.depth_mm is not None else -1)
            assert stamps.color_time_us[number] == (capture.color_time_us if capture.color is not None else -1)
        imu = recording.imu()
        at = [capture.depth_time_us for capture in captures if capture.depth_time_us is not None]
        np.testing.assert_array_equal(imu.acc_time_us, np.array(at) - 500)
        np.testing.assert_array_equal(imu.gyro_time_us, np.array(at) - 490)
        np.testing.assert_array_equal(imu.acc, np.tile(np.float32([1.0, 2.0, -9.75]), (18, 1)))


def test_subordinates_are_started_first_and_all_are_closed(tmp_path: Path) -> None:
    started: list[str] = []
    roles = {"k0": "MASTER", "k1": "SUBORDINATE", "k2": "STANDALONE", "k3": "SUBORDINATE"}
    cameras = {name: FakeCamera([live_capture(0)], serial=name, started=started) for name in roles}
    record([feed(tmp_path, cameras[name], name, sync_mode=role) for name, role in roles.items()])
    assert started == ["k1", "k3", "k2", "k0"]
    assert all(camera.is_closed for camera in cameras.values())


def test_nothing_is_written_before_begin(tmp_path: Path) -> None:
    camera = FakeCamera((live_capture(index) for index in range(10_000)), fps=100)
    recorder = Recorder([feed(tmp_path, camera)])
    recorder.start()
    stream = recorder.streams[0]
    wait_for(lambda: stream.status().figures.num_captures > 10)
    assert stream.status().depth_mm is not None
    assert list(tmp_path.iterdir()) == []
    recorder.begin()
    wait_for(lambda: stream.status().counts.num_written > 10)
    recorder.finish()
    status = stream.status()
    assert status.counts.num_written == status.figures.num_captures  # both count from the same capture on
    found = written(tmp_path / "kinect-k0.mkv")
    assert found == list(range(found[0], found[0] + status.counts.num_written))
    assert found[0] > 10


class SlowWriter:
    """Stands for the recording writer until ``free`` is set: every capture takes 50 ms."""

    def __init__(self, wrapped: Any, free: threading.Event) -> None:
        self._wrapped, self._free = wrapped, free

    def __enter__(self) -> Any:
        self._wrapped.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._wrapped.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def write_capture(self, *arguments: Any) -> None:
        self._free.wait(0.05)
        self._wrapped.write_capture(*arguments)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    free = threading.Event()
    opened = sensor_stream.open_recording_writer
    monkeypatch.setattr(sensor_stream, "open_recording_writer", lambda *args: SlowWriter(opened(*args), free))
    monkeypatch.setattr(stream_writer, "_queue_length", lambda sensor: 4)
    return free


def test_a_live_device_that_is_too_fast_is_counted(tmp_path: Path, slow_disk: threading.Event) -> None:
    captures = [live_capture(index) for index in range(60)]
    statuses, findings = record([feed(tmp_path, FakeCamera(captures, fps=200))])
    counts = statuses["k0"].counts
    found = written(tmp_path / "kinect-k0.mkv")
    assert len(found) == counts.num_written < 60
    assert counts.num_written + counts.num_overrun == 60
    missing = sorted(set(range(60)) - set(found))
    told = [finding.device_us for finding in findings if finding.kind == "overrun"]
    assert told == [captures[index].depth_time_us for index in missing]
    assert counts.num_imu_lost == counts.num_overrun  # the script has one sample per capture


def test_a_played_recording_waits_for_the_disk(tmp_path: Path, slow_disk: threading.Event) -> None:
    captures = [live_capture(index) for index in range(30)]
    statuses, _ = record([feed(tmp_path, FakeCamera(captures), is_live=False)])
    assert written(tmp_path / "kinect-k0.mkv") == list(range(30))
    assert statuses["k0"].counts.num_overrun == 0


def test_breaking_off_counts_what_was_queued(tmp_path: Path, slow_disk: threading.Event) -> None:
    camera = FakeCamera([live_capture(index) for index in range(5)], endless=True)
    recorder = Recorder([feed(tmp_path, camera)])
    recorder.begin()
    recorder.start()
    wait_for(lambda: recorder.streams[0].status().counts.num_written == 1)
    recorder.finish(discard=True)
    counts = recorder.streams[0].status().counts
    assert 1 <= counts.num_written <= 2  # the one that was being written is finished
    assert counts.num_written + counts.num_discarded + counts.num_overrun == 5
    assert counts.num_discarded >= 2
    assert written(tmp_path / "kinect-k0.mkv") == list(range(counts.num_written))


def test_a_lost_device_leaves_its_file_and_the_others_run_on(tmp_path: Path) -> None:
    lost = FakeCamera([*(live_capture(index) for index in range(5)), GONE])
    going = FakeCamera([live_capture(index) for index in range(40)], fps=100)
    statuses, findings = record([feed(tmp_path, lost, "k0"), feed(tmp_path, going, "k1")])
    assert (statuses["k0"].state, statuses["k0"].error) == ("lost", GONE)
    assert (statuses["k1"].state, statuses["k1"].error) == ("ended", None)
    assert written(tmp_path / "kinect-k0.mkv") == list(range(5))
    assert written(tmp_path / "kinect-k1.mkv") == list(range(40))
    assert ("k0", "lost") in [(finding.sensor, finding.kind) for finding in findings]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), NoSpaceError),
        (DataError("does not fit"), None),
        (NoSpaceError("no space"), NoSpaceError),
    ],
)
def test_a_file_that_fails_stops_its_sensor_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception] | None
) -> None:
    from anim_real.capture.recording.k4a_writer import RecordingWriter

    plain = RecordingWriter.write_capture

    def failing(writer: RecordingWriter, color: bytes | None, *rest: Any) -> None:
        if "k0" in str(writer._path) and color == jpeg(3 * 5):
            raise error
        plain(writer, color, *rest)

    monkeypatch.setattr(RecordingWriter, "write_capture", failing)
    feeds = [
        feed(tmp_path, FakeCamera([live_capture(i) for i in range(8)]), name, is_live=False) for name in ("k0", "k1")
    ]
    statuses, _ = record(feeds)
    assert written(tmp_path / "kinect-k1.mkv") == list(range(8))
    if kind is None:  # a capture that does not fit is left out and counted
        assert (statuses["k0"].state, statuses["k0"].counts.num_refused) == ("ended", 1)
        assert written(tmp_path / "kinect-k0.mkv") == [0, 1, 2, 4, 5, 6, 7]
    else:
        assert statuses["k0"].state == "failed"
        assert isinstance(statuses["k0"].error, kind)
        assert written(tmp_path / "kinect-k0.mkv") == [0, 1, 2]
        counts = statuses["k0"].counts
        assert counts.num_written + counts.num_discarded <= 8


def test_corrupt_images_are_left_out_and_counted(tmp_path: Path) -> None:
    """What external triggers do: a black block of zeros instead of a JPEG; and an image of another size."""
    captures: list[LiveCapture] = [live_capture(index) for index in range(6)]
    captures[1] = live_capture(1, color=bytes(1000))
    captures[2] = live_capture(2, depth_mm=np.zeros((576, 640), np.uint16))
    captures[3] = live_capture(3, color=bytes(10), depth_mm=None, ir=None, depth_time_us=None)
    statuses, findings = record([feed(tmp_path, FakeCamera(captures), is_live=False)])
    counts = statuses["k0"].counts
    assert (counts.num_written, counts.num_corrupt, counts.num_refused) == (4, 2, 1)
    told = [(finding.kind, finding.device_us) for finding in findings]
    assert ("corrupt", captures[1].depth_time_us) in told
    assert ("refused", captures[2].depth_time_us) in told
    with open_recording(tmp_path / "kinect-k0.mkv") as recording:
        assert recording.color_payload(1) is None
        np.testing.assert_array_equal(recording.capture(1).depth_mm, depth_image(1))


def test_a_clock_that_starts_anew_ends_the_recording(tmp_path: Path) -> None:
    captures = [live_capture(index, first_us=50_000_000) for index in range(40)]
    captures += [live_capture(index, first_us=10_000) for index in range(40, 50)]
    statuses, findings = record([feed(tmp_path, FakeCamera(captures), is_live=False)])
    assert statuses["k0"].state == "failed"
    assert "set back by" in str(statuses["k0"].error)
    assert written(tmp_path / "kinect-k0.mkv") == list(range(40))
    assert "clock" in {finding.kind for finding in findings}


def test_a_pulled_cable_is_told_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_stream, "_CABLE_S", 0.0)
    plugged, pulled = CableState(sync_in=True, sync_out=False), CableState(sync_in=False, sync_out=False)
    steps = [live_capture(0), live_capture(1), pulled, live_capture(2), live_capture(3)]
    _, findings = record([feed(tmp_path, FakeCamera(steps, cables=plugged), sync_mode="SUBORDINATE", is_live=False)])
    (finding,) = (finding for finding in findings if finding.kind == "cable")
    assert finding.text == "the sync-in cable was pulled"
    assert finding.device_us == live_capture(2).depth_time_us


def test_a_sensor_without_captures_leaves_no_file(tmp_path: Path) -> None:
    statuses, _ = record(
        [feed(tmp_path, FakeCamera([], endless=True), "k0"), feed(tmp_path, FakeCamera([live_capture(0)]), "k1")],
        until=lambda recorder: recorder.streams[1].status().state == "ended",
    )
    assert statuses["k0"].state == "waiting"
    assert [path.name for path in tmp_path.iterdir()] == ["kinect-k1.mkv"]


def test_a_sensor_that_only_gives_what_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    wrong = live_capture(0, depth_mm=np.zeros((576, 640), np.uint16))
    statuses, _ = record([feed(tmp_path, FakeCamera([wrong]), is_live=False)])
    assert (statuses["k0"].counts.num_written, statuses["k0"].counts.num_refused) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_ours_is_not_hidden(tmp_path: Path) -> None:
    recorder = Recorder([feed(tmp_path, FakeCamera([live_capture(0), ZeroDivisionError("ours")]))])
    recorder.begin()
    recorder.start()
    wait_for(lambda: recorder.streams[0].crash is not None)
    recorder.finish()
    assert written(tmp_path / "kinect-k0.mkv") == [0]
    with pytest.raises(ZeroDivisionError, match="ours"):
        recorder.raise_crash()


def test_a_camera_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_stream, "_HANG_S", 0.2)
    release = threading.Event()

    class Hanging(FakeCamera):
        def read(self, timeout_s: float) -> LiveCapture | None:
            capture = super().read(timeout_s)
            if capture is None:
                release.wait(20)
            return capture

    camera = Hanging([live_capture(index) for index in range(3)])
    recorder = Recorder([feed(tmp_path, camera)])
    recorder.begin()
    recorder.start()
    wait_for(lambda: recorder.streams[0].status().counts.num_written == 3)
    recorder.finish()
    status = recorder.streams[0].status()
    release.set()
    assert status.state == "lost"
    assert "does not answer" in str(status.error)
    assert not camera.is_closed
    assert written(tmp_path / "kinect-k0.mkv") == [0, 1, 2]
