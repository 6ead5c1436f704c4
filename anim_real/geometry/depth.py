"""Depth images as geometry: pixels lifted to points, and surface normals from neighbouring points.

Points are in metres in the camera's axes (x right, y down, z forward). A pixel without depth is NaN.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.stripes import even_stripes, run_stripes

Array = NDArray[np.float64]
_MAX_STEP_M = 0.05  # neighbours farther apart in depth than this do not lie on one surface,
_MAX_SLOPE = 4.0  # unless the pixels are so coarse that a slope below this explains it (76 degrees)


def camera_rays(camera: Camera) -> Array:
    """(H, W, 2) undistorted x/z, y/z of every pixel, NaN outside the lens's valid radius; computed once per camera."""
    return _cached_rays(
        (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.max_radius),
        tuple(camera.distortion.tolist()),
    )


def range_per_z(camera: Camera) -> Array:
    """(H, W) length of every pixel's ray at z = 1; 1 where there is no ray."""
    rays = camera_rays(camera)
    return np.nan_to_num(np.sqrt(1.0 + rays[..., 0] ** 2 + rays[..., 1] ** 2), nan=1.0)


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
    points = np.ascontiguousarray(points, np.float64)
    result = np.empty_like(points)
    run_stripes(lambda first, last: _normals(points, max_step_m, result, first, last), even_stripes(len(points)))
    return result


@lru_cache(maxsize=8)
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
    planes = np.ascontiguousarray(np.moveaxis(camera.rays(), -1, 0))  # x and y apart: vector units want neighbours
    planes.flags.writeable = False
    return np.moveaxis(planes, 0, -1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _near(x: float, y: float, z: float, other_x: float, other_y: float, other_z: float, max_step: float) -> bool:
    """Whether two neighbouring points lie on the same surface; NaN does not."""
    step = abs(other_z - z)
    if step <= max_step:
        return True
    # Pixel spacing at the nearer depth: between rays (perspective) or between points (parallel); across
    # a depth jump only the right one of the two is small.
    between_rays = np.hypot(other_x / other_z - x / z, other_y / other_z - y / z) * min(z, other_z)
    return step <= _MAX_SLOPE * min(between_rays, np.hypot(other_x - x, other_y - y))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _normals(points: Array, max_step: float, result: Array, first: int, last: int) -> None:
    """Fill rows first..last-1 of ``result``; without a neighbour on the surface an axis has length 0, so no normal."""
    height, width = points.shape[:2]
    for row in range(first, last):
        above, below = max(row - 1, 0), min(row + 1, height - 1)  # at the image's border the pixel itself
        left_x, left_y, left_z = np.nan, np.nan, np.nan
        x, y, z = points[row, 0, 0], points[row, 0, 1], points[row, 0, 2]
        is_left = False
        for column in range(width):
            after = min(column + 1, width - 1)
            right_x, right_y, right_z = points[row, after, 0], points[row, after, 1], points[row, after, 2]
            upper_x, upper_y, upper_z = points[above, column, 0], points[above, column, 1], points[above, column, 2]
            lower_x, lower_y, lower_z = points[below, column, 0], points[below, column, 1], points[below, column, 2]
            is_right = _near(x, y, z, right_x, right_y, right_z, max_step)
            is_upper = _near(x, y, z, upper_x, upper_y, upper_z, max_step)
            is_lower = _near(x, y, z, lower_x, lower_y, lower_z, max_step)
            ax = (right_x if is_right else x) - (left_x if is_left else x)
            ay = (right_y if is_right else y) - (left_y if is_left else y)
            az = (right_z if is_right else z) - (left_z if is_left else z)
            bx = (lower_x if is_lower else x) - (upper_x if is_upper else x)
            by = (lower_y if is_lower else y) - (upper_y if is_upper else y)
            bz = (lower_z if is_lower else z) - (upper_z if is_upper else z)
            # down x right: towards the camera for every surface that a camera can see
            nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            result[row, column, 0] = nx / length if length > 0.0 else np.nan
            result[row, column, 1] = ny / length if length > 0.0 else np.nan
            result[row, column, 2] = nz / length if length > 0.0 else np.nan
            left_x, left_y, left_z, is_left = x, y, z, is_right
            x, y, z = right_x, right_y, right_z
