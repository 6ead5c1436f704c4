"""``record`` end to end: virtual cameras with faults, played recordings, signals, a full disk, refusals."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture.fake_camera import FakeCamera, live_capture, sensor_spec
from capture.recordings import write_recording

from anim_real.capture.recorder.record_log import RecordLog
from anim_real.capture.recorder.sensor_stream import Feed
from anim_real.capture.recording.k4a_mkv import RecordingConfig, open_recording
from anim_real.cli import main
from anim_real.commands.jobs import live_recording
from anim_real.commands.jobs.live_course import Plan
from anim_real.commands.jobs.live_recording import record_take
from anim_real.commands.jobs.live_status import LiveStatus, Shown, plain_line
from anim_real.commands.jobs.rig_cameras import read_faults
from anim_real.commands.jobs.stop_signals import StopSignals
from anim_real.console import Console, Result
from anim_real.errors import ConfigError, MissingDependencyError, NoSpaceError
from anim_real.rig import load_rig
from anim_real.specs import load_json, load_toml
from anim_real.studio.faults import Faults
from anim_real.studio.live import CaptureEvent, VirtualCamera, VirtualRig
from anim_real.take import TakeSpec, load_take

Usage = namedtuple("Usage", "total used free")
FPS = 15
RIG = """schema = "anim-real/rig/1"
name = "small"
{sensors}
[scanner]
name = "scanner"
fps = 30.0
unit = "mm"
"""
SENSOR = '[[sensors]]\nid = "{id}"\ndepth_mode = "NFOV_2X2BINNED"\nfps = {fps}\nsync_mode = "{role}"\n'
MODES = {"depth_mode": "NFOV_2X2BINNED", "color_mode": "720P"}


def write_rig(folder: Path, *, fps: int = FPS, extra: str = "", **roles: str) -> Path:
    roles = roles or {"k0": "MASTER", "k1": "SUBORDINATE"}
    sensors = "".join(
        SENSOR.format(id=name, fps=fps, role=role) + ("subordinate_delay_us = 160\n" if role == "SUBORDINATE" else "")
        for name, role in roles.items()
    )
    path = folder / "small.toml"
    path.write_text(RIG.format(sensors=sensors) + extra)
    return path


def write_source(folder: Path, name: str, times_us: list[int], *, serial: str, fps: int = 30, **lost: Any) -> Path:
    config = RecordingConfig(
        serial=serial, fps=fps, color_mode="720P", depth_mode="NFOV_2X2BINNED", color_firmware="1.6.102"
    )
    return write_recording(folder / f"kinect-{name}.mkv", times_us, config=config, **lost)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def log_of(folder: Path) -> RecordLog:
    return load_json(RecordLog, folder / "record.json", schema="anim-real/record/1")


@pytest.fixture
def virtual_events(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[CaptureEvent]]:
    """What every virtual camera did, by sensor: the truth that a record is held against."""
    events: dict[str, list[CaptureEvent]] = {}
    plain = VirtualRig.open

    def opened(self: VirtualRig, sensor_id: str) -> VirtualCamera:
        camera = plain(self, sensor_id)
        events[sensor_id] = camera.events
        return camera

    monkeypatch.setattr(VirtualRig, "open", opened)
    return events


def test_two_virtual_cameras_with_drops_and_a_pulled_cable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], virtual_events: dict[str, list[CaptureEvent]]
) -> None:
    rig, folder = write_rig(tmp_path), tmp_path / "s01-walk"
    code, out, err = said(
        capsys, "record", "--rig", str(rig), "--backend", "virtual", "--duration", "6.5", "-o", str(folder),
        "--subject", "s01", "--action", "walk", "--consent", "research", "publication", "--licence", "CC-BY-4.0",
        "--consent-date", "2026-02-03", "--fault", "k1:drop=20+21,unplug_s=4", "--fault", "k0:drop=30,no_depth=40",
    )  # fmt: skip
    assert code == 0, err
    assert out.splitlines()[-1] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "kinect-k0.mkv", "kinect-k1.mkv", "record.json", "take.toml",
    ]  # fmt: skip

    log = log_of(folder)
    assert (log.stopped_by, log.take_id, log.rig) == ("duration", "s01-walk", "small")
    assert 6.3 < log.duration_s < 8.0
    for name, sensor in log.sensors.items():
        came = [event for event in virtual_events[name] if event.fate == "delivered"]
        lost = [event.index for event in virtual_events[name] if event.fate != "delivered"]
        lost = [index for index in lost if came[0].index < index < came[-1].index]
        assert set(lost) >= {"k0": {30}, "k1": {20, 21}}[name]  # a busy machine may lose more
        assert (sensor.num_captures, sensor.num_dropped) == (len(came), len(lost))
        assert sensor.num_incomplete == {"k0": 1, "k1": 0}[name]
        assert (sensor.first_us, sensor.last_us) == (came[0].depth_time_us, came[-1].depth_time_us)
        with open_recording(folder / f"kinect-{name}.mkv") as recording:
            info, stamps = recording.info, recording.stamps()
            assert (info.serial, info.fps, info.is_damaged) == (sensor.serial, FPS, False)
            assert (info.num_captures, info.num_dropped) == (sensor.num_written, sensor.num_dropped)
            assert info.num_incomplete == sensor.num_incomplete
            assert info.sync_mode == {"k0": "MASTER", "k1": "SUBORDINATE"}[name]
            assert info.num_imu_samples == sensor.num_imu_written > 1000 * log.duration_s
            gaps = np.flatnonzero(np.rint(np.diff(stamps.time_us) * FPS / 1e6) > 1)
        drops = [event for event in log.events if (event.sensor, event.kind) == (name, "dropped")]
        assert [event.device_us for event in drops] == stamps.time_us[gaps].tolist()
        assert (sensor.state, sensor.num_captures) == ("stopped", sensor.num_written)

    pulled = [event for event in log.events if event.kind in ("cable", "trigger")]
    assert {event.sensor for event in pulled} == {"k1"}
    (cable,) = (event for event in pulled if event.kind == "cable")
    first_s = log.sensors["k1"].first_at_s
    assert first_s is not None
    assert cable.text == "the sync-in cable was pulled"
    assert first_s + 3.9 < cable.at_s < first_s + 5.2
    (bend,) = (event for event in pulled if event.kind == "trigger")
    assert bend.at_s == pytest.approx(first_s + 4.0, abs=0.5)
    assert "the sync-in cable was pulled" in err
    assert "the sync-in cable was pulled" in out

    spec = load_toml(TakeSpec, folder / "take.toml")
    assert (spec.subject, spec.action, spec.kind, spec.rig) == ("s01", "walk", "subject", "small")
    assert spec.consent is not None
    assert (spec.consent.scope, str(spec.consent.date)) == (("research", "publication"), "2026-02-03")
    assert f"k1: {log.sensors['k1'].num_dropped} dropped" in spec.note
    assert "the sync-in cable was pulled" in spec.note

    code, page, err = said(capsys, "inspect", str(folder / "record.json"))
    assert code == 0, err
    told = [line.strip() for line in out.splitlines()[:-1]]
    assert [line.strip() for line in page.splitlines()][2:] == told  # what was said at the end
    assert "take s01-walk, rig small, begun 20" in page

    code, out, _ = said(capsys, "inspect", str(folder))
    assert code == 0
    assert "no scans yet" in out


def test_a_lost_device_is_partial_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = MissingDependencyError("the device is gone")
    cameras = {
        "k0": FakeCamera((live_capture(index) for index in range(10_000)), serial="000000000000", fps=60),
        "k1": FakeCamera([*(live_capture(index) for index in range(9)), gone], serial="000000000001"),
    }
    monkeypatch.setattr("anim_real.commands.jobs.rig_cameras.open_camera", lambda spec, **_: cameras[spec.id])
    folder = tmp_path / "lost"
    rig = write_rig(tmp_path, fps=30, k0="STANDALONE", k1="STANDALONE")
    serials = rig.read_text().replace('id = "k0"', 'id = "k0"\nserial = "000000000000"')
    rig.write_text(serials.replace('id = "k1"', 'id = "k1"\nserial = "000000000001"'))
    code, out, err = said(
        capsys, "record", "--rig", str(rig), "--backend", "pyk4a", "--duration", "1", "-o", str(folder), "--json"
    )
    assert code == 3
    record = json.loads(out)
    assert record["stopped_by"] == "duration"
    assert record["failures"] == ["sensor k1: the device is gone"]
    assert "k1 at" in err
    assert "the device is gone" in err
    assert record["sensors"]["k1"]["state"] == "lost"
    with open_recording(folder / "kinect-k0.mkv") as whole, open_recording(folder / "kinect-k1.mkv") as part:
        assert not part.info.is_damaged
        assert len(part) == 9
        assert len(whole) == record["sensors"]["k0"]["num_written"] > 12
    assert "the device is gone" in load_toml(TakeSpec, folder / "take.toml").note


def test_what_is_played_is_recorded_bytewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    times = {name: [start + round(index * 1e6 / 30) for index in range(30) if index not in lost]
             for name, start, lost in (("k0", 900_000, (11,)), ("k1", 77_000_000, (4, 5)))}  # fmt: skip
    write_source(source, "k0", times["k0"], serial="000000000001", without_depth=(3,))
    write_source(source, "k1", times["k1"], serial="000000000002", without_color=(7, 8))
    rig = write_rig(tmp_path, fps=30, k0="STANDALONE", k1="STANDALONE")
    code, out, _ = said(
        capsys, "record", "--rig", str(rig), "--backend", "mkv", "--source", str(source), "-o", str(folder), "--json"
    )
    assert code == 0
    assert json.loads(out)["stopped_by"] == "ended"
    for name in ("k0", "k1"):
        with (
            open_recording(source / f"kinect-{name}.mkv") as old,
            open_recording(folder / f"kinect-{name}.mkv") as new,
        ):
            assert len(new) == len(old) == len(times[name])
            for kind in ("color_time_us", "depth_time_us", "ir_time_us"):
                np.testing.assert_array_equal(getattr(new.stamps(), kind), getattr(old.stamps(), kind))
            for index in range(len(old)):
                assert new.color_payload(index) == old.color_payload(index)
                before, after = old.capture(index, decode_color=False), new.capture(index, decode_color=False)
                np.testing.assert_array_equal(after.depth_mm, before.depth_mm)
                np.testing.assert_array_equal(after.ir, before.ir)
            for kind in ("acc_time_us", "acc", "gyro_time_us", "gyro"):
                np.testing.assert_array_equal(getattr(new.imu(), kind), getattr(old.imu(), kind))
            assert new.calibration_json == old.calibration_json
            assert (new.info.serial, new.info.color_firmware) == (old.info.serial, "1.6.102")
            assert new.info.start_offset_us == old.info.start_offset_us


def test_the_real_recording_is_recorded_bytewise(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared_data / "k4a-recording" / "recording.mkv"
    rig = write_rig(tmp_path, fps=5, k0="STANDALONE")
    rig.write_text(rig.read_text().replace("NFOV_2X2BINNED", "NFOV_UNBINNED"))
    arguments = ["--backend", "mkv", "--source", str(source), "-o", str(tmp_path / "copy")]
    code, _, err = said(capsys, "record", "--rig", str(rig), *arguments)
    assert code == 0, err
    with open_recording(source) as old, open_recording(tmp_path / "copy" / "kinect-k0.mkv") as new:
        assert new.color_payload(0) == old.color_payload(0)
        before, after = old.capture(0), new.capture(0)
        np.testing.assert_array_equal(after.depth_mm, before.depth_mm)
        np.testing.assert_array_equal(after.ir, before.ir)
        assert (after.color_time_us, after.depth_time_us) == (before.color_time_us, before.depth_time_us)
        np.testing.assert_array_equal(new.imu().acc, old.imu().acc)
        assert new.calibration_json == old.calibration_json
        for key in ("serial", "color_firmware", "depth_firmware", "fps", "sync_mode", "depth_delay_us"):
            assert getattr(new.info, key) == getattr(old.info, key), key


@pytest.fixture(scope="module")
def long_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty seconds at 5 fps, and its rig."""
    folder = tmp_path_factory.mktemp("long")
    times = [1_000_000 + index * 200_000 for index in range(150)]
    write_source(folder, "k0", times, serial="000000000001", fps=5)
    write_rig(folder, fps=5, k0="STANDALONE")
    return folder


