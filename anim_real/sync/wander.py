"""A clock's wander about its straight line: piecewise linear and continuous, only where the stamps ask for it.

A crystal's rate moves with its temperature. Over seconds a straight line is right; over a long take the
residuals bend, and then a few knots follow them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
_SEGMENTS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_MIN_STAMPS_PER_SEGMENT = 30
_MIN_GAIN = 10.0  # nats: odds of 22,000 to 1 against a straight line
_ROUNDS = 4
_CAUCHY = 3.0


def fit_wander(time_us: ArrayLike, error_us: ArrayLike) -> tuple[tuple[int, float], ...]:
    """Knots of the correction that residuals ask for; empty where a straight line explains them.

    The number of segments has the best Bayesian information criterion; errors of single stamps count less
    the farther off they are.

    Args:
        time_us: (N,) stamps, ascending.
        error_us: (N,) observed minus predicted by the straight line, at those stamps.

    Returns:
        (time in µs, correction in µs) of every knot, ascending.
    """
    time_us, error_us = np.asarray(time_us, dtype=np.float64), np.asarray(error_us, dtype=np.float64)
    straight = _criterion(_hats(time_us, np.linspace(time_us[0], time_us[-1], 2)), error_us)[0]
    best, knots = straight - _MIN_GAIN, ()
    for segments in _SEGMENTS:
        if len(time_us) < _MIN_STAMPS_PER_SEGMENT * segments:
            break
        places = np.linspace(time_us[0], time_us[-1], segments + 1)
        cost, values = _criterion(_hats(time_us, places), error_us)
        if cost < best:
            best = cost
            knots = tuple((round(float(t)), float(v)) for t, v in zip(places, values, strict=True))
    return knots


def _hats(time_us: Array, places: Array) -> Array:
    """(N, K) weights of the knots at every stamp: piecewise linear, summing to one."""
    at = np.clip(np.searchsorted(places, time_us, side="right") - 1, 0, len(places) - 2)
    share = (time_us - places[at]) / (places[at + 1] - places[at])
    weights = np.zeros((len(time_us), len(places)))
    rows = np.arange(len(time_us))
    weights[rows, at], weights[rows, at + 1] = 1.0 - share, share
    return weights


def _criterion(basis: Array, error_us: Array) -> tuple[float, Array]:
    """Half the Bayesian information criterion (nats) of a robust fit, and its coefficients."""
    weight = np.ones(len(error_us))
    values = np.zeros(basis.shape[1])
    scale = 1.0
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)[:, None]
        values = np.linalg.lstsq(basis * root, error_us * root[:, 0], rcond=None)[0]
        residual = error_us - basis @ values
        scale = max(1.4826 * float(np.median(np.abs(residual))), 0.3)  # a stamp's rounding alone is 0.29 µs
        weight = 1.0 / (1.0 + (residual / scale / _CAUCHY) ** 2)
    loss = 0.5 * _CAUCHY**2 * np.log1p((residual / scale / _CAUCHY) ** 2).sum()
    cost = len(error_us) * np.log(scale) + loss + 0.5 * basis.shape[1] * np.log(len(error_us))
    return float(cost), np.asarray(values, dtype=np.float64)
