"""The orbbec backend: its process run for real, on a stand-in for pyorbbecsdk; and every way that process can fail."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.live import orbbec_link
from anim_real.capture.live.orbbec_calibration import to_factory_calibration
from anim_real.capture.live.orbbec_camera import OrbbecCamera, list_orbbec, pair_imu
from anim_real.capture.live.sdk_install import ORBBEC_PYTHON, orbbec_install_line
from anim_real.depth_camera import CableState, ImuSample
from anim_real.errors import ConfigError, DataError, MissingDependencyError
from anim_real.rig import SensorSpec

from .recordings import factory_calibration

Plan = Callable[..., Path]
_FAKE = Path(__file__).with_name("fake_orbbec")
_BOLT = {"serial": "CL8F001", "name": "Orbbec Femto Bolt", "usb": "USB3.2", "firmware": "1.1.2"}
_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def _lens(name: str, mode: str) -> dict[str, Any]:
    """What the SDK would tell of the test device: OpenCV's pixel intrinsics of the mode."""
    camera = factory_calibration().camera("color" if name == "color" else "depth", mode)
    numbers = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    numbers.update(dict(zip(_NAMES, camera.distortion.tolist(), strict=True)))
    return {**numbers, "width": camera.width, "height": camera.height, "model": "BROWN_CONRADY_K6"}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Write what the pretended SDK has and does; returns the journal of what was set on it."""

    def write(**changes: Any) -> Path:
        pose = factory_calibration().T_color_depth
        facts = {
            "devices": [_BOLT],
            "journal": str(tmp_path / "journal.jsonl"),
            "lenses": {"color": _lens("color", "720P"), "depth": _lens("depth", "NFOV_2X2BINNED")},
            "rotation": pose.rotation.ravel().tolist(),
            "translation_mm": (pose.translation * 1000).tolist(),
            "color_profiles": [[1280, 720, name, fps] for name in ("MJPG", "BGRA", "NV12", "YUYV") for fps in (15, 30)],
            "depth_profiles": [[320, 288, "Y16", 30], [320, 288, "Y16", 15], [1024, 1024, "Y16", 30]],
            **changes,
        }
        (tmp_path / "plan.json").write_text(json.dumps(facts))
        monkeypatch.setenv("FAKE_ORBBEC", str(tmp_path / "plan.json"))
        monkeypatch.setenv("PYTHONPATH", str(_FAKE))
        monkeypatch.setenv(ORBBEC_PYTHON, sys.executable)
        return tmp_path / "journal.jsonl"

    return write


def _spec(**changes: object) -> SensorSpec:
    return SensorSpec.model_validate({"id": "side", "model": "femto-bolt", "depth_mode": "NFOV_2X2BINNED", **changes})


def _notes(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_captures_arrive_exactly_with_their_device_times(plan: Plan) -> None:
    journal = plan(frames=3, depth_offset_us=-120)
    with OrbbecCamera(_spec()) as camera:
        assert (camera.info.serial, camera.info.model, camera.info.usb) == ("CL8F001", "femto-bolt", "USB3.2")
        assert camera.info.library == "pyorbbecsdk2 2.1.2, Orbbec SDK 2.9.3"
        assert camera.cable_state() == CableState()
        camera.start()
        for index in range(3):
            capture = camera.read(5.0)
            assert capture is not None and capture.depth_mm is not None and capture.ir is not None
            assert capture.color == bytes([index]) * (1000 + index)
            assert capture.color_time_us == 5_000_000 + index * 33_333
            assert capture.depth_time_us == capture.color_time_us - 120
            assert capture.depth_mm.shape == (288, 320) and (capture.depth_mm == 1000 + index).all()
            assert capture.ir.dtype == np.uint16 and (capture.ir == 2000 + index).all()
        with pytest.raises(TimeoutError):
            camera.read(0.1)
    notes = _notes(journal)
    assert {"stopped": "pipeline"} in notes  # the device was stopped, not only let go of
    (started,) = [note for note in notes if "streams" in note]
    streams = ["COLOR_SENSOR 1280x720 MJPG 30", "DEPTH_SENSOR 320x288 Y16 30", "IR_SENSOR 320x288 Y16 30"]
    assert started == {"streams": streams, "mode": "ANY_SITUATION", "is_synced": True}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sync_mode": "STANDALONE", "depth_delay_us": 160}, ("STANDALONE", 0, 160, False)),
        ({"sync_mode": "MASTER", "depth_delay_us": -160}, ("PRIMARY", 160, 0, True)),
        (
            {"sync_mode": "SUBORDINATE", "subordinate_delay_us": 320, "depth_delay_us": 40},
            ("SECONDARY", 320, 360, True),
        ),
    ],
)
def test_the_sync_role_reaches_the_device(plan: Plan, changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    journal = plan()
    OrbbecCamera(_spec(**changes)).close()
    (sync,) = [note for note in _notes(journal) if "mode" in note]
    got = (sync["mode"], sync["color_delay_us"], sync["depth_delay_us"], sync["trigger_out_enable"])
    assert got == expected
    assert sync["trigger_to_image_delay_us"] == sync["depth_delay_us"] and sync["trigger_out_delay_us"] == 0


@pytest.mark.parametrize(
    ("color_format", "num_bytes"), [("BGRA", 1280 * 720 * 4), ("NV12", 1280 * 1080), ("YUY2", 1280 * 720 * 2)]
)
def test_raw_colour_formats_arrive_whole(plan: Plan, color_format: str, num_bytes: int) -> None:
    plan(frames=2)
    with OrbbecCamera(_spec(color_format=color_format)) as camera:
        camera.start()
        camera.read(5.0)
        capture = camera.read(5.0)
    assert capture is not None and capture.color == b"\1" * num_bytes


def test_incomplete_captures_keep_what_came(plan: Plan) -> None:
    plan(frames=2, skip={"0": ["depth", "ir"], "1": ["color"]})
    with OrbbecCamera(_spec()) as camera:
        camera.start()
        color_only, depth_only = camera.read(5.0), camera.read(5.0)
    assert color_only is not None and depth_only is not None
    assert color_only.color is not None
    assert (color_only.depth_mm, color_only.ir, color_only.depth_time_us) == (None, None, None)
    assert (depth_only.color, depth_only.color_time_us) == (None, None)
    assert depth_only.depth_mm is not None and depth_only.depth_time_us == 5_033_333


def test_passive_infrared_has_no_depth(plan: Plan) -> None:
    journal = plan(frames=1, lenses={"color": _lens("color", "720P"), "depth": _lens("depth", "PASSIVE_IR")})
    with OrbbecCamera(_spec(depth_mode="PASSIVE_IR")) as camera:
        camera.start()
        capture = camera.read(5.0)
    assert capture is not None and capture.depth_mm is None
    assert capture.ir is not None and capture.ir.shape == (1024, 1024) and capture.depth_time_us == 5_000_000
    assert {"property": "OB_PROP_SWITCH_IR_MODE_INT", "value": 1} in _notes(journal)


def test_depth_units_become_millimetres(plan: Plan) -> None:
    plan(frames=1, depth_scale=0.25)
    with OrbbecCamera(_spec()) as camera:
        camera.start()
        capture = camera.read(5.0)
    assert capture is not None and capture.depth_mm is not None
    assert (capture.depth_mm == 250).all() and capture.ir is not None and (capture.ir == 2000).all()


def test_the_global_clock_is_an_option(plan: Plan) -> None:
    journal = plan(frames=1)
    with OrbbecCamera(_spec(), clock="global") as camera:
        camera.start()
        capture = camera.read(5.0)
    assert capture is not None and capture.color_time_us == 1_700_000_005_000_000
    assert {"is_global": True} in _notes(journal)


def test_imu_halves_are_paired_by_their_times(plan: Plan) -> None:
    plan(frames=20, pause_s=0.02, imu_samples=40, lost_gyro=[3])
    samples: list[ImuSample] = []
    with OrbbecCamera(_spec()) as camera:
        camera.start()
        for _ in range(20):
            camera.read(5.0)
            samples += camera.read_imu()
    times = [5_000_000 + 2000 * index for index in range(40) if index != 3]
    assert [sample.acc_time_us for sample in samples] == times
    assert [sample.gyro_time_us for sample in samples] == times
    assert samples[4].acc == (5.0, 0.5, -9.8)


def test_pairing_waits_for_the_other_half() -> None:
    acc = deque([(1000, 1.0, 0.0, 0.0), (3000, 2.0, 0.0, 0.0), (5000, 3.0, 0.0, 0.0)])
    gyro = deque([(3900, 9.0, 0.0, 0.0)])
    assert pair_imu(acc, gyro) == [ImuSample(3000, (2.0, 0.0, 0.0), 3900, (9.0, 0.0, 0.0))]
    assert (list(acc), list(gyro)) == ([(5000, 3.0, 0.0, 0.0)], [])


def test_a_device_without_imu_streams_all_the_same(plan: Plan) -> None:
    plan(frames=1, has_imu=False)
    with OrbbecCamera(_spec()) as camera:
        camera.start()
        assert camera.read(5.0) is not None
        assert camera.read_imu() == []


def test_the_calibration_gives_the_sdks_pixels_back(plan: Plan) -> None:
    plan()
    with OrbbecCamera(_spec()) as camera:
        parsed = parse_calibration(camera.calibration_json)
    truth = factory_calibration()
    assert parsed.serial == "CL8F001"
    for name, mode in (("color", "720P"), ("depth", "NFOV_2X2BINNED")):
        ours, theirs = parsed.camera(name, mode), truth.camera(name, mode)
        for key in ("fx", "fy", "cx", "cy"):
            assert getattr(ours, key) == pytest.approx(getattr(theirs, key), abs=1e-9)
        assert np.array_equal(ours.distortion, theirs.distortion)
    pose = parsed.T_color_depth
    assert np.allclose(pose.rotation, truth.T_color_depth.rotation, atol=1e-7)
    assert np.allclose(pose.translation, truth.T_color_depth.translation, atol=1e-7)  # float32 millimetres


def test_a_rotation_as_femto_bolts_state_it_becomes_one() -> None:
    truth = factory_calibration().T_color_depth.rotation
    stated = truth.copy()
    stated[0, 0] -= 0.0055  # as in the numbers of OrbbecSDK-K4A-Wrapper issue 109
    assert np.abs(stated.T @ stated - np.eye(3)).max() > 0.01
    numbers = {
        "color": _lens("color", "720P"), "depth": _lens("depth", "NFOV_2X2BINNED"),
        "rotation": stated.ravel().tolist(), "translation_mm": [-32.0, -2.0, 4.0],
    }  # fmt: skip
    made = to_factory_calibration(numbers, color_mode="720P", depth_mode="NFOV_2X2BINNED", serial="1", where="here")
    rotation = parse_calibration(made.to_json()).T_color_depth.rotation
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.abs(rotation - truth).max() < 5e-5  # rad: 0.1 mm at 2 m


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("color", "fx"), 0.0, "gives no intrinsics"),  # pyorbbecsdk issue 103
        (("depth", "model"), "KANNALA_BRANDT4", "lens model KANNALA_BRANDT4 is not supported"),
        (("depth", "width"), 640, "640x288, not for NFOV_2X2BINNED"),
        (("rotation", 4), 0.5, "is not a rotation"),
        (("rotation", 0), float("nan"), "is not a rotation"),
    ],
)
def test_impossible_numbers_are_refused(path: tuple[Any, Any], value: Any, words: str) -> None:
    numbers: dict[str, Any] = {
        "color": _lens("color", "720P"), "depth": _lens("depth", "NFOV_2X2BINNED"),
        "rotation": np.eye(3).ravel().tolist(), "translation_mm": [0.0, 0.0, 0.0],
    }  # fmt: skip
    numbers[path[0]][path[1]] = value
    with pytest.raises(DataError, match=words):
        to_factory_calibration(numbers, color_mode="720P", depth_mode="NFOV_2X2BINNED", serial="1", where="here")


@pytest.mark.parametrize(
    ("devices", "serial", "words"),
    [
        ([], None, "no device is connected"),
        ([_BOLT], "CL8F999", "device CL8F999 is not there; found: CL8F001"),
        ([_BOLT, {**_BOLT, "serial": "CL8F002"}], None, "several devices are connected: CL8F001, CL8F002.*serial"),
        ([{**_BOLT, "in_use": True}], "CL8F001", "cannot be opened.*Close the program"),
    ],
)
def test_a_device_that_cannot_be_chosen_is_refused(
    plan: Plan, devices: list[dict[str, Any]], serial: str | None, words: str
) -> None:
    plan(devices=devices)
    with pytest.raises(MissingDependencyError, match=words):
        OrbbecCamera(_spec(serial=serial))


def test_of_two_devices_the_one_of_the_rigs_serial_is_opened(plan: Plan) -> None:
    plan(devices=[_BOLT, {**_BOLT, "serial": "CL8F002"}])
    with OrbbecCamera(_spec(serial="CL8F002")) as camera:
        assert camera.info.serial == "CL8F002"


def test_a_mode_that_the_device_lacks_names_those_it_has(plan: Plan) -> None:
    plan()
    with pytest.raises(ConfigError, match=r"has no color stream 2048x1536 MJPG 30 fps; has 1280x720 BGRA 15 fps"):
        OrbbecCamera(_spec(color_mode="1536P"))
    with pytest.raises(ConfigError, match="does not speak Orbbec's SDK"):
        OrbbecCamera(_spec(model="azure-kinect"))


def test_a_refused_start_says_what_the_sdk_said(plan: Plan) -> None:
    plan(refuses_start=True)
    with OrbbecCamera(_spec()) as camera, pytest.raises(MissingDependencyError, match="uvc_stream_start failed"):
        camera.start()


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("unplug", "sensor side: the device was unplugged.*USB cable"),
        ("crash", r"was killed by signal 6 \(libOrbbecSDK: something went wrong\)"),
        ("exit", "ended with status 7"),
        ("hang", r"hangs: the process that reads it said nothing for 1\.5 s"),
    ],
)
def test_a_process_that_fails_in_the_stream_says_how(plan: Plan, then: str, words: str) -> None:
    plan(frames=2, pause_s=0.05, then=then)
    camera = OrbbecCamera(_spec(), silence_s=1.5)
    camera.start()
    assert camera.read(5.0) is not None
    assert camera.read(5.0) is not None
    with pytest.raises(MissingDependencyError, match=words):
        camera.read(8.0)
    camera.close()
    camera.close()
    assert camera._process._process.poll() is not None


def test_a_stop_that_never_returns_ends_the_process(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(frames=1, stop_hangs="with the lock")
    monkeypatch.setattr(orbbec_link, "_CLOSE_S", 0.5)
    camera = OrbbecCamera(_spec())
    camera.start()
    camera.read(5.0)
    started_s = time.monotonic()
    camera.close()
    assert time.monotonic() - started_s < 2.0
    assert camera._process._process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("how", ["with the lock", "without the lock"])
def test_the_process_ends_itself_when_stopping_takes_too_long(plan: Plan, tmp_path: Path, how: str) -> None:
    journal = plan(frames=0, stop_hangs=how)
    script = Path(orbbec_link.__file__).with_name("orbbec_process.py")
    settings = {
        "serial": None, "depth_mode": "NFOV_2X2BINNED", "depth_size": [320, 288], "color_size": [1280, 720],
        "color_format": "MJPG", "fps": 30, "sync_mode": "STANDALONE", "depth_delay_us": 0,
        "subordinate_delay_us": 0, "clock": "device",
    }  # fmt: skip
    commands = [{"command": "open", "settings": settings}, {"command": "start"}, {"command": "stop"}]
    with (tmp_path / "messages").open("wb") as messages:
        process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=messages, bufsize=0)
        assert process.stdin is not None
        process.stdin.write(b"".join(json.dumps(command).encode() + b"\n" for command in commands))
        assert process.wait(timeout=10.0) == 1  # its parent lives, and its stdin is open
    process.stdin.close()
    kinds = re.findall(rb'"type": "(\w+)"', (tmp_path / "messages").read_bytes())
    assert b"started" in kinds and b"stopped" not in kinds
    assert {"stopped": "pipeline"} in _notes(journal)


@pytest.mark.parametrize("stop_hangs", ["", "with the lock"])
def test_the_process_ends_with_its_parent(plan: Plan, tmp_path: Path, stop_hangs: str) -> None:
    journal = plan(frames=100_000, pause_s=0.01, stop_hangs=stop_hangs)
    code = f"""
        import os, sys, time
        from anim_real.capture.live.orbbec_camera import OrbbecCamera
        from anim_real.rig import SensorSpec
        camera = OrbbecCamera(SensorSpec(id="a", model="femto-bolt", depth_mode="NFOV_2X2BINNED"))
        camera.start()
        camera.read(5.0)
        print(camera._process._process.pid, flush=True)
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    """
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(_FAKE)]), "TMPDIR": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, check=False
    )
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    child = int(answer.stdout)
    until_s = time.monotonic() + 8.0
    while _is_running(child) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not _is_running(child)
    assert {"stopped": "pipeline"} in _notes(journal)  # the device does not go on streaming


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie waits for whoever adopted it


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('Hello, I am no SDK')", r"sent b'Hello, I am ' instead of a message"),
        ("import sys; sys.stdout.buffer.write(b'ARO1' + bytes([9, 0, 0, 0, 0, 0, 0, 0]) + b'{}')", "ended within a"),
        ("import sys; sys.stdout.buffer.write(b'ARO1' + bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b'[]')", "whose header is"),
        ("import sys; sys.stdout.buffer.write(b'ARO1' + bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b'{}')", "whose header is"),
        ("import sys; sys.stdout.buffer.write(b'ARO1' + bytes([255] * 8))", "instead of a message"),
        ("import sys; sys.stdout.buffer.write(b'AR')", "instead of a message"),
        ("raise SystemExit(3)", r"ended with status 3 before it could import .* \(it said nothing\).*pip install"),
        ("import sys; sys.exit('no licence')", r"ended with status 1 before .* \(no licence\)"),
    ],
)
def test_what_is_no_message_is_said(tmp_path: Path, code: str, words: str) -> None:
    python = _stand_in(tmp_path, code)
    with pytest.raises(MissingDependencyError, match=words):
        list_orbbec(python=python)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({"protocol": 99, "sdk": "2.9.3", "package": ""}, "another version of orbbec_process.py"),
        ({"protocol": 1, "sdk": "1.10.18", "package": ""}, "has pyorbbecsdk 1.10.18; 2.x is needed"),
    ],
)
def test_another_version_is_refused(tmp_path: Path, hello: dict[str, Any], words: str) -> None:
    header = json.dumps({"type": "hello", **hello})
    code = f"""
        import struct, sys
        header = {header!r}.encode()
        sys.stdout.buffer.write(struct.pack("<4sII", b"ARO1", len(header), 0) + header)
        sys.stdout.flush()
        sys.stdin.read()
    """
    with pytest.raises(MissingDependencyError, match=words):
        list_orbbec(python=_stand_in(tmp_path, textwrap.dedent(code)))


def _stand_in(folder: Path, code: str) -> Path:
    """An interpreter that runs ``code`` whatever it is given."""
    (folder / "code.py").write_text(code)
    script = folder / "python"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -u {folder / 'code.py'}\n")
    script.chmod(0o755)
    return script


def test_a_missing_sdk_ends_in_how_to_install_it(plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan()
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(MissingDependencyError, match=r"No module named 'pyorbbecsdk'.*pip install --no-deps") as caught:
        OrbbecCamera(_spec())
    assert caught.value.exit_code == 5
    monkeypatch.delenv(ORBBEC_PYTHON)
    with pytest.raises(MissingDependencyError, match=f"{ORBBEC_PYTHON} is not set.*-m venv"):
        OrbbecCamera(_spec())
    for path, words in ((tmp_path / "nowhere", "there is no interpreter"), (tmp_path / "plain", "cannot be run")):
        (tmp_path / "plain").write_bytes(b"\0no program")
        (tmp_path / "plain").chmod(0o755)
        with pytest.raises(MissingDependencyError, match=words):
            OrbbecCamera(_spec(), python=path)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("Linux", ("python3 -m venv ~/orbbec", "export ANIM_REAL_ORBBEC_PYTHON=~/orbbec/bin/python", "udev")),
        ("Windows", ("py -3.11 -m venv %USERPROFILE%\\orbbec", "set ANIM_REAL_ORBBEC_PYTHON=", '"numpy<2"')),
        ("Darwin", ("python3 -m venv ~/orbbec", "'numpy<2'")),
    ],
)
def test_the_install_line_is_that_of_this_system(system: str, words: tuple[str, ...]) -> None:
    line = orbbec_install_line(system, "x86_64")
    assert all(word in line for word in words)
    assert ("udev" in line) == (system == "Linux")


def test_listing_shows_what_is_in_use(plan: Plan) -> None:
    plan(devices=[_BOLT, {**_BOLT, "serial": "CL8F002", "in_use": True}])
    free, used = list_orbbec()
    assert (free.serial, free.depth_firmware, free.usb, free.problem) == ("CL8F001", "1.1.2", "USB3.2", "")
    assert used.serial == "CL8F002" and "in use by another program" in used.problem


def test_a_slow_reader_loses_the_oldest_captures_and_they_are_counted(plan: Plan) -> None:
    num_frames = 200
    plan(frames=num_frames, pause_s=0.002)
    with OrbbecCamera(_spec(color_format="BGRA")) as camera:
        camera.start()
        time.sleep(2.0)  # nobody reads
        stamps = []
        while True:
            try:
                capture = camera.read(0.6)
            except TimeoutError:
                break
            assert capture is not None and capture.color_time_us is not None
            stamps.append(capture.color_time_us)
        assert camera.num_dropped == num_frames - len(stamps) > 0
    assert stamps == sorted(set(stamps)) and stamps[-1] == 5_000_000 + (num_frames - 1) * 33_333


def test_the_process_is_one_file_for_python_3_8() -> None:
    source = Path(orbbec_link.__file__).with_name("orbbec_process.py").read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported - set(sys.stdlib_module_names) == {"pyorbbecsdk"}
