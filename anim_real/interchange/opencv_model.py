"""Cameras as OpenCV's matrix and coefficients: the model that most tools share, checked on the way in.

Pixels with integer centres, as ours. Coefficients are OpenCV's ``k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]]``;
thin prisms and tilted sensors (beyond the eighth) are refused unless they are zero.
Source: OpenCV, documentation of ``calib3d``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
_LENGTHS = (0, 4, 5, 8, 12, 14)  # of OpenCV's vector of coefficients
_MAX_PIXELS = 1_000_000  # of one side of an image
_UNIT_ROW = np.array([0.0, 0.0, 1.0])


def camera_of(
    matrix: Array, lens: Array, size: tuple[Any, Any], *, where: object, max_radius: float = np.inf
) -> Camera:
    """Build a camera of a (3, 3) matrix, a vector of coefficients and (width, height).

    Raises:
        DataError: skewed pixels, a matrix that is none of intrinsics, a lens beyond eight coefficients, an
            impossible size or values that are not finite.
    """
    if matrix.shape != (3, 3) or matrix[1, 0] != 0.0 or not np.array_equal(matrix[2], _UNIT_ROW):
        raise DataError("its matrix is not one of intrinsics: fx s cx; 0 fy cy; 0 0 1", where=where)
    if matrix[0, 1] != 0.0:
        raise DataError("has skewed pixels, which is not supported", where=where)
    if lens.size not in _LENGTHS or lens[8:].any():
        raise DataError(
            f"has a lens of {lens.size} coefficients; OpenCV's first eight are supported: k1 k2 p1 p2 k3 k4 k5 k6",
            where=where, fix="Calibrate with 0, 4, 5 or 8 of them",
        )  # fmt: skip
    width, height = (whole_pixels(side, where=where) for side in size)
    try:
        return Camera(
            width=width,
            height=height,
            fx=float(matrix[0, 0]),
            fy=float(matrix[1, 1]),
            cx=float(matrix[0, 2]),
            cy=float(matrix[1, 2]),
            distortion=lens[:8],
            max_radius=max_radius,
        )
    except DataError as error:
        raise DataError(error.what, where=where) from error


def whole_pixels(value: Any, *, where: object) -> int:
    """``value`` as the length of an image's side; some tools write it as 640.0.

    Raises:
        DataError: not a positive whole number, or beyond any sensor.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= _MAX_PIXELS or value != int(value):
        raise DataError("its image size is not a positive whole number of pixels", where=where)
    return int(value)


def shortest_lens(camera: Camera) -> list[float]:
    """Coefficients without zeros that OpenCV lets one leave out: 5 (k1 k2 p1 p2 k3) or all 8."""
    return camera.distortion[: 8 if camera.distortion[5:].any() else 5].tolist()
