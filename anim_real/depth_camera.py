"""The border to RGB-D cameras: what every backend gives, whatever library or process lies behind it.

A backend is a module of its own: recordings, Microsoft's or Orbbec's k4a library, Orbbec's SDK in a
process of its own, the virtual studio. Times are device microseconds, centre of exposure; depth is
uint16 millimetres along z, 0 = no return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class CableState:
    """Whether sync cables are plugged in; None where the device does not tell."""

    sync_in: bool | None = None
    sync_out: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CameraInfo:
    """A camera that is there.

    Attributes:
        backend: name of the backend that found it.
        serial: its serial number.
        model: ``azure-kinect``, ``femto-bolt`` or what the library calls it.
        color_firmware, depth_firmware: versions, empty if not told.
        library: the library behind it and its version.
        usb: speed of its USB connection in the system's words; empty if not told.
        cables: its sync cables when it was opened or listed; ``DepthCamera.cable_state`` is the present state.
        problem: why it cannot be opened now (in use, no permission); empty if it can.
    """

    backend: str
    serial: str
    model: str
    color_firmware: str = ""
    depth_firmware: str = ""
    library: str = ""
    usb: str = ""
    cables: CableState = CableState()
    problem: str = ""


class ImuSample(NamedTuple):
    """One sample: device times in µs, acceleration (3,) m/s², rotation rate (3,) rad/s."""

    acc_time_us: int
    acc: tuple[float, float, float]
    gyro_time_us: int
    gyro: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveCapture:
    """One capture as the device delivered it. A part that did not come is None, and so is its stamp.

    Attributes:
        color: the image as encoded by the device, in the sensor's ``color_format``.
        depth_mm: (h, w) uint16 millimetres.
        ir: (h, w) uint16.
        color_time_us, depth_time_us: device time of the centre of exposure; depth's holds for IR too.
        color_exposure_us: exposure time of the colour image; None where not told.
    """

    color: bytes | None = None
    depth_mm: NDArray[np.uint16] | None = None
    ir: NDArray[np.uint16] | None = None
    color_time_us: int | None = None
    depth_time_us: int | None = None
    color_exposure_us: int | None = None


class DepthCamera(ABC):
    """An opened camera of one configuration (a ``SensorSpec``); a context manager that closes it.

    ``info`` and ``calibration_json`` (the factory's, as bytes) are known once it is open. Cameras are
    opened first and started later, subordinates before the master.
    """

    info: CameraInfo
    calibration_json: bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def start(self) -> None:
        """Start streaming; a subordinate then waits for its master's pulses.

        Raises:
            MissingDependencyError: the device refuses to start, or is gone.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> LiveCapture | None:
        """Wait for the next capture; None when the stream has ended (a recording played to its end).

        Raises:
            TimeoutError: nothing came in time.
            MissingDependencyError: the device is gone (unplugged).
        """

    @abstractmethod
    def read_imu(self) -> list[ImuSample]:
        """The IMU samples that came since the last call; never waits."""

    @abstractmethod
    def cable_state(self) -> CableState:
        """Which sync cables are plugged in now."""

    @abstractmethod
    def close(self) -> None:
        """Stop and release the device; safe to call twice."""
