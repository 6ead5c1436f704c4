"""Depth images as geometry: pixels lifted to points, and surface normals from neighbouring points.

Points are in metres in the camera's axes (x right, y down, z forward). A pixel without depth is NaN.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera, OrthographicCamera

Array = NDArray[np.float64]
_MAX_STEP_M = 0.05  # neighbours farther apart in depth than this do not lie on one surface,
_MAX_SLOPE = 4.0  # unless the pixels are so coarse that a slope below this explains it (76 degrees)


def camera_rays(camera: Camera) -> Array:
    """(H, W, 2) undistorted x/z, y/z of every pixel, NaN outside the lens's valid radius; computed once per camera."""
    return _cached_rays(
        (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.max_radius),
        tuple(camera.distortion.tolist()),
    )


def unproject(depth_mm: NDArray, camera: Camera | OrthographicCamera, z: NDArray | None = None) -> Array:
    """Lift a depth image to points.

    Args:
        depth_mm: (H, W) millimetres along z, 0 = none; uint16 or float. Ignored when ``z`` is given.
        camera: the camera of that image.
        z: (H, W) metres along z in place of ``depth_mm``; 0 or NaN = none.

    Returns:
        (H, W, 3) float64 metres, NaN where there is no depth or no valid ray.
    """
    depth = np.asarray(depth_mm, np.float64) * 1e-3 if z is None else np.array(z, np.float64)
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth image {depth.shape} is not of the camera's size {(camera.height, camera.width)}")
    depth[~(depth > 0)] = np.nan
    points = np.empty((*depth.shape, 3))
    if isinstance(camera, OrthographicCamera):
        points[..., 0] = (np.arange(camera.width) - camera.cx) / camera.px_per_m
        points[..., 1] = ((np.arange(camera.height) - camera.cy) / camera.px_per_m)[:, None]
        points[np.isnan(depth)] = np.nan
    else:
        np.multiply(camera_rays(camera), depth[..., None], out=points[..., :2])
    points[..., 2] = depth
    points[np.isnan(points[..., 0]), 2] = np.nan
    return points


def normals(points: Array, *, max_step_m: float = _MAX_STEP_M) -> Array:
    """Surface normals by the cross product of neighbouring pixels' differences (ANIM, Fig. 2).

    Each axis uses the two neighbours that lie on the same surface; at an edge the one that does.

    Args:
        points: (H, W, 3) metres in camera axes, NaN = none, as ``unproject`` returns.
        max_step_m: neighbours farther apart in depth than this are not on the same surface, unless
            a slope of four to one explains it (coarse images).

    Returns:
        (H, W, 3) unit vectors towards the camera; NaN where an axis has no neighbour.
    """
    return _normals(np.ascontiguousarray(points, np.float64), max_step_m)


@lru_cache(maxsize=4)
def _cached_rays(intrinsics: tuple[float, ...], distortion: tuple[float, ...]) -> Array:
    width, height, fx, fy, cx, cy, max_radius = intrinsics
    camera = Camera(
        width=int(width),
        height=int(height),
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        distortion=np.array(distortion),
        max_radius=max_radius,
    )
    rays = np.ascontiguousarray(camera.rays())
    rays.flags.writeable = False
    return rays


@numba.njit(cache=True)
def _near(points: Array, row: int, column: int, other_row: int, other_column: int, max_step: float) -> bool:
    """Whether another pixel exists, has depth and lies on the same surface; NaN compares false."""
    if not (0 <= other_row < points.shape[0] and 0 <= other_column < points.shape[1]):
        return False
    x, y, z = points[row, column]
    other_x, other_y, other_z = points[other_row, other_column]
    step = abs(other_z - z)
    if not step > max_step:
        return not np.isnan(step)
    # Pixel spacing at the nearer depth: between rays (perspective) or between points (parallel); across
    # a depth jump only the right one of the two is small.
    near_z = min(z, other_z)
    between_rays = np.hypot(other_x / other_z - x / z, other_y / other_z - y / z) * near_z
    return step <= _MAX_SLOPE * min(between_rays, np.hypot(other_x - x, other_y - y))


@numba.njit(cache=True)
def _normals(points: Array, max_step: float) -> Array:
    height, width = points.shape[:2]
    result = np.full((height, width, 3), np.nan)
    for row in range(height):
        for column in range(width):
            left = column - 1 if _near(points, row, column, row, column - 1, max_step) else column
            right = column + 1 if _near(points, row, column, row, column + 1, max_step) else column
            upper = row - 1 if _near(points, row, column, row - 1, column, max_step) else row
            lower = row + 1 if _near(points, row, column, row + 1, column, max_step) else row
            if left == right or upper == lower:
                continue
            ax = points[row, right, 0] - points[row, left, 0]
            ay = points[row, right, 1] - points[row, left, 1]
            az = points[row, right, 2] - points[row, left, 2]
            bx = points[lower, column, 0] - points[upper, column, 0]
            by = points[lower, column, 1] - points[upper, column, 1]
            bz = points[lower, column, 2] - points[upper, column, 2]
            # down x right: towards the camera for every surface that a camera can see
            nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if length > 0.0:
                result[row, column, 0] = nx / length
                result[row, column, 1] = ny / length
                result[row, column, 2] = nz / length
    return result
