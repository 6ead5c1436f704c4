"""The depth error over range: its prior, its table, what the solve makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.sensor import recorded_bias
from anim_real.calibrate.solve.depth_curve import NUM_WAVES, knots, wave_sigma_m, waves
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibration import DepthBias

from .synthetic import FAST, Errors, make_studio

NOTHING_LEARNT = np.diag(wave_sigma_m(8e-4, 0.14) ** 2)


def test_the_prior_has_its_standard_deviation_and_length():
    sigma = wave_sigma_m(8e-4, 0.14)
    basis, _ = waves(np.array([1.5, 2.0, 2.5, 2.14]))
    covariance = (basis * sigma**2) @ basis.T
    assert np.sqrt(np.diag(covariance)) == pytest.approx(8e-4, rel=0.06)  # waves faster than 0.5 m are left out
    assert covariance[1, 3] == pytest.approx(8e-4**2 * np.exp(-0.5), rel=0.12)
    assert abs(covariance[0, 2]) < 0.02 * 8e-4**2


def test_the_waves_derivative_is_that_of_differences():
    at = np.linspace(0.3, 4.1, 50)
    _, slopes = waves(at)
    numeric = (waves(at + 1e-6)[0] - waves(at - 1e-6)[0]) / 2e-6
    assert np.abs(slopes - numeric).max() < 1e-6


def test_the_curve_is_zero_beyond_its_ends():
    basis, slopes = waves(np.array([0.0, 0.1, 4.3, 6.0]))
    assert not basis.any() and not slopes.any()


def test_the_table_follows_the_waves_where_something_is_known():
    """Known at 1.8 to 2.6 m: the table begins and ends near there, with zeros, and follows the waves between."""
    rng = np.random.default_rng(0)
    prior = wave_sigma_m(8e-4, 0.14)
    seen, _ = waves(np.linspace(1.8, 2.6, 60))
    covariance = np.asarray(np.linalg.inv(np.diag(prior**-2.0) + seen.T @ seen / 1e-4**2), dtype=np.float64)
    amplitudes = rng.normal(0, prior)
    table = np.array(knots(amplitudes, covariance, prior))
    assert table[0, 1] == table[-1, 1] == 0.0
    assert 1.4 < table[0, 0] < 1.8 and 2.6 < table[-1, 0] < 3.0
    bias = DepthBias(curve=tuple(map(tuple, table)))
    at = np.linspace(1.8, 2.6, 300)
    assert at - bias.correct(at, 1.0) == pytest.approx(waves(at)[0] @ amplitudes, abs=4e-5)
    inner = (table[:, 0] > 1.85) & (table[:, 0] < 2.55)
    assert table[inner, 2].max() < 1e-4


def test_nothing_learnt_gives_no_table():
    assert knots(np.zeros(NUM_WAVES), NOTHING_LEARNT, wave_sigma_m(8e-4, 0.14)) == ()


def test_a_cyclic_depth_error_is_found():
    """1 mm over 0.69 m, which offset and slope cannot follow."""
    studio = make_studio(5, Errors(ripple_mm=1.0), num=6)
    z = np.concatenate([p.depth_m[np.isfinite(p.depth_m)] for p in studio.observations.placements])
    low, high = np.percentile(z, [5, 95])
    at = np.linspace(low, high, 200)
    measured = at + 1e-3 * np.sin(at / 0.11 + 1.0)
    left = []
    for estimate in (FAST.solver.estimate, tuple(name for name in FAST.solver.estimate if name != "depth_curve")):
        protocol = FAST.model_copy(update={"solver": FAST.solver.model_copy(update={"estimate": estimate})})
        solution = solve(Problem(studio.observations, protocol), start_states(studio.observations)[0])
        left.append(np.abs(recorded_bias(solution).correct(measured, 1.05) - at).mean() * 1e3)
    assert left[0] < 0.35 < 0.5 < left[1]
