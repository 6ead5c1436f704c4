"""``anim-real devices`` and the choice of a backend, on pretended SDKs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from capture import fake_pyk4a
from capture.fake_libk4a import compile_module
from capture.fake_pyk4a import PretendedDevice
from capture.recordings import write_recording

from anim_real import cli
from anim_real.capture.live.sdk_install import ORBBEC_PYTHON
from anim_real.commands.jobs.cameras import BACKENDS, open_camera, survey_cameras
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import SensorSpec

_FAKE_ORBBEC = Path(fake_pyk4a.__file__).with_name("fake_orbbec")
_BOLT = {"serial": "CL8F001", "name": "Orbbec Femto Bolt", "usb": "USB3.2", "firmware": "1.1.2"}


@pytest.fixture
def no_pyk4a(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyk4a", None)


@pytest.fixture
def no_orbbec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ORBBEC_PYTHON, raising=False)


@pytest.fixture
def orbbec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Femto Bolt on a pretended Orbbec SDK."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"devices": [_BOLT], "journal": str(tmp_path / "journal.jsonl")}))
    monkeypatch.setenv("FAKE_ORBBEC", str(plan))
    monkeypatch.setenv("PYTHONPATH", str(_FAKE_ORBBEC))
    monkeypatch.setenv(ORBBEC_PYTHON, sys.executable)


def _spec(**changes: object) -> SensorSpec:
    return SensorSpec.model_validate({"id": "front", "depth_mode": "NFOV_2X2BINNED", **changes})


@pytest.mark.usefixtures("orbbec")
def test_both_backends_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_pyk4a.install(
        monkeypatch, [PretendedDevice("000111", jacks=(True, False)), PretendedDevice("9", is_in_use=True)]
    )
    assert cli.main(["devices"]) == 0
    text = capsys.readouterr().out
    assert "000111  azure-kinect  [pyk4a]" in text and "sync     in plugged in, out empty" in text
    assert "(serial unknown)  azure-kinect  [pyk4a]" in text and "problem  cannot be opened: in use" in text
    assert "CL8F001  femto-bolt  [orbbec]" in text and "usb      USB3.2" in text and "depth 1.1.2" in text
    assert cli.main(["devices", "--json", "--backend", "orbbec"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [device["serial"] for device in record["devices"]] == ["CL8F001"] and record["missing"] == {}
    assert record["devices"][0]["cables"] == {"sync_in": None, "sync_out": None}


@pytest.mark.usefixtures("no_pyk4a", "orbbec")
def test_an_absent_sdk_is_one_line_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    text = capsys.readouterr().out
    assert "CL8F001  femto-bolt" in text
    (line,) = [line for line in text.splitlines() if "was not asked" in line]
    assert line.startswith("pyk4a was not asked: pyk4a cannot be loaded") and "anim-real[kinect]" in line


@pytest.mark.usefixtures("no_orbbec")
def test_no_camera_is_no_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_pyk4a.install(monkeypatch, [])
    assert cli.main(["devices"]) == 0
    assert capsys.readouterr().out.startswith("no camera is connected\norbbec was not asked: ")


@pytest.mark.usefixtures("no_pyk4a", "no_orbbec")
@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("auto", ("pyk4a cannot be loaded", "anim-real[kinect]", f"{ORBBEC_PYTHON} is not set", "pyorbbecsdk2")),
        ("pyk4a", ("pyk4a cannot be loaded",)),
        ("orbbec", (f"{ORBBEC_PYTHON} is not set",)),
    ],
)
def test_without_any_sdk_it_says_how_to_install_one(
    backend: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["devices", "--backend", backend]) == 5
    text = capsys.readouterr().err
    assert all(word in text for word in words)


def test_backends_without_devices_cannot_be_listed() -> None:
    for backend in ("mkv", "virtual", "kinect"):
        with pytest.raises(ConfigError, match="no devices to list"):
            survey_cameras(backend)


@pytest.mark.usefixtures("orbbec")
def test_auto_takes_the_backend_of_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = PretendedDevice("000111")
    fake_pyk4a.install(monkeypatch, [device], module_file=compile_module(tmp_path / "m", "Microsoft"))
    with open_camera(_spec(), backend="auto") as camera:
        assert camera.info.backend == "pyk4a"
    # Microsoft's libk4a knows no Femto Bolt: Orbbec's SDK is asked, and has no such device
    with pytest.raises(MissingDependencyError, match="found: CL8F001"):
        open_camera(_spec(model="femto-bolt", serial="000111"), backend="auto")
    fake_pyk4a.install(monkeypatch, [device], module_file=compile_module(tmp_path / "o", "Orbbec"))
    with open_camera(_spec(model="femto-bolt", serial="000111"), backend="auto") as camera:
        assert (camera.info.backend, camera.info.model) == ("pyk4a", "femto-bolt")
    monkeypatch.setitem(sys.modules, "pyk4a", None)
    with pytest.raises(MissingDependencyError, match="found: CL8F001"):
        open_camera(_spec(model="femto-bolt", serial="000111"), backend="auto")
    with pytest.raises(MissingDependencyError, match="pyk4a cannot be loaded"):
        open_camera(_spec(), backend="auto")


def test_a_recording_is_played_by_mkv_and_by_nothing_else(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", [1_000_000, 1_500_000])
    with open_camera(_spec(), backend="mkv", source=path, is_paced=False) as camera:
        camera.start()
        first, second = camera.read(0.1), camera.read(0.1)  # half a second apart: not paced
        assert first is not None and second is not None and camera.read(0.1) is None
    with pytest.raises(ConfigError, match="mkv backend plays a recording: name one"):
        open_camera(_spec(), backend="mkv")
    with pytest.raises(ConfigError, match="pyk4a plays no recording"):
        open_camera(_spec(), backend="pyk4a", source=path)


def test_wrong_backends_are_refused() -> None:
    with pytest.raises(ConfigError, match=rf"Known: {', '.join(BACKENDS)}"):
        open_camera(_spec(), backend="kinect")
    with pytest.raises(ConfigError, match="needs the studio"):
        open_camera(_spec(), backend="virtual")


@pytest.mark.usefixtures("no_pyk4a", "orbbec")
def test_a_survey_keeps_the_reasons() -> None:
    cameras, missing = survey_cameras("auto")
    assert [camera.serial for camera in cameras] == ["CL8F001"]
    assert list(missing) == ["pyk4a"] and missing["pyk4a"].exit_code == 5


@pytest.mark.usefixtures("orbbec")
def test_doctor_has_a_row_for_either_sdk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert (checks["orbbec"]["ok"], checks["orbbec"]["detail"]) == (True, sys.executable)
    assert not checks["pyk4a"]["required"]
    monkeypatch.setenv(ORBBEC_PYTHON, "/no/such/python")
    assert cli.main(["doctor", "--json"]) == 0
    missing = json.loads(capsys.readouterr().out)["checks"]["orbbec"]
    assert not missing["ok"] and not missing["required"] and "-m venv" in missing["detail"]


@pytest.mark.parametrize("command", ["devices", "record", "doctor"])
def test_help_loads_no_sdk(command: str) -> None:
    code = (
        "import sys\nfrom anim_real import cli\n"
        f"status = cli.main([{command!r}, '--help'])\n"
        "loaded = sorted({'pyk4a', 'k4a_module', 'pyorbbecsdk', 'cv2', 'open3d', 'torch'} & set(sys.modules))\n"
        "backends = sorted(name for name in sys.modules if name.startswith('anim_real.capture.live_'))\n"
        "assert status == 0 and not loaded and not backends, (loaded, backends)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
