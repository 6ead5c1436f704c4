"""A stand-in for pyk4a 1.5.0 over a bench of pretended devices.

Names, signatures, dtypes, shapes, units and exceptions are those of the package's ``pyk4a.py``, ``capture.py``,
``config.py``, ``errors.py`` and ``pyk4a.cpp``: exceptions carry no message; a device answers only while it is open;
``stop`` also closes it; an image that did not come is None with stamp 0; a timeout of 0 ms only polls.
"""

from __future__ import annotations

import sys
import time
import types
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pytest


class FPS(IntEnum):
    FPS_5 = 0
    FPS_15 = 1
    FPS_30 = 2


class ImageFormat(IntEnum):
    COLOR_MJPG = 0
    COLOR_NV12 = 1
    COLOR_YUY2 = 2
    COLOR_BGRA32 = 3


class DepthMode(IntEnum):
    OFF = 0
    NFOV_2X2BINNED = 1
    NFOV_UNBINNED = 2
    WFOV_2X2BINNED = 3
    WFOV_UNBINNED = 4
    PASSIVE_IR = 5


class ColorResolution(IntEnum):
    OFF = 0
    RES_720P = 1
    RES_1080P = 2
    RES_1440P = 3
    RES_1536P = 4
    RES_2160P = 5
    RES_3072P = 6


class WiredSyncMode(IntEnum):
    STANDALONE = 0
    MASTER = 1
    SUBORDINATE = 2


class K4AException(Exception):
    pass


class K4ATimeoutException(K4AException):
    pass


class Config:
    def __init__(
        self,
        color_resolution: ColorResolution = ColorResolution.RES_720P,
        color_format: ImageFormat = ImageFormat.COLOR_BGRA32,
        depth_mode: DepthMode = DepthMode.NFOV_UNBINNED,
        camera_fps: FPS = FPS.FPS_30,
        synchronized_images_only: bool = True,
        depth_delay_off_color_usec: int = 0,
        wired_sync_mode: WiredSyncMode = WiredSyncMode.STANDALONE,
        subordinate_delay_off_master_usec: int = 0,
        disable_streaming_indicator: bool = False,
    ) -> None:
        self.color_resolution = color_resolution
        self.color_format = color_format
        self.depth_mode = depth_mode
        self.camera_fps = camera_fps
        self.synchronized_images_only = synchronized_images_only
        self.depth_delay_off_color_usec = depth_delay_off_color_usec
        self.wired_sync_mode = wired_sync_mode
        self.subordinate_delay_off_master_usec = subordinate_delay_off_master_usec
        self.disable_streaming_indicator = disable_streaming_indicator


@dataclass(eq=False)
class Exposure:
    """What one capture brings: arrays or None, stamps in µs, the exposure time that the library tells (0: none)."""

    color: np.ndarray | None = None
    depth: np.ndarray | None = None
    ir: np.ndarray | None = None
    color_us: int = 0
    depth_us: int = 0
    exposure_us: int = 0


@dataclass(eq=False)
class PretendedDevice:
    """One device on the bench; ``captures`` and ``imu`` are what it still has to deliver."""

    serial: str
    calibration: str = "{}"
    jacks: tuple[bool, bool] = (False, False)
    captures: list[Exposure] = field(default_factory=list)
    imu: list[dict[str, Any]] = field(default_factory=list)
    is_in_use: bool = False
    refuses_start: bool = False
    is_unplugged: bool = False
    config: Config | None = None
    is_lock_released: bool = False
    num_open: int = 0


class _Capture:
    """``PyK4ACapture``: parts are fetched when asked for."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure

    @property
    def color(self) -> np.ndarray | None:
        return self._exposure.color

    @property
    def depth(self) -> np.ndarray | None:
        return self._exposure.depth

    @property
    def ir(self) -> np.ndarray | None:
        return self._exposure.ir

    @property
    def color_timestamp_usec(self) -> int:
        return self._exposure.color_us if self.color is not None else 0

    @property
    def depth_timestamp_usec(self) -> int:
        return self._exposure.depth_us if self.depth is not None else 0

    @property
    def ir_timestamp_usec(self) -> int:
        return self._exposure.depth_us if self.ir is not None else 0

    @property
    def color_exposure_usec(self) -> int:
        if self._exposure.exposure_us == 0:
            raise K4AException("Cannot read exposure from color image")
        return self._exposure.exposure_us


def install(monkeypatch: pytest.MonkeyPatch, bench: list[PretendedDevice], *, module_file: str | None = None) -> Any:
    """Put the package in place of pyk4a, with these devices connected; return it."""

    class PyK4A:
        TIMEOUT_WAIT_INFINITE = -1

        def __init__(self, config: Config | None = None, device_id: int = 0, thread_safe: bool = True) -> None:
            self._config = config if config is not None else Config()
            self._device = bench[device_id]
            self.thread_safe = thread_safe
            self._device_handle: object | None = None
            self.is_running = False

        @property
        def opened(self) -> bool:
            return self._device_handle is not None

        def open(self) -> None:
            if self.opened:
                raise K4AException("Device already opened")
            if self._device.is_in_use or self._device.is_unplugged or self._device.num_open:
                raise K4AException
            self._device.num_open += 1
            self._device_handle = object()

        def close(self) -> None:
            self._open_device()
            self._device.num_open -= 1
            self._device_handle = None

        def start(self) -> None:
            if not self.opened:
                self.open()
            if self._device.refuses_start or self._device.is_unplugged:
                raise K4AException
            self._device.config = self._config
            self._device.is_lock_released = not self.thread_safe  # pyk4a.cpp: _gil_release
            self.is_running = True

        def stop(self) -> None:
            self.close()
            self.is_running = False

        def get_capture(self, timeout: int = TIMEOUT_WAIT_INFINITE) -> _Capture:
            device = self._open_device()
            if device.is_unplugged or not self.is_running:
                raise K4AException
            if not device.captures:
                time.sleep(timeout / 1000)
                raise K4ATimeoutException
            return _Capture(device.captures.pop(0))

        def get_imu_sample(self, timeout: int = TIMEOUT_WAIT_INFINITE) -> dict[str, Any]:
            device = self._open_device()
            if device.is_unplugged:
                raise K4AException
            if not device.imu:
                assert timeout == 0, "would wait"
                raise K4ATimeoutException
            return device.imu.pop(0)

        @property
        def serial(self) -> str:
            serial = self._open_device().serial
            if serial == "":
                raise K4AException("Cannot read serial")
            return serial

        @property
        def calibration_raw(self) -> str:
            return self._open_device().calibration

        @property
        def sync_jack_status(self) -> tuple[bool, bool]:
            device = self._open_device()
            if device.is_unplugged:
                raise K4AException
            return device.jacks

        def _open_device(self) -> PretendedDevice:
            if not self.opened:
                raise K4AException("Device is not opened")
            return self._device

    package = types.ModuleType("pyk4a")
    package.__dict__.update(
        FPS=FPS,
        ImageFormat=ImageFormat,
        DepthMode=DepthMode,
        ColorResolution=ColorResolution,
        WiredSyncMode=WiredSyncMode,
        K4AException=K4AException,
        K4ATimeoutException=K4ATimeoutException,
        Config=Config,
        PyK4A=PyK4A,
        connected_device_count=lambda: sum(not device.is_unplugged for device in bench),
        k4a_module=types.SimpleNamespace(__file__=module_file),
    )
    monkeypatch.setitem(sys.modules, "pyk4a", package)
    return package
