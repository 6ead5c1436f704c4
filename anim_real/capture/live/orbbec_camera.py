"""Orbbec devices through pyorbbecsdk2, which runs in a process and an environment of its own.

pyorbbecsdk2 pins old versions of numpy, av and open3d; so ``orbbec_process`` runs under the interpreter that
``ANIM_REAL_ORBBEC_PYTHON`` (or the ``python`` argument) names, and hands captures over a pipe. Stamps are the
device's clock in microseconds as Orbbec's SDK gives them, or its fit to the host's clock (``clock="global"``).
Sync cables are unknown, for the devices do not tell; so are exposures, for the SDK states no unit of them.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.live.live_modes import check_modes
from anim_real.capture.live.orbbec_calibration import to_factory_calibration
from anim_real.capture.live.orbbec_link import Message, OrbbecProcess
from anim_real.capture.recording.k4a_format import COLOR_SIZES, DEPTH_SIZES
from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, ImuSample, LiveCapture
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import SensorSpec

Clock = Literal["device", "global"]
_OPEN_S, _START_S = 30.0, 20.0
_PAIR_US = 1000  # half a period of the IMU at 500 Hz
_MODELS = {"femto bolt": "femto-bolt"}
_ImuRow = tuple[int, float, float, float]


class OrbbecCamera(DepthCamera):
    """One Orbbec device; see ``DepthCamera``.

    Args:
        spec: the configuration; MASTER is Orbbec's PRIMARY, SUBORDINATE its SECONDARY.
        python: interpreter that has pyorbbecsdk.
        clock: ``device``, or ``global`` for stamps fitted to the host's clock.
        silence_s: how long the process may say nothing before it counts as hanging.

    Raises:
        ConfigError: a mode or delay that the device does not have.
        MissingDependencyError: no interpreter or SDK, no such device, or several and no serial says which.
        DataError: the device gives no usable calibration.
    """

    def __init__(
        self, spec: SensorSpec, *, python: Path | None = None, clock: Clock = "device", silence_s: float = 6.0
    ) -> None:
        where = f"sensor {spec.id}"
        if spec.model == "azure-kinect":
            raise ConfigError("an Azure Kinect does not speak Orbbec's SDK", where=where, fix="Use the pyk4a backend")
        check_modes(spec)
        self._where = where
        self._acc: deque[_ImuRow] = deque()
        self._gyro: deque[_ImuRow] = deque()
        self.num_dropped = 0
        self._process = OrbbecProcess(where, python=python, silence_s=silence_s)
        try:
            self._process.send("open", settings=_settings(spec, clock))
            opened = _answer(self._process, "opened", _OPEN_S, where)
            self.info = _describe(opened, self._process.library)
            self.calibration_json = to_factory_calibration(
                opened["calibration"], color_mode=spec.color_mode, depth_mode=spec.depth_mode,
                serial=self.info.serial, where=where,
            ).to_json()  # fmt: skip
        except BaseException:
            self._process.close()
            raise

    def start(self) -> None:
        """Start streaming. See ``DepthCamera.start``."""
        self._process.send("start")
        _answer(self._process, "started", _START_S, self._where)

    def read(self, timeout_s: float) -> LiveCapture | None:
        """The next capture. See ``DepthCamera.read``."""
        message = self._process.wait_for("capture", timeout_s)
        self.num_dropped = int(message.header["num_dropped"])
        self._acc += [tuple(row) for row in message.header["imu"]["acc"]]
        self._gyro += [tuple(row) for row in message.header["imu"]["gyro"]]
        return _to_capture(message)

    def read_imu(self) -> list[ImuSample]:
        """The samples that came with the captures so far. See ``DepthCamera.read_imu``."""
        return pair_imu(self._acc, self._gyro)

    def cable_state(self) -> CableState:
        """Unknown: Orbbec's devices do not tell."""
        return CableState()

    def close(self) -> None:
        """Stop the device and end its process."""
        self._process.close()


