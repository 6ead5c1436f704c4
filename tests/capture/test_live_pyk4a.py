"""The pyk4a backend against a bench of pretended devices: choosing one, every image form, losing it."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.live.k4a_library import firmware_versions, k4a_maker, load_k4a, usb_speed
from anim_real.capture.live.live_modes import check_modes
from anim_real.capture.live.pyk4a_camera import Pyk4aCamera, list_pyk4a, pyk4a_maker
from anim_real.capture.live.sdk_install import kinect_install_line
from anim_real.depth_camera import CableState, ImuSample
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import SensorSpec

from . import fake_pyk4a
from .fake_libk4a import compile_module
from .fake_pyk4a import Exposure, PretendedDevice


def _spec(**changes: object) -> SensorSpec:
    return SensorSpec.model_validate({"id": "front", "depth_mode": "NFOV_2X2BINNED", **changes})


def _depth(value: int) -> np.ndarray:
    return np.full((288, 320), value, np.uint16)


def test_of_two_devices_the_one_of_the_rigs_serial_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = PretendedDevice("000111"), PretendedDevice("000222", jacks=(True, False))
    fake_pyk4a.install(monkeypatch, [left, right])
    with Pyk4aCamera(_spec(serial="000222")) as camera:
        assert (left.num_open, right.num_open) == (0, 1)
        assert (camera.info.serial, camera.info.model) == ("000222", "azure-kinect")
        assert camera.info.library == "Microsoft's libk4a through pyk4a"
        with Pyk4aCamera(_spec(serial="000111")) as other:  # while the first is open
            assert other.info.serial == "000111"
    assert (left.num_open, right.num_open) == (0, 0)


@pytest.mark.parametrize(
    ("bench", "serial", "words"),
    [
        ([], None, "no device is connected"),
        ([PretendedDevice("000111")], "000999", "device 000999 is not there; found: 000111"),
        ([PretendedDevice("000111"), PretendedDevice("000222")], None, "does not say which: 000111; 000222"),
        ([PretendedDevice("000111", is_in_use=True)], "000111", "in use by another program"),
        ([PretendedDevice("000111", is_in_use=True)], None, "in use by another program"),
        ([PretendedDevice("")], None, "one that cannot be opened"),  # it does not tell its serial number
        ([PretendedDevice("000111", calibration="")], None, "gives no factory calibration"),
    ],
)
def test_a_device_that_cannot_be_chosen_is_refused_and_none_stays_open(
    monkeypatch: pytest.MonkeyPatch, bench: list[PretendedDevice], serial: str | None, words: str
) -> None:
    fake_pyk4a.install(monkeypatch, bench)
    with pytest.raises(MissingDependencyError, match=words):
        Pyk4aCamera(_spec(serial=serial))
    assert sum(device.num_open for device in bench) == 0


def test_the_configuration_reaches_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PretendedDevice("000111")
    fake_pyk4a.install(monkeypatch, [device])
    spec = _spec(
        sync_mode="SUBORDINATE", subordinate_delay_us=320, depth_delay_us=-160, fps=15, color_mode="3072P",
        depth_mode="WFOV_UNBINNED",
    )  # fmt: skip
    with Pyk4aCamera(spec) as camera:
        assert device.config is None  # opened, not yet started
        camera.start()
    config = device.config
    assert config is not None
    assert config.wired_sync_mode is fake_pyk4a.WiredSyncMode.SUBORDINATE
    assert (config.subordinate_delay_off_master_usec, config.depth_delay_off_color_usec) == (320, -160)
    assert config.color_resolution is fake_pyk4a.ColorResolution.RES_3072P
    assert config.color_format is fake_pyk4a.ImageFormat.COLOR_MJPG
    assert config.depth_mode is fake_pyk4a.DepthMode.WFOV_UNBINNED
    assert config.camera_fps is fake_pyk4a.FPS.FPS_15
    assert config.synchronized_images_only is False  # or incomplete captures would be lost
    assert device.is_lock_released  # or one camera that waits would stop all others


@pytest.mark.parametrize(
    ("color_format", "array"),
    [
        ("MJPG", np.arange(70, dtype=np.uint8)),
        ("NV12", np.arange(1080 * 1280, dtype=np.uint32).astype(np.uint8).reshape(1080, 1280, 1)),
        ("YUY2", np.arange(720 * 1280 * 2, dtype=np.uint32).astype(np.uint8).reshape(720, 1280, 2)),
        ("BGRA", np.arange(720 * 1280 * 4, dtype=np.uint32).astype(np.uint8).reshape(720, 1280, 4)),
    ],
)
def test_every_colour_format_arrives_as_the_device_encoded_it(
    monkeypatch: pytest.MonkeyPatch, color_format: str, array: np.ndarray
) -> None:
    exposure = Exposure(array, _depth(1500), _depth(77), color_us=1_000_037, depth_us=1_000_000, exposure_us=8330)
    device = PretendedDevice("000111", captures=[exposure])
    fake_pyk4a.install(monkeypatch, [device])
    with Pyk4aCamera(_spec(color_format=color_format)) as camera:
        camera.start()
        capture = camera.read(1.0)
    assert device.config is not None
    assert device.config.color_format.name == {"BGRA": "COLOR_BGRA32"}.get(color_format, f"COLOR_{color_format}")
    assert capture is not None
    assert capture.color == bytes(array.ravel())
    assert (capture.color_time_us, capture.depth_time_us, capture.color_exposure_us) == (1_000_037, 1_000_000, 8330)
    assert capture.depth_mm is not None and capture.ir is not None
    assert capture.depth_mm.dtype == np.uint16 and (capture.depth_mm == 1500).all() and (capture.ir == 77).all()
    assert exposure.depth is not None and not np.shares_memory(capture.depth_mm, exposure.depth)


def test_incomplete_captures_keep_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = np.arange(9, dtype=np.uint8)
    captures = [
        Exposure(color=jpeg, color_us=10),
        Exposure(depth=_depth(5), ir=_depth(6), depth_us=20),
        Exposure(ir=_depth(7), depth_us=30),  # as in PASSIVE_IR
    ]
    fake_pyk4a.install(monkeypatch, [PretendedDevice("000111", captures=captures)])
    with Pyk4aCamera(_spec()) as camera:
        camera.start()
        color_only, depth_only, ir_only = (camera.read(0.1) for _ in range(3))
    assert color_only is not None and depth_only is not None and ir_only is not None
    assert (color_only.color, color_only.color_time_us) == (jpeg.tobytes(), 10)
    assert (color_only.depth_mm, color_only.ir, color_only.depth_time_us) == (None, None, None)
    assert color_only.color_exposure_us is None  # the library told none
    assert (depth_only.color, depth_only.color_time_us, depth_only.depth_time_us) == (None, None, 20)
    assert (ir_only.depth_mm, ir_only.depth_time_us) == (None, 30)


def test_nothing_in_time_is_a_timeout_and_not_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pyk4a.install(monkeypatch, [PretendedDevice("000111")])
    with Pyk4aCamera(_spec()) as camera:
        camera.start()
        started_s = time.monotonic()
        with pytest.raises(TimeoutError, match=r"0\.05 s"):
            camera.read(0.05)
        assert 0.04 < time.monotonic() - started_s < 1.0


def test_an_unplugged_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PretendedDevice("000111", captures=[Exposure(depth=_depth(5), depth_us=1)])
    fake_pyk4a.install(monkeypatch, [device])
    with Pyk4aCamera(_spec()) as camera:
        camera.start()
        assert camera.read(0.1) is not None
        device.is_unplugged = True
        for ask in (lambda: camera.read(0.1), camera.read_imu, camera.cable_state):
            with pytest.raises(MissingDependencyError, match=r"sensor front: is gone.*USB cable") as caught:
                ask()
            assert caught.value.exit_code == 5


def test_a_device_that_refuses_to_start_names_its_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PretendedDevice("000111", refuses_start=True)
    fake_pyk4a.install(monkeypatch, [device])
    with (
        pytest.raises(MissingDependencyError, match="720P MJPG, NFOV_2X2BINNED, 30 fps"),
        Pyk4aCamera(_spec()) as camera,
    ):
        camera.start()
    assert device.num_open == 0


def test_imu_samples_keep_their_own_stamps_and_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [
        {"temperature": 30.0, "acc_sample": (0.1, 0.2, -9.8), "acc_timestamp": 5 + index,
         "gyro_sample": (0.01, 0.02, 0.03), "gyro_timestamp": 16 + index}
        for index in range(3)
    ]  # fmt: skip
    fake_pyk4a.install(monkeypatch, [PretendedDevice("000111", imu=list(samples))])
    with Pyk4aCamera(_spec()) as camera:
        assert camera.read_imu() == []  # not started
        camera.start()
        got = camera.read_imu()
        assert got[1] == ImuSample(6, (0.1, 0.2, -9.8), 17, (0.01, 0.02, 0.03))
        assert len(got) == 3 and camera.read_imu() == []


def test_closing_twice_is_safe_and_frees_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PretendedDevice("000111")
    fake_pyk4a.install(monkeypatch, [device])
    camera = Pyk4aCamera(_spec())
    camera.start()
    camera.close()
    camera.close()
    assert device.num_open == 0


def test_listing_shows_cables_and_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    mute = PretendedDevice("")
    bench = [PretendedDevice("000111", jacks=(False, True)), PretendedDevice("000222", is_in_use=True), mute]
    fake_pyk4a.install(monkeypatch, bench)
    free, used, silent = list_pyk4a()
    assert (free.serial, free.cables, free.problem) == ("000111", CableState(sync_in=False, sync_out=True), "")
    assert used.serial == "" and "in use" in used.problem
    assert silent.serial == "" and silent.problem != ""
    assert [device.num_open for device in bench] == [0, 0, 0]


def test_the_makers_are_told_apart_by_what_their_libraries_export(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = PretendedDevice("CL8F123", jacks=(False, False))
    for maker, model in (("Microsoft", "azure-kinect"), ("Orbbec", "femto-bolt")):
        package = fake_pyk4a.install(monkeypatch, [device], module_file=compile_module(tmp_path / maker, maker))
        assert pyk4a_maker(package) == maker
        with Pyk4aCamera(_spec(model=model)) as camera:
            assert maker in camera.info.library and camera.info.model == model
            # Orbbec's library says "not plugged in" whatever is plugged in: that is no knowledge
            known = CableState(sync_in=False, sync_out=False)
            assert camera.cable_state() == (known if maker == "Microsoft" else CableState())
        other = {"azure-kinect": "femto-bolt", "femto-bolt": "azure-kinect"}[model]
        with pytest.raises(MissingDependencyError, match=f"{maker}'s libk4a, which knows no {other}"):
            Pyk4aCamera(_spec(model=other))


def test_firmware_is_read_past_pyk4a(tmp_path: Path) -> None:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    device, alien = ctypes.c_int(4711), ctypes.c_int(1)
    handles = [ctypes.c_void_p(ctypes.addressof(one)) for one in (device, alien)]  # k4a_device_t is a pointer
    good, bad = (new(ctypes.addressof(handle), b"pyk4a device handle", None) for handle in handles)
    microsoft = load_k4a(compile_module(tmp_path / "m", "Microsoft"))
    orbbec = load_k4a(compile_module(tmp_path / "o", "Orbbec"))
    assert (k4a_maker(microsoft), k4a_maker(orbbec), k4a_maker(None)) == ("Microsoft", "Orbbec", "Microsoft")
    assert firmware_versions(microsoft, good) == ("1.6.110", "1.6.80")
    assert firmware_versions(orbbec, good) == ("", "1.6.80")  # it gives 0.0.0 for colour
    assert firmware_versions(microsoft, bad) == ("", "")  # the library refuses
    assert firmware_versions(microsoft, new(ctypes.addressof(handles[0]), b"something else", None)) == ("", "")
    assert firmware_versions(microsoft, object()) == ("", "")
    assert firmware_versions(None, good) == ("", "")


def test_usb_speed_comes_from_the_systems_list(tmp_path: Path) -> None:
    for name, product, serial, speed in (
        ("1-1", "097c", "000111", "480"), ("2-1", "097c", "000222", "5000"), ("2-2", "097d", "000333", "5000")
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        for key, text in (("idVendor", "045e"), ("idProduct", product), ("serial", serial), ("speed", speed)):
            (tmp_path / name / key).write_text(f"{text}\n")
    (tmp_path / "usb1").mkdir()  # a hub without these files
    speeds = [usb_speed(serial, devices=tmp_path) for serial in ("000111", "000222", "000333", "000444")]
    assert speeds == ["USB 2", "USB 3 (5 Gbit/s)", "", ""]


def test_a_missing_package_ends_in_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyk4a", None)  # import raises ImportError
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for call in (lambda: Pyk4aCamera(_spec()), list_pyk4a, pyk4a_maker):
        with pytest.raises(MissingDependencyError, match=r"pip install 'anim-real\[kinect\]'") as caught:
            call()
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("system", "machine", "words"),
    [
        ("Linux", "x86_64", "libk4a1.4 and libk4a1.4-dev from packages.microsoft.com"),
        ("Linux", "aarch64", "libk4a1.4-dev (the arm64 packages"),
        ("Windows", "AMD64", "installer of the Azure Kinect SDK 1.4.1"),
        ("Windows", "ARM64", "does not exist for Windows on ARM64"),
        ("Darwin", "arm64", "does not exist for Darwin on arm64: record on Linux or on Windows"),
    ],
)
def test_the_install_line_is_that_of_this_system(system: str, machine: str, words: str) -> None:
    line = kinect_install_line(system, machine)
    assert words in line
    assert ("pip install 'anim-real[kinect]'" in line) == ("does not exist" not in line)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"color_mode": "3072P"}, "3072P runs at 15 fps at most"),
        ({"depth_mode": "WFOV_UNBINNED"}, "WFOV_UNBINNED runs at 15 fps at most"),
        ({"color_format": "NV12", "color_mode": "1080P"}, "NV12 exists at 720P only"),
        ({"depth_delay_us": -33_334}, "depth_delay_us -33334 is longer than a frame"),
        ({"subordinate_delay_us": 100}, "needs sync_mode SUBORDINATE, not STANDALONE"),
        ({"subordinate_delay_us": 40_000, "sync_mode": "SUBORDINATE"}, "longer than a frame"),
    ],
)
def test_modes_that_the_device_lacks_are_refused_before_it_is_touched(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Pyk4aCamera(_spec(**changes))


def test_modes_at_their_limits_pass() -> None:
    check_modes(_spec(color_mode="3072P", depth_mode="WFOV_UNBINNED", fps=15))
    check_modes(_spec(depth_delay_us=33_333, subordinate_delay_us=33_333, sync_mode="SUBORDINATE"))
    check_modes(_spec(model="femto-bolt", color_format="NV12", color_mode="1080P"))
