"""Views of flat boards for a camera's own calibration: their poses, how they spread, and which of them to use.

Pixels are OpenCV's; board points in metres, z = 0. Tilt is the angle between the board's normal and the camera's axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.detect import Corners
from anim_real.calibrate.boards.target import Target

Array = NDArray[np.float64]
_GRID = (8, 6)  # cells of the image, for coverage
_POSE_SCALE = np.array([0.15, 0.15, 0.1, 12.0, 12.0])  # image share x 2, log size, two tilts in degrees: one step apart


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardView:
    """One board seen in one image.

    Attributes:
        name: the image's name, and the board's index where the target has several.
        ids: (N,) corner ids of the target.
        points: (N, 3) board frame, metres, z = 0.
        pixels: (N, 2).
    """

    name: str
    ids: NDArray[np.int64]
    points: Array
    pixels: Array


def board_views(name: str, corners: Corners, target: Target, *, min_corners: int) -> list[BoardView]:
    """Split the corners of one image into views, one per board that shows at least ``min_corners``."""
    views = []
    for board in target.boards:
        own = np.isin(corners.ids, board.corner_ids)
        if own.sum() < min_corners:
            continue
        ids = corners.ids[own]
        label = name if len(target.boards) == 1 else f"{name}, board {board.index}"
        points = board.corners_board()[ids - board.first_corner]
        if np.linalg.matrix_rank(points[:, :2] - points[0, :2], tol=1e-6) == 2:
            views.append(BoardView(name=label, ids=ids, points=points, pixels=corners.pixels[own]))
    return views


def coverage(views: list[BoardView], size: tuple[int, int]) -> NDArray[np.int64]:
    """(6, 8) corners per cell of the image of ``size`` (width, height)."""
    columns, rows = _GRID
    counts = np.zeros((rows, columns), np.int64)
    for view in views:
        cell = np.floor((view.pixels + 0.5) / size * _GRID).astype(int).clip(0, (columns - 1, rows - 1))
        np.add.at(counts, (cell[:, 1], cell[:, 0]), 1)
    return counts


def choose_spread(views: list[BoardView], size: tuple[int, int], limit: int) -> list[int]:
    """Indices of at most ``limit`` views that differ most in place, size and slant, ascending.

    The first is the one with most corners; each further one is the farthest from those chosen (Gonzalez 1985).
    """
    if len(views) <= limit:
        return list(range(len(views)))
    features = np.array([_appearance(view, size) for view in views]) / _POSE_SCALE
    chosen = [int(np.argmax([len(view.ids) for view in views]))]
    away = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < limit:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return sorted(chosen)


def tilts_deg(rotations: Array) -> Array:
    """(V,) angle between board normals and the camera's axis from ``R_camera_board`` (V, 3, 3), degrees."""
    return np.degrees(np.arccos(np.clip(np.abs(rotations[:, 2, 2]), 0.0, 1.0)))


def normal_spread_deg(rotations: Array) -> float:
    """Largest angle between the board normals of two views, degrees; focal length needs it well above zero."""
    normals = rotations[:, :, 2]
    return float(np.degrees(np.arccos(np.clip((normals @ normals.T).min(), -1.0, 1.0))))


def _appearance(view: BoardView, size: tuple[int, int]) -> Array:
    """Centre (share of the image), log size, and the slant as the affine map shows it (two angles, degrees)."""
    plane = view.points[:, :2] - view.points[:, :2].mean(0)
    pixels = view.pixels - view.pixels.mean(0)
    affine = np.linalg.lstsq(plane, pixels, rcond=None)[0].T
    left, stretch, _ = np.linalg.svd(affine)
    slant = np.degrees(np.arccos(np.clip(stretch[1] / max(stretch[0], 1e-12), 0.0, 1.0)))
    direction = left[:, 1] * slant  # the image direction in which the board is foreshortened
    if direction[0] < 0:
        direction = -direction
    return np.r_[view.pixels.mean(0) / size, np.log(max(stretch[0], 1e-12)), direction]
