"""Chessboard corners made finer, missed ones found, and wrong ones left out, with what the rest of the board says.

The board's plane is mapped to the image by a robust homography, and where enough corners are there by a cubic
polynomial on top of it, which takes up the lens. There the image of every corner is fitted (``calibrate.saddle``).
Plane coordinates are in squares, pixels OpenCV's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.calibrate.boards.saddle import Saddles, fit_saddles

Array = NDArray[np.float64]
_RANSAC_SQUARES = 0.25  # a homography leaves this much to the lens
_START_SQUARES = 0.06  # a corner further from the board's prediction is started at the prediction
_MAX_MOVE_SQUARES = 0.12  # a refinement that goes further has found something else
_MAX_ERROR_SQUARES = 0.06  # a corner further from the prediction of all was matched wrongly
_MIN_CONTRAST = 0.25  # of the board's median
_MAX_MISFIT = 4.0  # of the board's median, per contrast: something covers a part of the corner
_LEAST_MISFIT = 0.01  # of the contrast
_MIN_FOR_LENS = 20  # corners; the cubic has 10 terms
_ROUNDS = 8


def refine_corners(
    grey: NDArray[np.uint8], pixels: Array, plane: Array, margin: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Refine the corners of one board.

    Args:
        grey: (H, W) image.
        pixels: (N, 2) where the detector puts them; NaN where it found none; at least 4 are known.
        plane: (N, 2) their places on the board, in squares.
        margin: white between a square's edge and its marker, in squares.

    Returns:
        (N, 2) refined pixels, and (N,) whether each agrees with the others.
    """
    known = np.isfinite(pixels).all(1)
    fit = predict(plane[known], pixels[known], plane)
    kept = np.zeros(len(pixels), bool)
    if fit is None:
        return pixels, kept
    predicted, axes = fit
    square_px = np.linalg.norm(axes, axis=1).min(1)
    with np.errstate(invalid="ignore"):
        is_near = np.linalg.norm(pixels - predicted, axis=1) < _START_SQUARES * square_px
    start = np.where(is_near[:, None], pixels, predicted)
    found = fit_saddles(grey, start, axes, margin)
    refined = found.pixels
    kept = found.fits & (np.linalg.norm(refined - start, axis=1) < _MAX_MOVE_SQUARES * square_px)
    kept &= _alike(found, plane, kept)
    fit = predict(plane[kept], refined[kept], plane) if kept.sum() >= 4 else None
    if fit is None:
        return refined, np.zeros(len(pixels), bool)
    kept &= np.linalg.norm(refined - fit[0], axis=1) < _MAX_ERROR_SQUARES * square_px
    return refined, kept


def _alike(found: Saddles, plane: Array, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) which corners look like the board's: contrast, its sign that alternates along rows, and misfit."""
    if not known.any():
        return known
    contrast = found.contrast
    parity = np.rint(plane - plane.min(0)).sum(1).astype(np.int64) % 2
    signed = contrast * np.where(parity == 0, 1.0, -1.0)
    signed = signed * np.sign(np.sum(np.sign(signed[known])) or 1.0)
    has_contrast = signed > _MIN_CONTRAST * np.median(np.abs(contrast[known]))
    misfit = found.misfit / np.maximum(np.abs(contrast), 1e-6)
    return has_contrast & (misfit < _MAX_MISFIT * max(float(np.median(misfit[known])), _LEAST_MISFIT))


def predict(plane: Array, pixels: Array, wanted: Array) -> tuple[Array, Array] | None:
    """Where a board with corners (N, 2) of its plane at pixels (N, 2) has its places ``wanted`` (M, 2).

    Returns:
        (M, 2) pixels and (M, 2, 2) their derivative by the plane, pixels per square; None if the corners fit no plane.
    """
    rough = cv2.findHomography(plane, pixels)[0]
    if rough is None:
        return None
    square = np.linalg.norm(_mapped(rough, plane)[1], axis=1).min(1)
    if not np.isfinite(square).all():
        return None
    homography = cv2.findHomography(plane, pixels, cv2.RANSAC, float(_RANSAC_SQUARES * np.median(square)))[0]
    if homography is None:
        return None
    mapped, axes = _mapped(homography, wanted)
    if len(plane) >= _MIN_FOR_LENS:
        here, axes_here = _mapped(homography, plane)
        mapped = mapped + _smooth(plane, pixels - here, np.linalg.norm(axes_here, axis=1).min(1), wanted)
    is_finite = np.isfinite(mapped).all() and np.isfinite(axes).all() and (np.abs(np.linalg.det(axes)) > 0).all()
    return (mapped, axes) if is_finite else None


def _mapped(matrix: ArrayLike, plane: Array) -> tuple[Array, Array]:
    """Pixels (N, 2) of plane positions under a homography (3, 3), and their derivative (N, 2, 2)."""
    homography = np.asarray(matrix, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        lifted = np.concatenate([plane, np.ones((len(plane), 1))], 1) @ homography.T
        pixels = lifted[:, :2] / lifted[:, 2:]
        axes = (homography[None, :2, :2] - pixels[:, :, None] * homography[2, :2]) / lifted[:, 2, None, None]
    return pixels, axes


def _smooth(plane: Array, residual: Array, square_px: Array, wanted: Array) -> Array:
    """Cubic polynomial through residuals (N, 2) at ``wanted``, by least squares with falling weights for misfits."""
    center, size = plane.mean(0), np.abs(plane - plane.mean(0)).max()
    terms, terms_wanted = (_cubic((places - center) / size) for places in (plane, wanted))
    weight = np.ones(len(plane))
    factors = np.zeros((terms.shape[1], 2))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)[:, None]
        factors = np.linalg.lstsq(terms * root, residual * root, rcond=None)[0]
        scaled = np.linalg.norm(residual - terms @ factors, axis=1) / (0.3 * _MAX_ERROR_SQUARES * square_px)
        weight = 1.0 / (1.0 + scaled**2) ** 2
    return np.asarray(terms_wanted @ factors, np.float64)


def _cubic(places: Array) -> Array:
    """(N, 10) monomials up to the third degree."""
    x, y = places.T
    return np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1)