def list_orbbec(*, python: Path | None = None) -> list[CameraInfo]:
    """The devices that Orbbec's SDK sees.

    Raises:
        MissingDependencyError: no interpreter or SDK.
    """
    process = OrbbecProcess("orbbec", python=python)
    try:
        process.send("list")
        devices = _answer(process, "devices", _OPEN_S, "orbbec")["devices"]
    finally:
        process.close()
    return [_describe(facts, process.library) for facts in devices]


def pair_imu(acc: deque[_ImuRow], gyro: deque[_ImuRow]) -> list[ImuSample]:
    """Take samples of the same instant off both queues; one whose counterpart is missing is left out.

    Args:
        acc: (time µs, x, y, z), ascending in time; what may still find its counterpart stays.
        gyro: likewise.
    """
    samples = []
    while acc and gyro:
        behind_us = acc[0][0] - gyro[0][0]
        if abs(behind_us) <= _PAIR_US:
            one, other = acc.popleft(), gyro.popleft()
            samples.append(ImuSample(one[0], one[1:], other[0], other[1:]))
        elif behind_us < 0:
            acc.popleft()
        else:
            gyro.popleft()
    return samples


def _answer(process: OrbbecProcess, kind: str, timeout_s: float, where: str) -> dict[str, Any]:
    started_s = time.monotonic()
    try:
        return process.wait_for(kind, timeout_s).header
    except TimeoutError as error:
        raise MissingDependencyError(
            f"the device was not {kind} within {time.monotonic() - started_s:.0f} s", where=where,
            fix="Unplug it and plug it in again",
        ) from error  # fmt: skip


def _settings(spec: SensorSpec, clock: Clock) -> dict[str, Any]:
    return {
        "serial": spec.serial,
        "depth_mode": spec.depth_mode,
        "depth_size": DEPTH_SIZES[spec.depth_mode],
        "color_size": COLOR_SIZES[spec.color_mode],
        "color_format": spec.color_format,
        "fps": spec.fps,
        "sync_mode": spec.sync_mode,
        "depth_delay_us": spec.depth_delay_us,
        "subordinate_delay_us": spec.subordinate_delay_us,
        "clock": clock,
    }


def _describe(facts: dict[str, Any], library: str) -> CameraInfo:
    name = str(facts["name"])
    known = [model for words, model in _MODELS.items() if words in name.lower()]
    return CameraInfo(
        backend="orbbec",
        serial=str(facts["serial"]),
        model=known[0] if known else name,
        depth_firmware=str(facts["firmware"]),
        library=library,
        usb=str(facts["usb"]),
        problem=str(facts.get("problem", "")),
    )


def _to_capture(message: Message) -> LiveCapture:
    images, offset = message.header["images"], 0
    data: dict[str, memoryview] = {}
    for name, image in images.items():
        data[name] = memoryview(message.payload)[offset : offset + image["bytes"]]
        offset += image["bytes"]
    color, depth = images.get("color"), images.get("depth") or images.get("ir")
    return LiveCapture(
        color=None if color is None else bytes(data["color"]),
        depth_mm=_image_16_bit(images.get("depth"), data.get("depth")),
        ir=_image_16_bit(images.get("ir"), data.get("ir")),
        color_time_us=None if color is None else color["time_us"],
        depth_time_us=None if depth is None else depth["time_us"],
    )


def _image_16_bit(image: dict[str, Any] | None, data: memoryview | None) -> NDArray[np.uint16] | None:
    """(h, w) uint16; None if it did not come, or came with another size than it states."""
    if image is None or data is None or len(data) != 2 * image["width"] * image["height"]:
        return None
    pixels = np.frombuffer(data, "<u2").reshape(image["height"], image["width"])
    scale = image.get("scale", 1.0)
    if scale != 1.0:
        return np.clip(np.rint(pixels * scale), 0, 65535).astype(np.uint16)
    return pixels.astype(np.uint16, copy=False)
