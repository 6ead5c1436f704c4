"""Depth to colour: the depth image as the colour camera (or any other camera) would see it.

The rules are those of the Azure Kinect Sensor SDK on the CPU (``src/transformation/rgbz.c``): every
2x2 quad of depth pixels is warped and filled, unless it spans a depth step; the nearest surface
wins. The SDK computes in float32, this module in float64.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import camera_rays
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
STEP_RATIO = 0.04693441759  # the SDK's: a quad deeper than this share of its nearest corner is an edge


def depth_to_color(
    depth_mm: NDArray, depth_camera: Camera, color_camera: Camera, T_color_depth: Rigid, *, repair: bool = True
) -> NDArray[np.uint16]:
    """Warp a depth image into the colour camera.

    Args:
        depth_mm: (h, w) millimetres along the depth camera's z, 0 = none; uint16, or float where a bias was removed.
        depth_camera: camera of ``depth_mm``.
        color_camera: the target camera, a crop or a pinhole as well.
        T_color_depth: depth camera frame to target camera frame, metres.
        repair: replace one missing corner of a quad from its neighbours, as the SDK does.

    Returns:
        (H, W) uint16 millimetres along the target camera's z, 0 = none.

    Raises:
        DataError: the image is not of the depth camera's size, or holds NaN or negative depth.
    """
    depth = np.ascontiguousarray(depth_mm, np.float64)
    if depth.shape != (depth_camera.height, depth_camera.width):
        expected = (depth_camera.height, depth_camera.width)
        raise DataError(f"depth image is {depth.shape}, its camera {expected}", where="depth to colour")
    if not (depth >= 0).all():
        raise DataError("depth image holds NaN or negative depth", where="depth to colour")
    corners = _correspondences(
        depth,
        camera_rays(depth_camera),
        T_color_depth.rotation,
        T_color_depth.translation * 1e3,
        np.array([color_camera.fx, color_camera.fy, color_camera.cx, color_camera.cy]),
        color_camera.distortion,
        color_camera.max_radius,
    )
    aligned = np.zeros((color_camera.height, color_camera.width), np.uint16)
    _fill(corners, aligned, repair)
    return aligned


@numba.njit(cache=True)
def _correspondences(
    depth: Array,
    rays: Array,
    rotation: Array,
    translation_mm: Array,
    intrinsics: Array,
    distortion: Array,
    max_radius: float,
) -> Array:
    """(h, w, 3) target pixel u, v and target depth in mm of every depth pixel; depth 0 = invalid."""
    height, width = depth.shape
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    fx, fy, cx, cy = intrinsics
    corners = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            z = depth[row, column]
            if z == 0.0 or np.isnan(rays[row, column, 0]):
                continue
            x, y = rays[row, column, 0] * z, rays[row, column, 1] * z
            target_z = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation_mm[2]
            if target_z <= 0.0:
                continue
            a = (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + translation_mm[0]) / target_z
            b = (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + translation_mm[1]) / target_z
            r2 = a * a + b * b
            if r2 > max_radius * max_radius:
                continue
            radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
            corners[row, column, 0] = fx * (a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)) + cx
            corners[row, column, 1] = fy * (b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b) + cy
            corners[row, column, 2] = target_z
    return corners


@numba.njit(cache=True)
def _repaired(quad: Array, repair: bool) -> bool:
    """Replace one missing corner of a quad (4, 3), clockwise from top left; False if the quad cannot be drawn.

    The order of corners stays clockwise: where the top right or bottom left corner is missing, the
    bottom right one takes its place and moves to the middle of its old edge.
    """
    num_missing = 0
    missing = -1
    for corner in range(4):
        if quad[corner, 2] == 0.0:
            num_missing += 1
            missing = corner
    if num_missing == 0:
        return True
    if num_missing > 1 or not repair:
        return False
    for k in range(3):
        top_right, bottom_right, bottom_left = quad[1, k], quad[2, k], quad[3, k]
        if missing == 0:
            quad[0, k] = (top_right + bottom_left) * 0.5
        elif missing == 1:
            quad[1, k] = bottom_right
            quad[2, k] = (bottom_right + bottom_left) * 0.5
        elif missing == 2:
            quad[2, k] = (top_right + bottom_left) * 0.5
        else:
            quad[3, k] = bottom_right
            quad[2, k] = (top_right + bottom_right) * 0.5
    return True


@numba.njit(cache=True)
def _area(a: Array, b: Array, x: float, y: float) -> float:
    """Twice the signed area of the triangle a, b, (x, y)."""
    return (y - a[1]) * (b[0] - a[0]) - (x - a[0]) * (b[1] - a[1])


@numba.njit(cache=True)
def _depth_in_quad(quad: Array, x: float, y: float) -> float:
    """Depth at a pixel by the triangle it lies in, left or right of the diagonal; 0 if outside."""
    middle_area = _area(quad[0], quad[2], x, y)
    is_left = middle_area >= 0.0
    middle = quad[3] if is_left else quad[1]
    first_area = _area(middle, quad[0], x, y)
    last_area = _area(quad[2], middle, x, y)
    sign = 1.0 if is_left else -1.0
    if not (sign * first_area >= 0.0 and sign * last_area > 0.0):  # left and upper edges belong to the quad
        return 0.0
    total = first_area + middle_area + last_area
    return (first_area * quad[2, 2] + middle_area * middle[2] + last_area * quad[0, 2]) / total


@numba.njit(cache=True)
def _fill(corners: Array, aligned: NDArray[np.uint16], repair: bool) -> None:
    """Draw every quad of depth pixels into ``aligned``; the nearest depth wins."""
    height, width = aligned.shape
    quad = np.empty((4, 3))
    for row in range(corners.shape[0] - 1):
        for column in range(corners.shape[1] - 1):
            quad[0] = corners[row, column]
            quad[1] = corners[row, column + 1]
            quad[2] = corners[row + 1, column + 1]
            quad[3] = corners[row + 1, column]
            if not _repaired(quad, repair):
                continue
            nearest, farthest = quad[:, 2].min(), quad[:, 2].max()
            if farthest - nearest > STEP_RATIO * nearest:
                continue
            left, right = max(int(np.ceil(quad[:, 0].min())), 0), min(int(np.ceil(quad[:, 0].max())), width)
            top, bottom = max(int(np.ceil(quad[:, 1].min())), 0), min(int(np.ceil(quad[:, 1].max())), height)
            for y in range(top, bottom):
                for x in range(left, right):
                    depth = int(_depth_in_quad(quad, float(x), float(y)) + 0.5)
                    if depth > 0 and (aligned[y, x] == 0 or depth < aligned[y, x]):
                        aligned[y, x] = depth
