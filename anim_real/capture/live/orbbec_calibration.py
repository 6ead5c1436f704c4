"""A factory calibration out of what Orbbec's SDK tells of its streams.

The SDK gives intrinsics of the running modes in pixels (centres at integers, as OpenCV), millimetres and
``BROWN_CONRADY_K6`` distortion. ``FactoryCamera.pixel_camera`` of the same modes gives these numbers back; a mode
of another crop is not told by them, so a calibration holds for the modes it was made for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anim_real.capture.k4a_calibration import MODES, FactoryCalibration, FactoryCamera
from anim_real.errors import DataError

_MODELS = ("BROWN_CONRADY", "BROWN_CONRADY_K6", "MODIFIED_BROWN_CONRADY", "NONE")
_ORTHONORMAL = (
    0.02  # Femto Bolts state a first element that is 0.006 short (OrbbecSDK issue 151, K4A-Wrapper issue 109)
)


def to_factory_calibration(
    numbers: dict[str, Any], *, color_mode: str, depth_mode: str, serial: str, where: object
) -> FactoryCalibration:
    """Convert the SDK's numbers of one device in one configuration.

    Args:
        numbers: ``color`` and ``depth`` lenses (fx, fy, cx, cy, width, height, model, k1..k6, p1, p2), and
            ``rotation`` (9 numbers, row by row) and ``translation_mm`` from the depth to the colour camera.
        color_mode: the mode that ``color`` is given for.
        depth_mode: the mode that ``depth`` is given for.
        serial: of the device.
        where: names the device in errors.

    Raises:
        DataError: zeros (some SDK versions give them), another lens model or image size, or no rotation.
    """
    rotation = np.array(numbers["rotation"], dtype=np.float64).reshape(3, 3)
    if not np.isfinite(rotation).all() or np.abs(rotation.T @ rotation - np.eye(3)).max() > _ORTHONORMAL:
        raise DataError("its depth-to-colour rotation is not a rotation", where=where, fix="Update its firmware")
    left, _, right = np.linalg.svd(rotation)
    if np.linalg.det(left @ right) < 0:
        raise DataError("its depth-to-colour rotation is a reflection", where=where, fix="Update its firmware")
    depth_pose = (np.eye(3), np.zeros(3))
    color_pose = (left @ right, np.array(numbers["translation_mm"], dtype=np.float64) / 1000.0)
    return FactoryCalibration(
        depth_camera=_camera(numbers["depth"], depth_mode, (1024, 1024), depth_pose, f"{where}:depth"),
        color_camera=_camera(numbers["color"], color_mode, (4096, 3072), color_pose, f"{where}:color"),
        serial=serial,
    )


def _camera(
    lens: dict[str, Any], mode: str, sensor: tuple[int, int], pose: tuple[np.ndarray, np.ndarray], where: str
) -> FactoryCamera:
    """Invert ``FactoryCamera.pixel_camera``: pixels of a mode to fractions of the calibration image."""
    (binned_x, binned_y), (crop_left, crop_top), size = MODES[mode]
    if lens["model"] not in _MODELS:
        raise DataError(f"lens model {lens['model']} is not supported", where=where, fix="Update its SDK")
    if (lens["width"], lens["height"]) != size:
        raise DataError(f"intrinsics are for {lens['width']}x{lens['height']}, not for {mode}", where=where)
    if min(lens["fx"], lens["fy"]) <= 0:
        raise DataError("the SDK gives no intrinsics", where=where, fix="Update pyorbbecsdk2 and the firmware")
    return FactoryCamera(
        cx=(lens["cx"] + crop_left + 0.5) / binned_x,  # the half pixel: pixel centres to corner origin
        cy=(lens["cy"] + crop_top + 0.5) / binned_y,
        fx=lens["fx"] / binned_x,
        fy=lens["fy"] / binned_y,
        distortion=np.array(
            [lens[name] for name in ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")], dtype=np.float64
        ),
        metric_radius=0.0,
        width=sensor[0],
        height=sensor[1],
        rotation=pose[0],
        translation=pose[1],
    )
