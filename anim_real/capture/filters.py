"""Depth filters: flying pixels, averaging over time, edge-preserving smoothing. All are off unless a rig asks.

Depth is in millimetres along z, 0 = none. No filter invents depth: a pixel without depth has none
afterwards. Calibration reads raw depth, whatever the rig says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import unproject
from anim_real.rig import BilateralSpec, DepthFilterSpec, TemporalSpec

Array = NDArray[np.float64]
_FLYING_STEP = 0.02  # of the depth: a neighbour farther in front or behind is on another surface
_FLYING_NEIGHBORS = 3  # of eight: with fewer on its surface a pixel hangs between two surfaces
_FLYING_ANGLE_DEG = 12.0  # a surface seen at so flat an angle gives no usable depth; 19 mm per pixel at 2 m
_WEIGHTS_PER_MM = 8  # resolution of the table of weights
_REACH = 3.0  # standard deviations beyond which a weight counts as 0


def filter_depth(
    window: Sequence[NDArray[np.uint16] | None], camera: Camera, filters: DepthFilterSpec
) -> NDArray[np.uint16]:
    """Apply a rig's filters to a depth image, in the order time, flying pixels, smoothing.

    Args:
        window: (h, w) uint16 mm images of 2k+1 captures at equal steps of time, the image itself in the middle;
            None where there is no such capture. One image is enough if the filters do not average over time.
        camera: camera of the images.
        filters: what to do.

    Returns:
        (h, w) uint16 mm, rounded once.
    """
    image = window[len(window) // 2]
    assert image is not None
    depth = np.asarray(image, np.float64)
    if filters.temporal is not None:
        depth = average_over_time(window, filters.temporal)
    if filters.flying_pixels == "neighbors":
        depth = np.where(flying_pixels(depth), 0.0, depth)
    elif filters.flying_pixels == "angle":
        depth = np.where(flying_pixels_by_angle(depth, camera), 0.0, depth)
    if filters.bilateral is not None:
        depth = bilateral(depth, filters.bilateral)
    return np.rint(depth).astype(np.uint16)


def average_over_time(window: Sequence[NDArray | None], spec: TemporalSpec) -> Array:
    """Mean of every pixel over captures before and after, as far as it stood still.

    Captures join in pairs, one as long before as the other after, so what moves evenly is not dragged
    along; a pixel stops at the first pair in which either differs from it by more than ``max_step_mm``.
    A pair that lacks depth is passed over. With k pairs the variance of independent noise falls to 1/(2k+1).

    Args:
        window: (h, w) mm images at equal steps of time, an odd number, the image itself in the middle;
            None = no capture.
        spec: the step that counts as motion.

    Returns:
        (h, w) float64 mm, 0 where the image itself has none.

    Raises:
        DataError: the images differ in size.
    """
    middle = len(window) // 2
    image = window[middle]
    assert len(window) % 2 == 1
    assert image is not None
    sizes = {other.shape for other in window if other is not None}
    if len(sizes) > 1:
        raise DataError(f"depth images of one recording differ in size: {sorted(sizes)}", where="temporal filter")
    none = np.zeros_like(image)
    stack = np.stack([none if other is None else other for other in window]).astype(np.float64)
    return _averaged(stack, spec.max_step_mm)


def bilateral(depth_mm: NDArray, spec: BilateralSpec) -> Array:
    """Smooth within surfaces: weights fall with distance in the image and with the step in depth.

    Only pixels with depth take part, and only they get an answer (Tomasi and Manduchi, "Bilateral filtering
    for gray and color images", 1998; for depth: Newcombe et al., "KinectFusion", 2011, section 3.2).

    Args:
        depth_mm: (h, w) millimetres, 0 = none.
        spec: window and widths.

    Returns:
        (h, w) float64 mm.
    """
    offsets = np.arange(-spec.radius_px, spec.radius_px + 1) / spec.sigma_px
    near = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2))
    steps = np.arange(int(_REACH * spec.sigma_mm * _WEIGHTS_PER_MM) + 1) / _WEIGHTS_PER_MM
    alike = np.exp(-0.5 * (steps / spec.sigma_mm) ** 2)
    return _bilateral(np.ascontiguousarray(depth_mm, np.float64), near, alike)


def flying_pixels(z: NDArray) -> NDArray[np.bool_]:
    """(h, w) bool: pixels that mix two surfaces and hang between them, by how few neighbours share their depth.

    Args:
        z: (h, w) depth in any unit, 0 = none.
    """
    return _lonely(np.ascontiguousarray(z, np.float64))


def flying_pixels_by_angle(depth_mm: NDArray, camera: Camera) -> NDArray[np.bool_]:
    """(h, w) bool: pixels between two neighbours, one before and one behind them along the line of sight.

    The angle between the line of sight and the line to a neighbour is small on either side of a mixed pixel,
    but only on one side of a surface's last pixel. A side without depth counts as either. Unlike
    ``flying_pixels`` it keeps the pixels of thin things; it takes surfaces that are seen edge-on.

    Args:
        depth_mm: (h, w) millimetres, 0 = none.
        camera: its camera.
    """
    return _along_sight(unproject(depth_mm, camera), np.cos(np.radians(_FLYING_ANGLE_DEG)))


@numba.njit(cache=True)
def _averaged(stack: Array, max_step: float) -> Array:
    middle = stack.shape[0] // 2
    result = np.zeros(stack.shape[1:])
    for row in range(stack.shape[1]):
        for column in range(stack.shape[2]):
            own = stack[middle, row, column]
            if own == 0.0:
                continue
            total, count = own, 1
            for step in range(1, middle + 1):
                before, after = stack[middle - step, row, column], stack[middle + step, row, column]
                if before == 0.0 or after == 0.0:
                    continue
                if abs(before - own) > max_step or abs(after - own) > max_step:
                    break
                total += before + after
                count += 2
            result[row, column] = total / count
    return result


@numba.njit(cache=True)
def _bilateral(depth: Array, near: Array, alike: Array) -> Array:
    height, width = depth.shape
    radius = near.shape[0] // 2
    result = np.zeros(depth.shape)
    for row in range(height):
        for column in range(width):
            own = depth[row, column]
            if own == 0.0:
                continue
            moved, total = 0.0, 0.0
            for other_row in range(max(row - radius, 0), min(row + radius + 1, height)):
                for other_column in range(max(column - radius, 0), min(column + radius + 1, width)):
                    other = depth[other_row, other_column]
                    step = int(abs(other - own) * _WEIGHTS_PER_MM + 0.5)
                    if other != 0.0 and step < alike.size:
                        weight = alike[step] * near[other_row - row + radius, other_column - column + radius]
                        moved += weight * (other - own)
                        total += weight
            result[row, column] = own + moved / total
    return result


@numba.njit(cache=True)
def _lonely(z: Array) -> NDArray[np.bool_]:
    height, width = z.shape
    result = np.zeros(z.shape, np.bool_)
    for row in range(height):
        for column in range(width):
            own = z[row, column]
            if not own > 0.0:
                continue
            count = 0
            for other_row in range(max(row - 1, 0), min(row + 2, height)):
                for other_column in range(max(column - 1, 0), min(column + 2, width)):
                    count += abs(z[other_row, other_column] - own) <= _FLYING_STEP * own
            result[row, column] = count - 1 < _FLYING_NEIGHBORS
    return result


_BESIDE, _BEHIND, _BEFORE, _NONE = 0, 1, 2, 3  # where a neighbour lies, seen from a pixel


@numba.njit(cache=True)
def _place(points: Array, row: int, column: int, other_row: int, other_column: int, limit: float) -> int:
    """Where the neighbour lies: along the line of sight behind or before the pixel, beside it, or without depth."""
    if not (0 <= other_row < points.shape[0] and 0 <= other_column < points.shape[1]):
        return _BESIDE
    x, y, z = points[row, column]
    other_x, other_y, other_z = points[other_row, other_column]
    dx, dy, dz = other_x - x, other_y - y, other_z - z
    if np.isnan(dz):
        return _NONE
    along = x * dx + y * dy + z * dz
    if abs(along) <= limit * np.sqrt((x * x + y * y + z * z) * (dx * dx + dy * dy + dz * dz)):
        return _BESIDE
    return _BEHIND if along > 0.0 else _BEFORE


@numba.njit(cache=True)
def _along_sight(points: Array, limit: float) -> NDArray[np.bool_]:
    height, width = points.shape[:2]
    result = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            if np.isnan(points[row, column, 2]):
                continue
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                one = _place(points, row, column, row + down, column + right, limit)
                other = _place(points, row, column, row - down, column - right, limit)
                if one != other and one != _BESIDE and other != _BESIDE:
                    result[row, column] = True
                    break
    return result
