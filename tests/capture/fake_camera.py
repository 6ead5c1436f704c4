"""A camera for tests that plays a script: captures, pauses, errors."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, ImuSample, LiveCapture
from anim_real.rig import SensorSpec
from capture.recordings import DEPTH_SHAPE, depth_image, factory_calibration, jpeg

PERIOD_US = 1_000_000 / 30
UNKNOWN = CableState()
Step = LiveCapture | BaseException | CableState | None


def sensor_spec(name: str = "k0", **changes: object) -> SensorSpec:
    return SensorSpec.model_validate({"id": name, "depth_mode": "NFOV_2X2BINNED", "fps": 30, **changes})


def live_capture(index: int, *, first_us: int = 900_000, color: bytes | None = b"", **changes: object) -> LiveCapture:
    """Capture ``index`` of a stream at 30 fps; its images tell the index. Colour comes 37 µs after depth."""
    time_us = first_us + round(index * PERIOD_US)
    color = jpeg(index * 5 % 256) if color == b"" else color
    values = {
        "color": color,
        "depth_mm": depth_image(index),
        "ir": depth_image(index + 500),
        "color_time_us": None if color is None else time_us + 37,
        "depth_time_us": time_us,
        "color_exposure_us": None if color is None else 8000,
    }
    return LiveCapture(**(values | changes))  # type: ignore[arg-type]


class FakeCamera(DepthCamera):
    """Plays ``steps`` as fast as it is read, or at ``fps`` of them a second; then ends, or (``endless``) is silent.

    A ``TimeoutError`` in the script waits out the time; a ``CableState`` changes the plugs.
    """

    def __init__(
        self, steps: Iterable[Step], *, serial: str = "000123456789", fps: float | None = None, endless: bool = False,
        started: list[str] | None = None, cables: CableState = UNKNOWN,
    ) -> None:  # fmt: skip
        self.info = CameraInfo(
            backend="fake", serial=serial, model="azure-kinect", color_firmware="1.2.3", depth_firmware="4.5.6"
        )
        self.calibration_json = factory_calibration().to_json()
        self.cables = cables
        self.is_closed = False
        self._steps, self._fps, self._endless, self._started = iter(steps), fps, endless, started
        self._imu: list[ImuSample] = []

    def start(self) -> None:
        if self._started is not None:
            self._started.append(self.info.serial)

    def read(self, timeout_s: float) -> LiveCapture | None:
        for step in self._steps:
            if self._fps is not None:
                time.sleep(1 / self._fps)
            if isinstance(step, CableState):
                self.cables = step
                continue
            if isinstance(step, BaseException):
                if isinstance(step, TimeoutError):
                    time.sleep(timeout_s)
                raise step
            if step is not None and step.depth_time_us is not None:
                at_us = step.depth_time_us
                self._imu.append(ImuSample(at_us - 500, (1.0, 2.0, -9.75), at_us - 490, (0.5, 0.25, 0.125)))
            return step
        if self._endless:
            time.sleep(timeout_s)
            raise TimeoutError("nothing comes")
        return None

    def read_imu(self) -> list[ImuSample]:
        samples, self._imu = self._imu, []
        return samples

    def cable_state(self) -> CableState:
        return self.cables

    def close(self) -> None:
        self.is_closed = True


def small_depth(value_mm: int) -> np.ndarray:
    return np.full(DEPTH_SHAPE, value_mm, np.uint16)
