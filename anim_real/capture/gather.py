"""Colour to depth: the colour image as the depth camera would see it, one colour per depth pixel.

The rules are those of the Azure Kinect Sensor SDK's ``transformation_color_image_to_depth_camera``
(``src/transformation/rgbz.c``): every depth pixel is projected into the colour image and takes the bilinear mean
of the four pixels around, rounded half up; it has no colour where one of the four would lie outside.

Two things are added: nearest-pixel sampling, for masks and labels, and an occlusion test. Without the test, as
in the SDK, background that a nearer surface hides from the colour camera takes that surface's colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.capture.alignment import STEP_RATIO, depth_to_color
from anim_real.capture.correspondence import find_corners
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.stripes import even_stripes, run_stripes

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class ColorInDepth:
    """A colour image in the depth camera.

    Attributes:
        color: (h, w) or (h, w, C) uint8, 0 where there is no colour.
        is_valid: (h, w) whether the pixel has a colour; black is a colour.
    """

    color: Image
    is_valid: NDArray[np.bool_]


def color_to_depth(
    color: Image,
    depth_mm: NDArray,
    depth_camera: Camera,
    color_camera: Camera,
    T_color_depth: Rigid,
    *,
    sampling: Literal["linear", "nearest"] = "linear",
    hide_occluded: bool = False,
) -> ColorInDepth:
    """Gather the colour of every depth pixel.

    Args:
        color: (H, W) or (H, W, C) uint8.
        depth_mm: (h, w) millimetres along the depth camera's z, 0 = none; uint16, or float where a bias was removed.
        depth_camera: camera of ``depth_mm``.
        color_camera: camera of ``color``.
        T_color_depth: depth camera frame to colour camera frame, metres.
        sampling: ``linear`` as the SDK does, or ``nearest`` (half pixels round up).
        hide_occluded: give no colour to pixels that lie a depth step (``STEP_RATIO``) behind the nearest surface
            that the depth image shows in front of the colour camera. Outlines are as sharp as the depth image.

    Raises:
        DataError: an image is not of its camera's size or type, or depth holds NaN or negative values.
    """
    if (
        color.dtype != np.uint8
        or color.ndim not in (2, 3)
        or color.shape[:2] != (color_camera.height, color_camera.width)
    ):
        expected = f"uint8 ({color_camera.height}, {color_camera.width}[, C])"
        raise DataError(
            f"colour image is {color.dtype} {color.shape}, its camera's is {expected}", where="colour to depth"
        )
    corners = find_corners(depth_mm, depth_camera, color_camera, T_color_depth)
    if hide_occluded:
        scale = min(1.0, depth_camera.fx / color_camera.fx)  # pixels as coarse as those of the depth image
        nearest = depth_to_color(depth_mm, depth_camera, color_camera.scale(scale), T_color_depth)
        run_stripes(
            lambda first, last: _remove_hidden(*corners.rows(first, last), nearest, scale), even_stripes(len(corners.z))
        )
    channels = np.ascontiguousarray(color).reshape(*color.shape[:2], -1)
    gathered = np.zeros((*corners.z.shape, channels.shape[2]), np.uint8)
    is_valid = np.zeros(corners.z.shape, np.bool_)
    kernel = {"linear": _sample_linear, "nearest": _sample_nearest}[sampling]

    run_stripes(
        lambda first, last: kernel(*corners.rows(first, last), channels, gathered[first:last], is_valid[first:last]),
        even_stripes(len(gathered)),
    )
    return ColorInDepth(color=gathered.reshape(*is_valid.shape, *color.shape[2:]), is_valid=is_valid)


@numba.njit(cache=True, nogil=True)
def _remove_hidden(u: Array, v: Array, z: Array, nearest: NDArray[np.uint16], scale: float) -> None:
    """Set ``z`` to 0 where the image of the nearest depths, ``scale`` times as large, is a depth step nearer."""
    for row in range(z.shape[0]):
        for column in range(z.shape[1]):
            if z[row, column] == 0.0:
                continue
            x, y = np.floor((u[row, column] + 0.5) * scale), np.floor((v[row, column] + 0.5) * scale)
            if not (0 <= x < nearest.shape[1] and 0 <= y < nearest.shape[0]):
                continue
            front = float(nearest[int(y), int(x)])
            if front > 0.0 and z[row, column] - front > STEP_RATIO * front:
                z[row, column] = 0.0


@numba.njit(cache=True, nogil=True)
def _sample_linear(u: Array, v: Array, z: Array, color: Image, gathered: Image, is_valid: NDArray[np.bool_]) -> None:
    """Bilinear mean of the four pixels around (u, v)."""
    for row in range(z.shape[0]):
        for column in range(z.shape[1]):
            x, y = np.floor(u[row, column]), np.floor(v[row, column])
            is_inside = x >= 0.0 and y >= 0.0 and x + 1.0 < color.shape[1] and y + 1.0 < color.shape[0]
            if z[row, column] == 0.0 or not is_inside:
                continue
            right, lower = u[row, column] - x, v[row, column] - y
            left, top = int(x), int(y)
            for channel in range(color.shape[2]):
                upper_mean = (1.0 - right) * color[top, left, channel] + right * color[top, left + 1, channel]
                lower_mean = (1.0 - right) * color[top + 1, left, channel] + right * color[top + 1, left + 1, channel]
                gathered[row, column, channel] = int((1.0 - lower) * upper_mean + lower * lower_mean + 0.5)
            is_valid[row, column] = True


@numba.njit(cache=True, nogil=True)
def _sample_nearest(u: Array, v: Array, z: Array, color: Image, gathered: Image, is_valid: NDArray[np.bool_]) -> None:
    """Pixel that (u, v) lies in."""
    for row in range(z.shape[0]):
        for column in range(z.shape[1]):
            x, y = np.floor(u[row, column] + 0.5), np.floor(v[row, column] + 0.5)
            is_inside = 0.0 <= x < color.shape[1] and 0.0 <= y < color.shape[0]
            if z[row, column] == 0.0 or not is_inside:
                continue
            for channel in range(color.shape[2]):
                gathered[row, column, channel] = color[int(y), int(x), channel]
            is_valid[row, column] = True
