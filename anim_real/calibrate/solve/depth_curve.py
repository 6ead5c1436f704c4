"""The depth camera's error as a smooth function of range: what offset and slope cannot follow, cyclic errors first.

A Gaussian process over range (metres, along the ray) with squared-exponential covariance, as a sum of sine waves whose
amplitudes are independent (Solin & Särkkä 2020, "Hilbert space methods for reduced-rank Gaussian process
regression", section 3). Where no placement stood it returns to zero within a correlation length or two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUM_WAVES = 16  # the fastest has half a metre per cycle: time-of-flight errors repeat every 0.5 m or more
_FROM_M, _TO_M = 0.2, 4.2  # range of the narrow modes on people; beyond it the curve is zero
_LENGTH_M = _TO_M - _FROM_M
_FREQUENCIES = np.pi * np.arange(1, NUM_WAVES + 1) / _LENGTH_M  # rad/m
_KNOT_STEP_M = 0.04  # linear interpolation between knots errs by 3 % of the fastest wave at most
_KNOWN = 0.9  # share of the prior's standard deviation: above it nothing was learnt about a range


def wave_sigma_m(sigma_m: float, correlation_m: float) -> Array:
    """(NUM_WAVES,) standard deviation of every wave's amplitude, for a curve of a standard deviation and length."""
    density = np.sqrt(2.0 * np.pi) * correlation_m * np.exp(-0.5 * (correlation_m * _FREQUENCIES) ** 2)
    return np.asarray(sigma_m * np.sqrt(density * 2.0 / _LENGTH_M), dtype=np.float64)


def waves(range_m: Array) -> tuple[Array, Array]:
    """The waves (N, NUM_WAVES) of amplitude one at ranges (N,), and their derivative by range; zero beyond the ends."""
    phase = (np.asarray(range_m, dtype=np.float64) - _FROM_M)[:, None] * _FREQUENCIES
    inside = ((range_m > _FROM_M) & (range_m < _TO_M))[:, None]
    return np.where(inside, np.sin(phase), 0.0), np.where(inside, np.cos(phase) * _FREQUENCIES, 0.0)


def knots(amplitudes: Array, covariance: Array, prior_sigma: Array) -> tuple[tuple[float, float, float], ...]:
    """The curve as (range, error, its standard deviation) in metres, where something is known about it.

    Args:
        amplitudes: (NUM_WAVES,) solved.
        covariance: (NUM_WAVES, NUM_WAVES) theirs.
        prior_sigma: (NUM_WAVES,) their standard deviations before.

    The ends are zero, one step beyond what is known. Empty where nothing is.
    """
    ranges = np.arange(_FROM_M, _TO_M + _KNOT_STEP_M / 2, _KNOT_STEP_M)
    basis, _ = waves(ranges)
    sigma = np.sqrt(np.maximum(np.einsum("nj,jk,nk->n", basis, covariance, basis), 0.0))
    before = np.sqrt(np.sum((basis * prior_sigma) ** 2, axis=1))
    known = np.flatnonzero((sigma < _KNOWN * before) & (before > 0))
    if len(known) == 0:
        return ()
    low, high = max(known[0] - 1, 0), min(known[-1] + 1, len(ranges) - 1)
    errors = basis @ amplitudes
    errors[[low, high]] = 0.0
    part = slice(low, high + 1)
    table = zip(ranges[part], errors[part], sigma[part], strict=True)
    return tuple((round(float(at), 6), float(error), float(spread)) for at, error, spread in table)
