"""Chessboard corners by fitting the image of one: two edges that cross, blurred by lens and pixel.

A detector that follows gradients is off by up to a tenth of a pixel with the place of the corner between the pixels,
and all corners of a board seen from the front are off alike. The model has no such preference. Its pixels lie in a
cross along both edges, which keeps clear of the markers. Pixels are OpenCV's, plane coordinates in squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]
_REACH_SQUARES = 0.42  # how far along its edges a corner is fitted
_MAX_HALF_PX = 12.0
_CLEAR_PX = 1.0  # blur of the markers' borders
_MIN_ARM_PX = 1.0
_ROUNDS_ROUGH, _ROUNDS = 6, 10
_SETTLED_PX = 1e-3
_START_BLUR_PX = 0.6
_BLUR_PX = (0.29, 4.0)  # a pixel's own width is the least
_MIN_CONTRAST = 6.0  # grey levels between black and white
_MAX_MISFIT = 0.2  # root mean square residual over contrast
_NUM_PARAMETERS = 9  # x, y, angles of both edges, log blur, level, half contrast, slopes of the level


@dataclass(frozen=True, kw_only=True, eq=False)
class Saddles:
    """Fitted corners.

    Attributes:
        pixels: (N, 2).
        fits: (N,) whether the image there is that of a corner.
        misfit: (N,) root mean square of what the fit leaves, grey levels.
        contrast: (N,) grey levels between black and white; its sign tells which of the squares are black.
        blur_px: (N,) standard deviation of the edges' blur.
    """

    pixels: Array
    fits: NDArray[np.bool_]
    misfit: Array
    contrast: Array
    blur_px: Array


def fit_saddles(grey: NDArray[np.uint8], pixels: Array, axes: Array, margin: float) -> Saddles:
    """Fit corners of one board (Levenberg-Marquardt, all at once).

    Args:
        grey: (H, W) image.
        pixels: (N, 2) where to start, within a few pixels.
        axes: (N, 2, 2) derivative of the pixel by the plane, pixels per square.
        margin: white between a square's edge and its marker, in squares.
    """
    if len(pixels) == 0:
        none = np.zeros(0)
        return Saddles(pixels=pixels, fits=none.astype(bool), misfit=none, contrast=none, blur_px=none)
    offsets, _, used, values = _patches(grey, pixels, axes, margin)
    state, _ = _descend(_start(offsets, used, values, axes), offsets, values, used, _ROUNDS_ROUGH)
    is_near = np.linalg.norm(state[:, :2], axis=1) < _MAX_HALF_PX
    centers = pixels + np.where(is_near[:, None], state[:, :2], 0.0)
    state[is_near, :2] = 0.0
    offsets, inside, used, values = _patches(grey, centers, axes, margin)  # lop-sided pixels would draw the fit
    state, misfit = _descend(state, offsets, values, used, _ROUNDS)
    contrast, blur = 2 * state[:, 6], np.exp(state[:, 4])
    fits = inside & (np.abs(contrast) > _MIN_CONTRAST) & (misfit < _MAX_MISFIT * np.abs(contrast))
    fits &= (blur < 0.99 * _BLUR_PX[1]) & np.isfinite(state).all(1)
    return Saddles(pixels=centers + state[:, :2], fits=fits, misfit=misfit, contrast=contrast, blur_px=blur)


def _start(offsets: Array, used: NDArray[np.bool_], values: Array, axes: Array) -> Array:
    """First parameters (N, 9): edges along the axes, grey levels of the pixels, black where it fits better."""
    state = np.zeros((len(offsets), _NUM_PARAMETERS))
    state[:, 2], state[:, 3] = np.arctan2(axes[:, 1, 1], axes[:, 0, 1]), np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
    state[:, 4] = np.log(_START_BLUR_PX)
    has_pixels = used.max(axis=1, keepdims=True)
    shown = np.where(has_pixels, np.where(used, values, np.nan), 0.0)
    low, high = np.nanpercentile(shown, (10.0, 90.0), axis=1)
    state[:, 5], state[:, 6] = (high + low) / 2, (high - low) / 2
    model, _ = _model(state, offsets)
    agreement = np.sum(np.where(used, (values - state[:, 5:6]) * (model - state[:, 5:6]), 0.0), axis=1)
    state[:, 6] *= np.where(agreement < 0, -1.0, 1.0)
    return state


def _patches(
    grey: NDArray[np.uint8], pixels: Array, axes: Array, margin: float
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_], Array]:
    """Offsets (N, K, 2) of pixels about the starts, whether all are in the image (N,), mask and grey (N, K)."""
    area = np.abs(np.linalg.det(axes))
    length = np.linalg.norm(axes, axis=1)  # pixels of a square along u and along v
    across = area[:, None] / length[:, ::-1]  # distance between opposite edges of a square, pixels
    reach = np.minimum(_REACH_SQUARES * length, _MAX_HALF_PX)
    half = int(np.ceil(reach.max(initial=1.0)))
    height, width = grey.shape
    nearest = np.rint(pixels).astype(np.int64)
    inside = np.asarray((nearest >= half).all(1) & (nearest < (width - half, height - half)).all(1))
    nearest = np.clip(nearest, half, np.maximum((width - 1 - half, height - 1 - half), half))
    step = np.arange(-half, half + 1)
    grid = np.stack(np.meshgrid(step, step), -1).reshape(-1, 2)
    places = nearest[:, None] + grid
    columns, rows = np.minimum(places[..., 0], width - 1), np.minimum(places[..., 1], height - 1)
    offsets = places - pixels[:, None]
    plane = np.einsum("nij,nkj->nki", np.linalg.inv(axes), offsets)
    along = np.abs(plane) * length[:, None]
    distance = np.abs(plane) * across[:, None]
    arm = np.maximum(margin * across - _CLEAR_PX, _MIN_ARM_PX)
    used = (along < reach[:, None]).all(2) & (distance < arm[:, None]).any(2)
    return offsets, inside & (used.sum(1) > 2 * _NUM_PARAMETERS), used, grey[rows, columns].astype(np.float64)


def _model(state: Array, offsets: Array) -> tuple[Array, Array]:
    """Grey values (N, K) of corners, and their derivatives (N, K, 9)."""
    x, y = offsets[..., 0] - state[:, 0:1], offsets[..., 1] - state[:, 1:2]
    blur = np.exp(state[:, 4:5])
    sides, slopes, alongs, normals = [], [], [], []
    for column in (2, 3):
        cosine, sine = np.cos(state[:, column : column + 1]), np.sin(state[:, column : column + 1])
        distance = (cosine * y - sine * x) / blur
        sides.append(erf(distance / np.sqrt(2.0)))
        slopes.append(np.sqrt(2.0 / np.pi) * np.exp(-0.5 * distance**2) / blur)
        alongs.append(-(cosine * x + sine * y))
        normals.append((distance * blur, -sine, cosine))
    level, contrast = state[:, 5:6], state[:, 6:7]
    first, second = contrast * slopes[0] * sides[1], contrast * slopes[1] * sides[0]
    value = level + state[:, 7:8] * x + state[:, 8:9] * y + contrast * sides[0] * sides[1]
    derivative = np.stack(
        [
            -state[:, 7:8] - first * normals[0][1] - second * normals[1][1],
            -state[:, 8:9] - first * normals[0][2] - second * normals[1][2],
            first * alongs[0],
            second * alongs[1],
            -first * normals[0][0] - second * normals[1][0],
            np.ones_like(x),
            sides[0] * sides[1],
            x,
            y,
        ],
        axis=-1,
    )
    return value, derivative


def _descend(state: Array, offsets: Array, values: Array, used: NDArray[np.bool_], rounds: int) -> tuple[Array, Array]:
    """Fitted parameters (N, 9) and root mean square residuals (N,); corners that have settled are left alone."""
    state = state.copy()
    damping = np.full(len(state), 1e-3)
    model, derivative = _model(state, offsets)
    cost = np.sum(used * (values - model) ** 2, axis=1)
    active = np.arange(len(state))
    for _ in range(rounds):
        mask = used[active]
        weighted = derivative * mask[..., None]
        hessian = weighted.transpose(0, 2, 1) @ derivative
        gradient = (weighted.transpose(0, 2, 1) @ (values[active] - model)[..., None])[..., 0]
        diagonal = np.einsum("nii->ni", hessian)
        damped = hessian + np.eye(_NUM_PARAMETERS) * (damping[active, None] * diagonal + 1e-9)[:, :, None]
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        moved = state[active] + step
        moved[:, 4] = np.clip(moved[:, 4], *np.log(_BLUR_PX))
        there, there_derivative = _model(moved, offsets[active])
        there_cost = np.sum(mask * (values[active] - there) ** 2, axis=1)
        better = there_cost <= cost[active]
        state[active[better]], cost[active[better]] = moved[better], there_cost[better]
        damping[active] = np.where(better, damping[active] / 10, damping[active] * 10)
        model = np.where(better[:, None], there, model)
        derivative = np.where(better[:, None, None], there_derivative, derivative)
        goes_on = ~(better & (np.abs(step[:, :2]).max(1) < _SETTLED_PX))
        if not goes_on.any():
            break
        active, model, derivative = active[goes_on], model[goes_on], derivative[goes_on]
    return state, np.sqrt(cost / np.maximum(used.sum(1), 1))
