"""Azure Kinect (Microsoft's libk4a) and Orbbec Femto (Orbbec's libk4a) through pyk4a.

pyk4a 1.5.0 is imported when a camera is opened or listed. Depth is millimetres, stamps are device microseconds
(centre of exposure), IMU samples m/s² and rad/s, all as the library gives them. Orbbec's library answers every
question about sync jacks with "not plugged in", so its cables are unknown; it also sets the device's clock to the
host's once a minute, which shows as small steps in the stamps.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from anim_real.capture.live.k4a_library import K4aMaker, firmware_versions, k4a_maker, load_k4a, usb_speed
from anim_real.capture.live.live_modes import check_modes
from anim_real.capture.live.sdk_install import missing_pyk4a
from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, ImuSample, LiveCapture
from anim_real.errors import MissingDependencyError
from anim_real.rig import SensorSpec

_MODELS: dict[K4aMaker, str] = {"Microsoft": "azure-kinect", "Orbbec": "femto-bolt"}
_FORMATS = {"MJPG": "COLOR_MJPG", "NV12": "COLOR_NV12", "YUY2": "COLOR_YUY2", "BGRA": "COLOR_BGRA32"}
_CANNOT_OPEN = (
    "cannot be opened: in use by another program, or no permission (Linux: 99-k4a.rules in /etc/udev/rules.d)"
)
_LOST = "Check its USB cable and its power supply, plug it into a USB 3 port of its own, and record again"


class Pyk4aCamera(DepthCamera):
    """One device opened through pyk4a; see ``DepthCamera``.

    Raises:
        ConfigError: a mode or delay that the device does not have.
        MissingDependencyError: no pyk4a, no such device, several and no serial says which, or it cannot be opened.
    """

    def __init__(self, spec: SensorSpec) -> None:
        check_modes(spec)
        pyk4a = _import_pyk4a()
        maker = pyk4a_maker(pyk4a)
        if spec.model != _MODELS[maker]:
            raise MissingDependencyError(
                f"pyk4a runs on {maker}'s libk4a, which knows no {spec.model}", where=f"sensor {spec.id}",
                fix="Put the other maker's libk4a first in the library path, or use the orbbec backend for a Femto",
            )  # fmt: skip
        self._spec = spec
        self._maker: K4aMaker = maker
        self._timeout_error, self._error = pyk4a.K4ATimeoutException, pyk4a.K4AException
        self._device = _open_device(pyk4a, spec)
        try:
            self.calibration_json = self._device.calibration_raw.encode().rstrip(b"\0")
            if not self.calibration_json:
                raise self._lost("gives no factory calibration")
            self.info = _describe(pyk4a, maker, self._device)
        except self._error as error:
            self.close()
            raise self._lost("stopped answering while it was opened") from error
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start cameras and IMU. See ``DepthCamera.start``."""
        try:
            self._device.start()
        except self._error as error:
            raise self._lost(
                f"refuses to start ({self._spec.color_mode} {self._spec.color_format}, {self._spec.depth_mode}, "
                f"{self._spec.fps} fps, {self._spec.sync_mode})"
            ) from error

    def read(self, timeout_s: float) -> LiveCapture | None:
        """The next capture. See ``DepthCamera.read``."""
        try:
            capture = self._device.get_capture(timeout=max(0, round(timeout_s * 1000)))
            return _to_capture(capture, self._error)
        except self._timeout_error as error:
            raise TimeoutError(f"no capture within {timeout_s:g} s") from error
        except self._error as error:
            raise self._lost("is gone: it stopped delivering captures") from error

    def read_imu(self) -> list[ImuSample]:
        """The samples that wait in the library. See ``DepthCamera.read_imu``.

        Raises:
            MissingDependencyError: the device is gone.
        """
        samples = []
        while self._device.is_running:
            try:
                sample = self._device.get_imu_sample(timeout=0)
            except self._timeout_error:
                break
            except self._error as error:
                raise self._lost("is gone: it stopped delivering IMU samples") from error
            samples.append(
                ImuSample(
                    sample["acc_timestamp"], sample["acc_sample"], sample["gyro_timestamp"], sample["gyro_sample"]
                )
            )
        return samples

    def cable_state(self) -> CableState:
        """The sync jacks; unknown with Orbbec's library.

        Raises:
            MissingDependencyError: the device is gone.
        """
        try:
            return _cables(self._maker, self._device)
        except self._error as error:
            raise self._lost("is gone: it stopped answering") from error

    def close(self) -> None:
        """Stop and close the device; a device that is gone is only let go of."""
        device = self._device
        try:
            if device.is_running:
                device.stop()
            elif device.opened:
                device.close()
        except self._error:
            device.is_running = False  # or pyk4a's destructor would try, and fail, once more

    def _lost(self, what: str) -> MissingDependencyError:
        name = f"sensor {self._spec.id}"
        return MissingDependencyError(what, where=name, fix=_LOST)


