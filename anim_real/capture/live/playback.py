"""A recording played as a camera: the captures as recorded, in real time by their stamps or as fast as they are read.

Images go on as they lie in the file: colour is not decoded. IMU samples follow the captures in device time.
The recording's own modes count; those of the rig must agree with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from anim_real.capture.recording.k4a_mkv import ImuSamples, Recording, RecordingInfo
from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, ImuSample, LiveCapture
from anim_real.errors import ConfigError
from anim_real.rig import SensorSpec


class MkvCamera(DepthCamera):
    """A recording behind the camera interface.

    Args:
        spec: the sensor; serial (where it names one) and modes must be the recording's.
        source: the recording.
        is_paced: hand every capture out when its stamp is due, counted from ``start``; else at once.
        clock, sleep: seconds; replaced by tests.

    Raises:
        NotFoundError: no such file, or no calibration attached.
        DataError: no recording.
        ConfigError: serial or modes differ from the spec's.
    """

    def __init__(
        self,
        spec: SensorSpec,
        source: Path,
        *,
        is_paced: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._is_paced, self._clock, self._sleep = is_paced, clock, sleep
        self._recording = Recording(source)
        try:
            info = self._recording.info
            _check_agrees(spec, info, source)
            self.calibration_json = self._recording.calibration_json
        except BaseException:
            self._recording.close()
            raise
        self.info = CameraInfo(
            backend="mkv",
            serial=info.serial,
            model=spec.model,
            color_firmware=info.color_firmware,
            depth_firmware=info.depth_firmware,
            library=f"recording {source.name}",
        )
        self._imu: ImuSamples = self._recording.imu()
        self._times_us = self._recording.stamps().time_us
        self._next_capture = 0
        self._next_imu = 0
        self._started_s: float | None = None

    def start(self) -> None:
        """Begin at the first capture; its stamp is due now."""
        self._next_capture = self._next_imu = 0
        self._started_s = self._clock()

    def read(self, timeout_s: float) -> LiveCapture | None:
        """The next capture; None after the last. See ``DepthCamera.read``."""
        if self._started_s is None:
            raise ConfigError("is read before it was started", where=self._recording.path)
        if self._next_capture == len(self._times_us):
            return None
        if self._is_paced and not self._wait(timeout_s):
            raise TimeoutError(f"no capture within {timeout_s:g} s")
        index = self._next_capture
        self._next_capture += 1
        frame = self._recording.capture(index, decode_color=False)
        has_depth = frame.depth_mm is not None or frame.ir is not None
        color = self._recording.color_payload(index)
        return LiveCapture(
            color=color,
            depth_mm=frame.depth_mm,
            ir=frame.ir,
            color_time_us=None if color is None else frame.color_time_us,
            depth_time_us=frame.depth_time_us if has_depth else None,
        )

    def read_imu(self) -> list[ImuSample]:
        """The samples up to the last capture handed out; all that are left once the last one was."""
        if self._started_s is None or self._next_capture == 0:
            return []
        is_over = self._next_capture == len(self._times_us)
        now_us = None if is_over else int(self._times_us[self._next_capture - 1])
        samples = []
        imu = self._imu
        while self._next_imu < len(imu.acc_time_us):
            row = self._next_imu
            if now_us is not None and imu.acc_time_us[row] > now_us:
                break
            acc_x, acc_y, acc_z = imu.acc[row].tolist()
            gyro_x, gyro_y, gyro_z = imu.gyro[row].tolist()
            samples.append(
                ImuSample(
                    int(imu.acc_time_us[row]),
                    (acc_x, acc_y, acc_z),
                    int(imu.gyro_time_us[row]),
                    (gyro_x, gyro_y, gyro_z),
                )
            )
            self._next_imu += 1
        return samples

    def cable_state(self) -> CableState:
        """Unknown: a recording does not tell."""
        return CableState()

    def close(self) -> None:
        """Close the file."""
        self._started_s = None
        self._recording.close()

    def _wait(self, timeout_s: float) -> bool:
        """Sleep until the next capture is due; False if that is later than ``timeout_s`` from now."""
        assert self._started_s is not None
        due_s = self._started_s + float(self._times_us[self._next_capture] - self._times_us[0]) / 1e6
        wait_s = due_s - self._clock()
        if wait_s > timeout_s:
            self._sleep(timeout_s)
            return False
        if wait_s > 0:
            self._sleep(wait_s)
        return True


def _check_agrees(spec: SensorSpec, info: RecordingInfo, source: Path) -> None:
    """Refuse a recording of another device, or of modes that the sensor is not set to."""
    pairs = {
        "serial": (spec.serial or info.serial, info.serial),
        "depth_mode": (spec.depth_mode, info.depth_mode),
        "color_mode": (spec.color_mode, info.color_mode),
        "color_format": (spec.color_format, info.color_format),
        "fps": (spec.fps, info.fps),
    }
    wrong = [f"{name} {had} instead of {wanted}" for name, (wanted, had) in pairs.items() if wanted != had]
    if wrong:
        raise ConfigError(
            f"was recorded with {', '.join(wrong)}", where=source,
            fix=f"Set sensor {spec.id} of the rig as it was recorded, or play another recording",
        )  # fmt: skip
