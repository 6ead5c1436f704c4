"""Chessboard corners made finer, and wrong ones left out, with what the rest of the board says.

The board's plane is mapped to the image by a robust homography, and where enough corners are there by a cubic
polynomial on top of it, which takes up the lens. The window of a corner ends where its markers begin: a larger
one is drawn to the markers (measured: 0.63 px against 0.06 px rms with squares of 22 px).
Plane coordinates are in squares, pixels OpenCV's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_RANSAC_SQUARES = 0.25  # a homography leaves this much to the lens
_START_SQUARES = 0.06  # a corner further from the board's prediction is started at the prediction
_MAX_MOVE_SQUARES = 0.12  # a refinement that goes further has found something else
_MAX_ERROR_SQUARES = 0.06  # a corner further from the prediction of all was matched wrongly
_MIN_FOR_LENS = 20  # corners; the cubic has 10 terms
_WINDOW_PX = (2, 15)
_ROUNDS = 8


def refine_corners(
    grey: NDArray[np.uint8], pixels: Array, plane: Array, margin: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Refine the corners of one board.

    Args:
        grey: (H, W) image.
        pixels: (N, 2) where the detector puts them, N >= 4.
        plane: (N, 2) their places on the board, in squares.
        margin: white between a square's edge and its marker, in squares.

    Returns:
        (N, 2) refined pixels, and (N,) whether each agrees with the others.
    """
    fit = predict(plane, pixels)
    if fit is None:
        return pixels, np.zeros(len(pixels), bool)
    predicted, square_px = fit
    is_off = np.linalg.norm(pixels - predicted, axis=1) > _START_SQUARES * square_px
    start = np.where(is_off[:, None], predicted, pixels)
    half = np.clip(np.rint(margin * square_px), *_WINDOW_PX).astype(int)
    inside = (start > half[:, None]).all(1) & (start < np.array(grey.shape[::-1]) - 1 - half[:, None]).all(1)
    refined = start.copy()
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    for size in np.unique(half[inside]):
        own = inside & (half == size)
        window = (int(size), int(size))
        found = cv2.cornerSubPix(grey, start[own].astype(np.float32).reshape(-1, 1, 2), window, (-1, -1), stop)
        refined[own] = found[:, 0]
    kept = inside & (np.linalg.norm(refined - start, axis=1) < _MAX_MOVE_SQUARES * square_px)
    if kept.sum() < 4:
        return refined, np.zeros(len(pixels), bool)
    fit = predict(plane[kept], refined[kept])
    if fit is None:
        return refined, np.zeros(len(pixels), bool)
    agrees = np.linalg.norm(refined[kept] - fit[0], axis=1) < _MAX_ERROR_SQUARES * fit[1]
    kept[np.flatnonzero(kept)[~agrees]] = False
    return refined, kept


def predict(plane: Array, pixels: Array) -> tuple[Array, Array] | None:
    """Where the board as a whole puts its corners (N, 2), and a square's length there (N,), px; None if nowhere."""
    rough = cv2.findHomography(plane, pixels)[0]
    if rough is None:
        return None
    square = _square_px(np.asarray(rough, np.float64), plane)
    if not np.isfinite(square).all():
        return None
    homography = cv2.findHomography(plane, pixels, cv2.RANSAC, float(_RANSAC_SQUARES * np.median(square)))[0]
    if homography is None:
        return None
    mapped = np.asarray(cv2.perspectiveTransform(plane[None], homography)[0], np.float64)
    square = _square_px(np.asarray(homography, np.float64), plane)
    if len(plane) >= _MIN_FOR_LENS:
        mapped = mapped + _smooth(plane, pixels - mapped, square)
    return (mapped, square) if np.isfinite(mapped).all() and np.isfinite(square).all() else None


def _square_px(homography: Array, plane: Array) -> Array:
    """(N,) the shorter side of a square at plane positions."""
    here, right, below = (
        cv2.perspectiveTransform((plane + step)[None], homography)[0] for step in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    shorter = np.minimum(np.linalg.norm(right - here, axis=1), np.linalg.norm(below - here, axis=1))
    return np.asarray(shorter, np.float64)


def _smooth(plane: Array, residual: Array, square_px: Array) -> Array:
    """Cubic polynomial through residuals (N, 2), by least squares with falling weights for what does not fit."""
    x, y = ((plane - plane.mean(0)) / np.abs(plane - plane.mean(0)).max()).T
    terms = np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1)
    weight = np.ones(len(plane))
    smooth = np.zeros_like(residual)
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)[:, None]
        smooth = terms @ np.linalg.lstsq(terms * root, residual * root, rcond=None)[0]
        scaled = np.linalg.norm(residual - smooth, axis=1) / (0.3 * _MAX_ERROR_SQUARES * square_px)
        weight = 1.0 / (1.0 + scaled**2) ** 2
    return np.asarray(smooth, np.float64)