def list_pyk4a() -> list[CameraInfo]:
    """The devices that pyk4a sees; one that is in use is listed without its serial number, with the problem.

    Raises:
        MissingDependencyError: no pyk4a, or no libk4a beneath it.
    """
    pyk4a = _import_pyk4a()
    maker = pyk4a_maker(pyk4a)
    found = []
    for index in range(pyk4a.connected_device_count()):
        device = pyk4a.PyK4A(device_id=index, thread_safe=False)
        try:
            device.open()
            found.append(_describe(pyk4a, maker, device))
        except pyk4a.K4AException:
            found.append(
                CameraInfo(
                    backend="pyk4a", serial="", model=_MODELS[maker], library=_library(maker), problem=_CANNOT_OPEN
                )
            )
        finally:
            if device.opened:
                device.close()
    return found


def pyk4a_maker(pyk4a: Any | None = None) -> K4aMaker:
    """Whose libk4a pyk4a runs on.

    Raises:
        MissingDependencyError: pyk4a cannot be loaded.
    """
    module = (pyk4a or _import_pyk4a()).k4a_module
    return k4a_maker(load_k4a(getattr(module, "__file__", None)))


def _import_pyk4a() -> Any:
    try:
        return import_module("pyk4a")
    except ImportError as error:  # absent, or its extension module found no libk4a
        raise missing_pyk4a(str(error)) from error


def _open_device(pyk4a: Any, spec: SensorSpec) -> Any:
    """The opened device that ``spec`` means; no other stays open."""
    where = f"sensor {spec.id}"
    count = pyk4a.connected_device_count()
    if count == 0:
        raise MissingDependencyError("no device is connected", where=where, fix=_LOST)
    others: list[str] = []
    for index in range(count):
        # thread_safe=False is pyk4a's name for releasing the interpreter lock while the library waits
        device = pyk4a.PyK4A(_config(pyk4a, spec), device_id=index, thread_safe=False)
        try:
            device.open()
            serial = device.serial
        except pyk4a.K4AException:
            if device.opened:
                device.close()
            others.append(f"one that {_CANNOT_OPEN}")
            continue
        if serial == spec.serial or (spec.serial is None and count == 1):
            return device
        device.close()
        others.append(serial)
    found = "; ".join(others)
    if spec.serial is None and count > 1:
        raise MissingDependencyError(
            f"{count} devices are connected and the rig does not say which: {found}", where=where,
            fix="Set the sensor's serial in the rig",
        )  # fmt: skip
    wanted = "its device" if spec.serial is None else f"device {spec.serial}"
    raise MissingDependencyError(
        f"{wanted} is not there; found: {found}", where=where, fix="Plug it in, or correct the serial in the rig"
    )


def _config(pyk4a: Any, spec: SensorSpec) -> Any:
    return pyk4a.Config(
        color_resolution=pyk4a.ColorResolution[f"RES_{spec.color_mode}"],
        color_format=pyk4a.ImageFormat[_FORMATS[spec.color_format]],
        depth_mode=pyk4a.DepthMode[spec.depth_mode],
        camera_fps=pyk4a.FPS[f"FPS_{spec.fps}"],
        synchronized_images_only=False,  # incomplete captures are recorded as such
        depth_delay_off_color_usec=spec.depth_delay_us,
        wired_sync_mode=pyk4a.WiredSyncMode[spec.sync_mode],
        subordinate_delay_off_master_usec=spec.subordinate_delay_us,
        disable_streaming_indicator=False,
    )


def _describe(pyk4a: Any, maker: K4aMaker, device: Any) -> CameraInfo:
    library = load_k4a(getattr(pyk4a.k4a_module, "__file__", None))
    color_firmware, depth_firmware = firmware_versions(library, getattr(device, "_device_handle", None))
    serial = device.serial
    return CameraInfo(
        backend="pyk4a",
        serial=serial,
        model=_MODELS[maker],
        color_firmware=color_firmware,
        depth_firmware=depth_firmware,
        library=_library(maker),
        usb=usb_speed(serial),
        cables=_cables(maker, device),
    )


def _library(maker: K4aMaker) -> str:
    try:
        return f"{maker}'s libk4a through pyk4a {version('pyk4a')}"
    except PackageNotFoundError:
        return f"{maker}'s libk4a through pyk4a"


def _cables(maker: K4aMaker, device: Any) -> CableState:
    if maker == "Orbbec":
        return CableState()
    sync_in, sync_out = device.sync_jack_status
    return CableState(sync_in=sync_in, sync_out=sync_out)


def _to_capture(capture: Any, error_class: type[Exception]) -> LiveCapture:
    """Copy the parts out of the library's memory, which goes back to it with the capture."""
    color, depth, ir = capture.color, capture.depth, capture.ir
    exposure_us = None
    if color is not None:
        try:
            exposure_us = capture.color_exposure_usec
        except error_class:  # the library does not tell
            exposure_us = None
    depth_time_us = capture.depth_timestamp_usec if depth is not None else None
    if depth is None and ir is not None:
        depth_time_us = capture.ir_timestamp_usec
    return LiveCapture(
        color=None if color is None else color.tobytes(),
        depth_mm=None if depth is None else np.array(depth, dtype=np.uint16),
        ir=None if ir is None else np.array(ir, dtype=np.uint16),
        color_time_us=None if color is None else capture.color_timestamp_usec,
        depth_time_us=depth_time_us,
        color_exposure_us=exposure_us,
    )
