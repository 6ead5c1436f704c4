"""Depth to colour and back in plain NumPy: the rules of the SDK (SENSOR, ``rgbz.c``), to be read, not to be fast.

All quads at once, one pass per pixel offset inside their boxes. float64; each sum is written in the order in
which the compiled code rounds it, so the two must agree in every pixel.
"""

from __future__ import annotations

import numpy as np

from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import camera_rays
from anim_real.geometry.frames import Rigid

STEP_RATIO = 0.04693441759
NOTHING = 1 << 30


def reference_depth_to_color(
    depth_mm: np.ndarray, depth_camera: Camera, target: Camera, T_target_depth: Rigid, *, repair: bool = True
) -> np.ndarray:
    """(H, W) uint16 mm: every 2x2 quad of depth pixels, warped and filled; the nearest wins."""
    corners = reference_corners(depth_mm, depth_camera, target, T_target_depth)
    quads = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], -2).reshape(-1, 4, 3)
    quads = quads[np.isnan(quads[..., 2]).sum(1) < 2]
    quads = repaired(quads) if repair else quads[np.isfinite(quads[..., 2]).all(1)]
    near, far = quads[..., 2].min(1, initial=np.inf), quads[..., 2].max(1, initial=-np.inf)
    quads = quads[far - near <= STEP_RATIO * near]
    size = np.array([target.width, target.height])
    low = np.clip(np.ceil(quads[..., :2].min(1)), 0, size).astype(int)
    high = np.clip(np.ceil(quads[..., :2].max(1)), 0, size).astype(int)
    best = np.full((target.height, target.width), NOTHING)
    span = (high - low).max(0, initial=0)
    for dy in range(span[1]):
        for dx in range(span[0]):
            is_in_box = (low[:, 0] + dx < high[:, 0]) & (low[:, 1] + dy < high[:, 1])
            x, y = low[is_in_box, 0] + dx, low[is_in_box, 1] + dy
            depth, is_hit = depth_in_quads(quads[is_in_box], x, y)
            rounded = np.floor(depth[is_hit] + 0.5).astype(int)
            fits = (rounded > 0) & (rounded <= 65535)
            np.minimum.at(best, (y[is_hit][fits], x[is_hit][fits]), rounded[fits])
    return np.where(best < NOTHING, best, 0).astype(np.uint16)


def reference_corners(depth_mm: np.ndarray, depth_camera: Camera, target: Camera, T_target_depth: Rigid) -> np.ndarray:
    """(h, w, 3) target pixel u, v and target depth of every depth pixel, NaN where there is none."""
    z = np.where(depth_mm > 0, depth_mm, np.nan).astype(float)
    x, y = camera_rays(depth_camera)[..., 0] * z, camera_rays(depth_camera)[..., 1] * z
    R, t = T_target_depth.rotation, T_target_depth.translation * 1e3
    points = np.stack([R[k, 0] * x + R[k, 1] * y + R[k, 2] * z + t[k] for k in range(3)], -1)
    corners = np.concatenate([target.project(points), points[..., 2:]], -1)
    corners[~np.isfinite(corners).all(-1)] = np.nan
    return corners


def repaired(quads: np.ndarray) -> np.ndarray:
    """Quads (N, 4, 3), clockwise from top left, with their one missing corner replaced from its neighbours."""
    _, tr, br, bl = np.moveaxis(quads, 1, 0)
    quads = quads.copy()
    no_tl, no_tr, no_br, no_bl = np.isnan(quads[..., 2]).T
    quads[no_tl, 0] = ((tr + bl) * 0.5)[no_tl]
    quads[no_tr, 1], quads[no_tr, 2] = br[no_tr], ((br + bl) * 0.5)[no_tr]
    quads[no_br, 2] = ((tr + bl) * 0.5)[no_br]
    quads[no_bl, 3], quads[no_bl, 2] = br[no_bl], ((tr + br) * 0.5)[no_bl]
    return quads


def depth_in_quads(quads: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth at one pixel of each quad, barycentric left or right of the diagonal, and whether the pixel is inside."""

    def area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (y - a[:, 1]) * (b[:, 0] - a[:, 0]) - (x - a[:, 0]) * (b[:, 1] - a[:, 1])

    tl, tr, br, bl = np.moveaxis(quads, 1, 0)
    middle_area = area(tl, br)
    is_left = middle_area >= 0
    middle = np.where(is_left[:, None], bl, tr)
    first, last = area(middle, tl), area(br, middle)
    sign = np.where(is_left, 1.0, -1.0)
    is_hit = (sign * first >= 0) & (sign * last > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = (first * br[:, 2] + middle_area * middle[:, 2] + last * tl[:, 2]) / (first + middle_area + last)
    return depth, is_hit


def reference_color_to_depth(
    color: np.ndarray,
    depth_mm: np.ndarray,
    depth_camera: Camera,
    color_camera: Camera,
    T_color_depth: Rigid,
    *,
    sampling: str = "linear",
    hide_occluded: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (h, w, C) of the depth pixels, 0 where there are none, and where there are some."""
    u, v, z = np.moveaxis(reference_corners(depth_mm, depth_camera, color_camera, T_color_depth), -1, 0)
    if sampling == "nearest":
        x, y = np.floor(u + 0.5), np.floor(v + 0.5)
        is_valid = (x >= 0) & (y >= 0) & (x < color_camera.width) & (y < color_camera.height)
    else:
        x, y = np.floor(u), np.floor(v)
        is_valid = (x >= 0) & (y >= 0) & (x + 1 < color_camera.width) & (y + 1 < color_camera.height)
    if hide_occluded:
        scale = min(1.0, depth_camera.fx / color_camera.fx)
        nearest = reference_depth_to_color(depth_mm, depth_camera, color_camera.scale(scale), T_color_depth)
        coarse_x, coarse_y = np.floor((u + 0.5) * scale), np.floor((v + 0.5) * scale)
        is_known = (coarse_x >= 0) & (coarse_y >= 0) & (coarse_x < nearest.shape[1]) & (coarse_y < nearest.shape[0])
        front = np.zeros(z.shape)
        front[is_known] = nearest[coarse_y[is_known].astype(int), coarse_x[is_known].astype(int)]
        is_valid &= ~((front > 0) & (z - front > STEP_RATIO * front))
    gathered = np.zeros((*z.shape, color.shape[2]), np.uint8)
    left, top = x[is_valid].astype(int), y[is_valid].astype(int)
    if sampling == "nearest":
        gathered[is_valid] = color[top, left]
    else:
        right, lower = (u - x)[is_valid][:, None], (v - y)[is_valid][:, None]
        upper_mean = (1.0 - right) * color[top, left] + right * color[top, left + 1]
        lower_mean = (1.0 - right) * color[top + 1, left] + right * color[top + 1, left + 1]
        gathered[is_valid] = np.floor((1.0 - lower) * upper_mean + lower * lower_mean + 0.5)
    return gathered, is_valid
