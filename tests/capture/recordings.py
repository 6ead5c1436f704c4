"""Small recordings and calibrations made for tests; nothing here uses the code under test's reader."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from anim_real.capture.k4a_calibration import FactoryCalibration, FactoryCamera
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter
from anim_real.geometry.frames import Rigid

DEPTH_SHAPE = (288, 320)
CONFIG = RecordingConfig(serial="000123456789", depth_mode="NFOV_2X2BINNED", color_mode="720P", fps=30)


def factory_calibration(*, mirrored_tangential: bool = False) -> FactoryCalibration:
    """A plausible device: real-looking lenses, colour camera 32 mm to the side and tilted by 6 degrees."""
    T_color_depth = Rigid.from_rotvec("color", "depth", [0.1, 0.002, -0.001], [-0.032, -0.002, 0.004])
    p1, p2 = (2e-4, -7e-4) if not mirrored_tangential else (-7e-4, 2e-4)
    return FactoryCalibration(
        depth_camera=FactoryCamera(
            cx=0.5129, cy=0.5169, fx=0.4928, fy=0.4929,
            distortion=np.array([0.548, -0.021, p1 / 10, p2 / 10, -0.0027, 0.89, 0.086, -0.0139]),
            metric_radius=1.74, width=1024, height=1024, rotation=np.eye(3), translation=np.zeros(3),
        ),
        color_camera=FactoryCamera(
            cx=0.4998, cy=0.5066, fx=0.478, fy=0.6374,
            distortion=np.array([0.33, -2.49, p1, p2, 1.4537, 0.2089, -2.3, 1.38]),
            metric_radius=0.0, width=4096, height=3072,
            rotation=T_color_depth.rotation, translation=T_color_depth.translation,
        ),
        T_accelerometer_depth=Rigid.from_rotvec("accelerometer", "depth", [0.3, 1.5, -0.2], [-0.051, 0.003, 0.001]),
        serial="000123456789",
    )  # fmt: skip


def jpeg(value: int) -> bytes:
    """A 720P JPEG of one colour (200, value, 30) RGB."""
    image = np.full((720, 1280, 3), (30, value, 200), np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def depth_image(index: int) -> np.ndarray:
    """A depth image that differs for every capture in every pixel's bytes."""
    rows, columns = np.indices(DEPTH_SHAPE)
    return ((rows * 331 + columns * 7 + index * 1021) % 65536).astype(np.uint16)


def write_recording(
    path: Path, times_us: list[int], *, without_color: tuple[int, ...] = (), without_depth: tuple[int, ...] = (),
    config: RecordingConfig = CONFIG, num_imu: int = 12,
) -> Path:  # fmt: skip
    """Write captures at ``times_us``; colour is stamped 37 µs after depth; some parts are left out."""
    with RecordingWriter(path, config, factory_calibration().to_json()) as writer:
        for index, time_us in enumerate(times_us):
            has_depth = index not in without_depth
            writer.write_capture(
                color=None if index in without_color else jpeg(index * 5 % 256),
                depth_mm=depth_image(index) if has_depth else None,
                ir=depth_image(index + 500) if has_depth else None,
                color_time_us=time_us + 37,
                depth_time_us=time_us,
            )
            for sample in range(num_imu):
                imu_us = time_us + sample * 600
                writer.write_imu(imu_us, (index, sample, -9.81), imu_us + 11, (0.1, 0.2, sample))
    return path
