"""Newton's steps for the rational lens model, compiled; ``lens`` says what they mean and prepares them.

Every pixel stops on its own, so an image costs what its pixels need: two or three steps from a good guess.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_MAX_STEPS = 50  # a pixel of a k4a mode takes 2 or 3
_TOLERANCE = 1e-13  # last step, normalised units: 4e-10 px in the largest mode; convergence is quadratic
_MAX_RESIDUAL = 1e-10


@numba.njit(cache=True, error_model="numpy")
def newton(points: Array, distortion: Array, max_radius: float, guesses: Array, guesses_per_unit: float) -> None:
    """Replace distorted coordinates (N, 2) by undistorted ones, NaN where there are none.

    Args:
        points: (N, 2), changed in place.
        distortion: (8,) ``k1 k2 p1 p2 k3 k4 k5 k6``.
        max_radius: undistorted; answers beyond it are none.
        guesses: (G,) undistorted radius at distorted radius ``k / guesses_per_unit``.
        guesses_per_unit: see ``guesses``.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    m2 = max_radius * max_radius
    edge = max_radius * (1 + m2 * (k1 + m2 * (k2 + m2 * k3))) / (1 + m2 * (k4 + m2 * (k5 + m2 * k6)))
    farthest = edge + 3.0 * np.hypot(p1, p2) * m2  # no ray within the radius is imaged beyond
    if np.isnan(farthest):
        farthest = np.inf
    for index in range(points.shape[0]):
        target_x, target_y = points[index, 0], points[index, 1]
        points[index, 0] = points[index, 1] = np.nan
        radius = np.hypot(target_x, target_y)
        if not radius <= farthest:
            continue
        place = radius * guesses_per_unit
        cell = min(int(place), guesses.size - 2)
        guess = guesses[cell] + min(place - cell, 1.0) * (guesses[cell + 1] - guesses[cell])
        share = guess / radius if radius > 0.0 else 1.0
        x, y = target_x * share, target_y * share
        for _ in range(_MAX_STEPS):
            r2 = x * x + y * y
            top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
            radial = top / bottom
            bend = ((k1 + r2 * (2 * k2 + 3 * k3 * r2)) - radial * (k4 + r2 * (2 * k5 + 3 * k6 * r2))) / bottom
            error_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - target_x
            error_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - target_y
            j00 = radial + 2 * x * x * bend + 2 * p1 * y + 6 * p2 * x
            j01 = 2 * x * y * bend + 2 * p1 * x + 2 * p2 * y
            j11 = radial + 2 * y * y * bend + 6 * p1 * y + 2 * p2 * x
            determinant = j00 * j11 - j01 * j01
            step_x = (j11 * error_x - j01 * error_y) / determinant
            step_y = (j00 * error_y - j01 * error_x) / determinant
            x, y = x - step_x, y - step_y
            if not max(abs(step_x), abs(step_y)) >= _TOLERANCE:
                break
        if np.hypot(x, y) <= max_radius and max(abs(error_x), abs(error_y)) < _MAX_RESIDUAL:
            points[index, 0], points[index, 1] = x, y