def recording_process(source: Path, folder: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "anim_real.cli", "record", "--rig", str(source / "small.toml"), "--backend", "mkv",
            "--source", str(source / "kinect-k0.mkv"), "-o", str(folder), "--subject", "s01",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def wait_for_recording(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until half a megabyte lies in the growing file."""
    end_s = time.monotonic() + 60
    while not any(path.suffix == ".mkv" and path.stat().st_size > 500_000 for path in listed(folder)):
        assert time.monotonic() < end_s
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def test_signals_end_it_in_good_order(long_source: Path, tmp_path: Path) -> None:
    asked = {"int": signal.SIGINT, "term": signal.SIGTERM}
    processes = {name: recording_process(long_source, tmp_path / name) for name in asked}
    answers = {}
    for name, process in processes.items():
        wait_for_recording(tmp_path / name, process)
        process.send_signal(asked[name])
    for name, process in processes.items():
        answers[name] = (*process.communicate(timeout=60), process.returncode)
    out, err, code = answers["int"]
    assert code == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "int")
    _, err, code = answers["term"]
    assert code == 143, err
    assert f"recorded into {tmp_path / 'term'}" in err
    assert "Traceback" not in err
    for name, stopped_by in (("int", "request"), ("term", "terminated")):
        folder = tmp_path / name
        assert sorted(path.name for path in folder.iterdir()) == ["kinect-k0.mkv", "record.json", "take.toml"]
        log = log_of(folder)
        assert log.stopped_by == stopped_by
        assert stopped_by in load_toml(TakeSpec, folder / "take.toml").note
        with open_recording(folder / "kinect-k0.mkv") as recording:
            assert not recording.info.is_damaged
            assert recording.info.num_captures == log.sensors["k0"].num_written > 2
            assert recording.info.num_dropped == 0


def test_what_was_killed_is_salvaged(long_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "killed"
    process = recording_process(long_source, folder)
    wait_for_recording(folder, process)
    process.kill()
    process.communicate(timeout=60)
    assert "never closed" in load_toml(TakeSpec, folder / "take.toml").note
    code, _, err = said(capsys, "inspect", str(folder))
    assert code == 4
    assert "kinect-k0.partial.mkv: this recording was never finished" in err
    (folder / "kinect-k0.partial.mkv").rename(folder / "kinect-k0.mkv")
    code, out, _ = said(capsys, "inspect", str(folder), "--json")
    assert code == 0
    assert json.loads(out)["num_captures"]["k0"] >= 2


def test_a_full_disk_keeps_what_was_written(long_source: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses in the same way."""
    limit = 4_000_000
    process = recording_process(
        long_source, tmp_path / "full",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    _, err = process.communicate(timeout=60)
    folder = tmp_path / "full"
    assert process.returncode == 13, err
    assert f"What came until then is in {folder}" in err
    assert log_of(folder).stopped_by == "full disk"
    assert "full disk" in load_toml(TakeSpec, folder / "take.toml").note
    assert (folder / "kinect-k0.mkv").stat().st_size <= limit
    with open_recording(folder / "kinect-k0.mkv") as recording:
        assert not recording.info.is_unfinished
        assert recording.info.num_captures >= 5
        assert recording.capture(len(recording) - 1).depth_mm is not None


def feed(folder: Path, camera: FakeCamera, name: str = "k0", **spec: Any) -> Feed:
    return Feed(sensor=sensor_spec(name, **spec), camera=camera, path=folder / f"kinect-{name}.mkv")


def plan(folder: Path, **changes: Any) -> Plan:
    take = TakeSpec.model_validate(
        {"schema": "anim-real/take/1", "take_id": "t", "kind": "subject", "subject": "s01", "rig": "small"}
    )
    return Plan(
        **{"folder": folder, "take": take, "rig_sha256": "0" * 64, "duration_s": None, "warm_up_s": 0.0, **changes}
    )


def endless(name: str = "k0", **options: Any) -> FakeCamera:
    return FakeCamera((live_capture(index) for index in range(10_000)), serial=name, fps=60, **options)


def quiet() -> LiveStatus:
    return LiveStatus(Console(quiet=True))


def test_recording_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [10_000_000_000] * 6
    monkeypatch.setattr(live_recording, "free_bytes", lambda path: room.pop() if room else 10_000_000)
    folder = tmp_path / "t"
    with pytest.raises(NoSpaceError, match="no space") as caught, StopSignals() as stop:
        record_take([feed(folder, endless())], plan(folder), quiet(), stop)
    assert str(folder) in str(caught.value)
    with open_recording(folder / "kinect-k0.mkv") as recording:
        assert not recording.info.is_damaged
    assert log_of(folder).stopped_by == "full disk"
    assert not (folder / ".reserve").exists()


def test_breaking_off_still_closes_the_take(tmp_path: Path) -> None:
    """A second Ctrl-C."""
    folder = tmp_path / "t"
    camera = endless()
    with StopSignals() as stop:
        plain = stop.asked.wait

        def wait(timeout: float | None = None) -> bool:
            if list(folder.glob("*kinect-k0*")):
                plain(0.5)
                raise KeyboardInterrupt
            return plain(timeout)

        stop.asked.wait = wait  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            record_take([feed(folder, camera)], plan(folder), quiet(), stop)
    assert camera.is_closed
    with open_recording(folder / "kinect-k0.mkv") as recording:
        assert not recording.info.is_damaged
    log = log_of(folder)
    assert log.stopped_by == "broken off"
    counts = log.sensors["k0"]
    assert counts.num_captures == counts.num_written + counts.num_discarded + counts.num_overrun


def test_a_second_signal_breaks_off() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.received == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_all_devices_lost_is_said_with_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    gone = MissingDependencyError("the device is gone", fix="Check its cable")
    camera = FakeCamera([*(live_capture(index) for index in range(4)), gone])
    with pytest.raises(MissingDependencyError, match="the device is gone") as caught, StopSignals() as stop:
        record_take([feed(folder, camera)], plan(folder), quiet(), stop)
    assert f"What came until then is in {folder}. Check its cable" in str(caught.value)
    assert log_of(folder).stopped_by == "lost"
    with open_recording(folder / "kinect-k0.mkv") as recording:
        assert len(recording) == 4


def test_a_sensor_without_pulses_fails_alone_and_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_recording, "_FIRST_CAPTURE_S", 0.5)
    silent = [FakeCamera([], serial=name, endless=True) for name in ("a", "b")]
    folder = tmp_path / "none"
    with (
        pytest.raises(MissingDependencyError, match=r"nothing was recorded.*no pulses") as caught,
        StopSignals() as stop,
    ):
        record_take([feed(folder, silent[0], sync_mode="SUBORDINATE")], plan(folder, duration_s=0.3), quiet(), stop)
    assert caught.value.exit_code == 5
    assert not folder.exists()
    folder = tmp_path / "half"
    feeds = [feed(folder, endless(), "k0"), feed(folder, silent[1], "k1", sync_mode="SUBORDINATE")]
    with StopSignals() as stop:
        outcome = record_take(feeds, plan(folder, duration_s=0.5), quiet(), stop)
    assert outcome.failures == ("sensor k1: no capture came (no pulses on its sync cable)",)
    assert sorted(load_take(folder, require_scans=False).recordings) == ["k0"]


def test_a_device_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    class Refusing(FakeCamera):
        def start(self) -> None:
            time.sleep(0.5)  # the other one records meanwhile
            raise MissingDependencyError("the device is in use")

    cameras = [endless("k0"), Refusing([], serial="k1")]
    folder = tmp_path / "t"
    with pytest.raises(MissingDependencyError, match="in use"), StopSignals() as stop:
        record_take([feed(folder, camera, camera.info.serial) for camera in cameras], plan(folder), quiet(), stop)
    assert all(camera.is_closed for camera in cameras)
    assert listed(tmp_path) == []


def test_warming_up_writes_nothing_and_tells_the_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of script in one of the clock: 6 mm per minute."""
    folder = tmp_path / "t"
    captures = (
        live_capture(index, depth_mm=np.full((288, 320), 2000 + index // 12, np.uint16)) for index in range(10_000)
    )
    camera = FakeCamera(captures, fps=60)
    monkeypatch.setattr("anim_real.capture.recorder.depth_stability._LEAST_S", 0.5)
    with StopSignals() as stop:
        outcome = record_take([feed(folder, camera)], plan(folder, duration_s=0.5, warm_up_s=1.5), quiet(), stop)
    (remark,) = (remark for remark in outcome.log.remarks if "drifts" in remark)
    assert "depth of k0 still drifts by +" in remark
    with open_recording(folder / "kinect-k0.mkv") as recording:
        first = recording.capture(0).depth_time_us
    assert first is not None
    assert first > 900_000 + 30 * 33_333  # what came while it warmed up is not there
    assert log_of(folder).warm_up_s == 1.5


def test_a_folder_that_another_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder, camera = tmp_path / "t", endless()
    folder.mkdir()
    with pytest.raises(ConfigError, match="something else made it"), StopSignals() as stop:
        record_take([feed(folder, camera)], plan(folder), quiet(), stop)
    assert camera.is_closed
    assert listed(folder) == []


def test_stopping_while_it_warms_up_leaves_nothing(tmp_path: Path) -> None:
    folder, camera = tmp_path / "t", endless()
    with StopSignals() as stop:
        stop.asked.set()
        with pytest.raises(KeyboardInterrupt):
            record_take([feed(folder, camera)], plan(folder, warm_up_s=60.0), quiet(), stop)
    assert camera.is_closed
    assert listed(tmp_path) == []


def test_the_plain_line_says_what_matters(tmp_path: Path) -> None:
    from anim_real.capture.recorder.session import Recorder

    recorder = Recorder([feed(tmp_path, endless(), sync_mode="SUBORDINATE")])
    statuses = [stream.status() for stream in recorder.streams]
    shown = Shown(
        phase="recording", elapsed_s=12.3, total_s=60.0, statuses=statuses, triggers={}, free_bytes=5_000_000_000
    )
    assert plain_line(shown) == (
        "recording 12 of 60 s, 0.0 MB/s, 5.0 GB free"
        " | k0 waits for pulses: 0.0 fps, 0 captures, 0 incomplete, 0 dropped"
    )


def test_a_take_gets_its_scans_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "t"
    with StopSignals() as stop:
        record_take([feed(folder, FakeCamera([live_capture(0)]))], plan(folder), quiet(), stop)
    code, _, err = said(capsys, "calibrate", str(folder), "--rig", "virtual", "-o", str(tmp_path / "c.json"))
    assert code == 10
    assert "no scans yet" in err
    (folder / "scans").mkdir()
    (folder / "scans" / "timestamps.csv").write_text("frame_index,time_us\n0,10\n1,20\n")
    (folder / "scans" / "frame-000001.glb").write_bytes(b"x")
    assert sorted(load_take(folder).scan_paths) == [1]
    code, out, _ = said(capsys, "inspect", str(folder))
    assert code == 0
    assert "2 frames, 1 meshes" in out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--duration", "0"], 2, "--duration"),
        (["--duration", "nan"], 2, "--duration"),
        (["--warm-up", "-1"], 2, "--warm-up"),
        (["--subject", "Jane Doe"], 2, "subject"),
        (["--take", "../t"], 2, "--take: '../t' cannot be an id. Give lower-case letters"),
        (["--consent", "research"], 2, "--licence"),
        (["--licence", "CC0-1.0"], 2, "without consent"),
        (["--consent", "research", "--licence", "CC0-1.0", "--consent-date", "soon"], 2, "consent.date"),
        (["--backend", "mkv"], 2, "--source: the mkv backend plays recordings and none is named"),
        (["--backend", "mkv", "--source", "/no/such/folder"], 10, "no such file or folder"),
        (["--backend", "mkv", "--source", __file__], 2, "is one recording, the rig has 2"),
        (["--backend", "virtual", "--source", "."], 2, "virtual backend plays no recording"),
        (["--backend", "mkv", "--source", "."], 10, "kinect-k0.mkv"),
        (["--backend", "virtual", "--fault", "unplug_s=2"], 2, "names no sensor"),
        (["--backend", "virtual", "--fault", "k9:unplug_s=2"], 2, "k9"),
        (["--backend", "pyk4a"], 2, "k0, k1 have no serial"),
        (["--backend", "virtual", "--fault", "k1"], 2, "names no sensor and fault"),
        (["--backend", "virtual", "--fault", "k0:unplug_s=1"], 2, "no cable to pull"),
        (["--fault", "k1:drop=3"], 2, "only the virtual backend has faults"),
        (["--backend", "virtual", "--duration", "4e5"], 13, "not enough space"),
        (["--backend", "virtual", "--duration", "inf"], 2, "--duration"),
        (["--backend", "virtual", "--probe-scanner", "--subject", "s01"], 2, "a probe writes no take"),
    ],
)
def test_refusals_come_first_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    rig = write_rig(tmp_path)
    for more in ([], ["--dry-run"]):  # a dry run refuses all that the run would
        found, out, err = said(capsys, "record", "--rig", str(rig), "-o", str(tmp_path / "out"), *arguments, *more)
        assert found == code, err
        assert out == ""
        assert text in err
        assert listed(tmp_path) == [rig]


def test_the_rig_and_the_output_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = said(capsys, "record", "--rig", "no_such_rig", "-o", str(tmp_path / "out"))
    assert (code, "Known:" in err) == (10, True)
    rig = write_rig(tmp_path, k0="SUBORDINATE")
    code, _, err = said(capsys, "record", "--rig", str(rig), "--backend", "virtual", "-o", str(tmp_path / "out"))
    assert (code, "nothing triggers it" in err) == (2, True)
    rig = write_rig(tmp_path, k0="STANDALONE")
    code, _, err = said(capsys, "record", "--rig", str(rig), "--backend", "virtual", "-o", str(tmp_path))
    assert (code, "exists" in err) == (2, True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 2_000_000_000))
    code, _, err = said(
        capsys, "record", "--rig", str(rig), "--backend", "virtual", "-o", str(tmp_path / "Out 1"), "--dry-run",
        "--take", "out-1",
    )  # fmt: skip
    assert (code, "room for" in err, "'unnamed'" in err) == (0, True, True)
    assert listed(tmp_path) == [rig]


def test_a_folder_whose_name_is_no_id_needs_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["record", "--rig", str(write_rig(tmp_path)), "--backend", "virtual", "--dry-run"]
    code, _, err = said(capsys, *arguments, "-o", str(tmp_path / "Täke 1"))
    assert (code, "the folder's name 'Täke 1' cannot be the take's id" in err) == (2, True)
    code, _, err = said(capsys, *arguments, "-o", str(tmp_path / "Täke 1"), "--take", "t1")
    assert code == 0, err


def test_faults_of_one_sensor_add_up(tmp_path: Path) -> None:
    rig = load_rig(str(write_rig(tmp_path)))[0]
    faults = read_faults("virtual", rig, ("k1:drop=3", "k0:lose_s=2", "k1:unplug_s=1"))
    assert faults == {"k1": Faults(drop=(3,), unplug_s=1.0), "k0": Faults(lose_s=2.0)}


def test_a_dry_run_tells_the_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write_rig(tmp_path)
    code, out, err = said(
        capsys, "record", "--rig", str(rig), "--backend", "virtual", "-o", str(tmp_path / "c1"), "--dry-run",
        "--kind", "calibration", "--json",
    )  # fmt: skip
    assert code == 0, err
    take = json.loads(out)["take"]
    assert (take["take_id"], take["kind"], take["subject"], take["target"]) == ("c1", "calibration", "target", "prism")
    assert listed(tmp_path) == [rig]


def test_a_probe_gets_the_cameras_and_records_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def run_probe(rig: Any, cameras: Any, output: Path, **options: Any) -> Result:
        asked.update(options, cameras=cameras, output=output)
        return Result(path=output)

    monkeypatch.setattr("anim_real.commands.jobs.probe.run_probe", run_probe)
    monkeypatch.setattr(
        "anim_real.commands.jobs.rig_cameras.open_camera", lambda spec, **_: FakeCamera([], serial=spec.id)
    )
    rig = write_rig(tmp_path, k0="STANDALONE")
    arguments = ["record", "--rig", str(rig), "--backend", "pyk4a", "--probe-scanner", "-o", str(tmp_path / "probe")]
    code, _, err = said(capsys, *arguments, "--duration", "8", "--yes", "--calibration", "solved.json")
    assert code == 0, err
    assert list(asked["cameras"]) == ["k0"]
    assert all(camera.is_closed for camera in asked["cameras"].values())
    assert (asked["seconds"], asked["is_confirmed"], asked["calibration"]) == (8.0, True, Path("solved.json"))
    assert asked["output"] == tmp_path / "probe"
    assert listed(tmp_path) == [rig]
    assert said(capsys, *arguments)[0] == 0
    assert (asked["seconds"], asked["is_confirmed"], asked["calibration"]) == (5.0, False, None)
    code, _, err = said(capsys, "record", "--rig", str(rig), "-o", str(tmp_path / "t"), "--yes")
    assert (code, "--probe-scanner" in err) == (2, True)
