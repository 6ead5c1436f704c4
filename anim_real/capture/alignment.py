"""Depth to colour: the depth image as the colour camera (or any other camera) would see it.

The rules are those of the Azure Kinect Sensor SDK on the CPU (``src/transformation/rgbz.c``): every
2x2 quad of depth pixels is warped and filled, unless it spans a depth step; the nearest surface
wins. The SDK computes in float32, this module in float64.

Threads take stripes of the target image and skip the depth rows that do not reach theirs; the nearest
depth does not depend on the order of quads, so neither does the image on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.capture.correspondence import find_corners
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.stripes import num_stripes, run_stripes

Array = NDArray[np.float64]
STEP_RATIO = 0.04693441759  # the SDK's: a quad deeper than this share of its nearest corner is an edge
_MAX_MM = 65535  # what uint16 holds; beyond is left out


def depth_to_color(
    depth_mm: NDArray, depth_camera: Camera, color_camera: Camera, T_color_depth: Rigid, *, repair: bool = True
) -> NDArray[np.uint16]:
    """Warp a depth image into the colour camera.

    Args:
        depth_mm: (h, w) millimetres along the depth camera's z, 0 = none; uint16, or float where a bias was removed.
        depth_camera: camera of ``depth_mm``.
        color_camera: the target camera, a crop or a pinhole as well.
        T_color_depth: depth camera frame to target camera frame, metres.
        repair: replace one missing corner of a quad from its neighbours, as the SDK does; off for measurement
            work, where every depth drawn must lie between four measured ones.

    Returns:
        (H, W) uint16 millimetres along the target camera's z, 0 = none.

    Raises:
        DataError: the image is not of the depth camera's size, or holds NaN or negative depth.
    """
    corners = find_corners(depth_mm, depth_camera, color_camera, T_color_depth)
    aligned = np.zeros((color_camera.height, color_camera.width), np.uint16)
    reach = _reach_of_rows(corners.v, corners.z)
    run_stripes(
        lambda top, bottom: _fill(*corners, reach, aligned[top:bottom], top, repair), _borders(reach, len(aligned))
    )
    return aligned


def _borders(reach: Array, height: int) -> list[int]:
    """Cut the target image where as many depth rows lie above as below (thirds, quarters for more threads)."""
    middles = np.sort(reach[reach[:, 0] <= reach[:, 1]].sum(1) / 2.0)
    count = num_stripes(height)
    if not len(middles):
        return [0, height]
    cuts = [round(min(max(middles[len(middles) * stripe // count], 0), height)) for stripe in range(1, count)]
    return [0, *cuts, height]


@numba.njit(cache=True, nogil=True)
def _reach_of_rows(v: Array, z: Array) -> Array:
    """(h, 2) smallest and largest target row of every depth row; (inf, -inf) if it has no depth."""
    reach = np.empty((v.shape[0], 2))
    for row in range(v.shape[0]):
        low, high = np.inf, -np.inf
        for column in range(v.shape[1]):
            low = min(low, v[row, column] if z[row, column] > 0.0 else np.inf)
            high = max(high, v[row, column] if z[row, column] > 0.0 else -np.inf)
        reach[row, 0], reach[row, 1] = low, high
    return reach


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill(u: Array, v: Array, z: Array, reach: Array, aligned: NDArray[np.uint16], top: int, repair: bool) -> None:
    """Draw every quad of depth pixels into ``aligned``, rows ``top`` and below of the target image."""
    for row in range(u.shape[0] - 1):
        low, high = min(reach[row, 0], reach[row + 1, 0]), max(reach[row, 1], reach[row + 1, 1])
        if not (high > top - 1 and low < top + aligned.shape[0]):
            continue
        for column in range(u.shape[1] - 1):
            z0, z1 = z[row, column], z[row, column + 1]
            z3, z2 = z[row + 1, column], z[row + 1, column + 1]
            num_missing = (z0 == 0.0) + (z1 == 0.0) + (z2 == 0.0) + (z3 == 0.0)
            if num_missing > (1 if repair else 0):
                continue
            p0 = (u[row, column], v[row, column], z0)
            p1 = (u[row, column + 1], v[row, column + 1], z1)
            p2 = (u[row + 1, column + 1], v[row + 1, column + 1], z2)
            p3 = (u[row + 1, column], v[row + 1, column], z3)
            if num_missing == 1:
                p0, p1, p2, p3 = _repaired(p0, p1, p2, p3)
            _draw(p0, p1, p2, p3, aligned, top)


@numba.njit(cache=True, nogil=True)
def _between(a: tuple, b: tuple) -> tuple:
    return (a[0] + b[0]) * 0.5, (a[1] + b[1]) * 0.5, (a[2] + b[2]) * 0.5


@numba.njit(cache=True, nogil=True)
def _repaired(p0: tuple, p1: tuple, p2: tuple, p3: tuple) -> tuple:
    """Replace the missing corner of a quad, given clockwise from top left.

    The order of corners stays clockwise: where the top right or bottom left corner is missing, the
    bottom right one takes its place and moves to the middle of its old edge.
    """
    if p0[2] == 0.0:
        return _between(p1, p3), p1, p2, p3
    if p1[2] == 0.0:
        return p0, p2, _between(p2, p3), p3
    if p2[2] == 0.0:
        return p0, p1, _between(p1, p3), p3
    return p0, p1, _between(p1, p2), p2


@numba.njit(cache=True, nogil=True)
def _covered(a: float, b: float, c: float, d: float, start: int, stop: int) -> tuple[int, int]:
    """Pixels from the smallest to before the largest of four coordinates, inside start..stop-1."""
    low = np.ceil(min(a, b, c, d))
    high = np.ceil(max(a, b, c, d))
    return int(min(max(low, start), stop)), int(max(min(high, stop), start))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _draw(p0: tuple, p1: tuple, p2: tuple, p3: tuple, aligned: NDArray[np.uint16], first_row: int) -> None:
    """Fill the triangles p0 p2 p3, left of the diagonal, and p0 p2 p1, right of it, unless the quad is a depth step.

    ``at_*`` are twice the signed areas that a pixel spans with the edges of its triangle: the weights of the
    opposite corners, positive left of the diagonal and negative right of it. Left and upper edges belong to a
    triangle. The two branches are written out because that is a third faster than choosing the corner.
    """
    (u0, v0, z0), (u1, v1, z1), (u2, v2, z2), (u3, v3, z3) = p0, p1, p2, p3
    nearest = min(z0, z1, z2, z3)
    if max(z0, z1, z2, z3) - nearest > STEP_RATIO * nearest:
        return
    left, right = _covered(u0, u1, u2, u3, 0, aligned.shape[1])
    top, bottom = _covered(v0, v1, v2, v3, first_row, first_row + aligned.shape[0])
    for row in range(top, bottom):
        for column in range(left, right):
            y, x = float(row), float(column)
            at_middle = (y - v0) * (u2 - u0) - (x - u0) * (v2 - v0)
            if at_middle >= 0.0:
                at_2 = (y - v3) * (u0 - u3) - (x - u3) * (v0 - v3)
                at_0 = (y - v2) * (u3 - u2) - (x - u2) * (v3 - v2)
                if not (at_2 >= 0.0 and at_0 > 0.0):
                    continue
                weighted = at_2 * z2 + at_middle * z3 + at_0 * z0
            else:
                at_2 = (y - v1) * (u0 - u1) - (x - u1) * (v0 - v1)
                at_0 = (y - v2) * (u1 - u2) - (x - u2) * (v1 - v2)
                if not (at_2 <= 0.0 and at_0 < 0.0):
                    continue
                weighted = at_2 * z2 + at_middle * z1 + at_0 * z0
            depth = int(weighted / (at_2 + at_middle + at_0) + 0.5)
            old = aligned[row - first_row, column]
            if 0 < depth <= _MAX_MM and (old == 0 or depth < old):
                aligned[row - first_row, column] = depth
