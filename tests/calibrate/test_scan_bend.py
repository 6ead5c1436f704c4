"""What a scanner's smooth bend does to scans: the correlation of their motions, and the strain of the target."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.sensor import solve_sensor
from anim_real.calibrate.solve.depth_bias import DepthPoints
from anim_real.calibrate.solve.equations import normal_equations
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import Kind
from anim_real.calibrate.solve.scan_bend import bend_correlation, bend_precision
from anim_real.calibrate.solve.scan_strain import strain_pull, strain_sigma, with_strain
from anim_real.calibrate.solve.solver import covariance_of, solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import NUM_SHARED

from .synthetic import FAST, Errors, make_studio, moved_scans

REACH_M = 0.4


def test_the_motions_correlation_is_that_of_half_the_curl():
    """Against central differences of the squared-exponential covariance, every axis its own."""
    rng = np.random.default_rng(0)
    centers = rng.uniform(-0.5, 0.5, (3, 3))
    step = 1e-3 * REACH_M

    def kernel(p, q):
        return np.exp(-0.5 * np.sum((p - q) ** 2) / REACH_M**2)

    # A turn is a sum over (axis of displacement, offset, weight); a shift is a single such term.
    terms = {}
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3  # turn = (d_a u_b - d_b u_a) / 2, in units of 1 / (sqrt(2) reach)
        unit = REACH_M * np.sqrt(2.0) / (2.0 * step) / 2.0
        terms[axis] = [(b, np.eye(3)[a] * s * step, s * unit) for s in (1, -1)] + [
            (a, np.eye(3)[b] * s * step, -s * unit) for s in (1, -1)
        ]
        terms[3 + axis] = [(axis, np.zeros(3), 1.0)]
    expected = np.zeros((18, 18))
    for i, p in enumerate(centers):
        for j, q in enumerate(centers):
            for k in range(6):
                for m in range(6):
                    expected[6 * i + k, 6 * j + m] = sum(
                        weight * other * kernel(p + offset, q + move)
                        for axis, offset, weight in terms[k]
                        for along, move, other in terms[m]
                        if axis == along
                    )
    assert np.abs(bend_correlation(centers, REACH_M) - expected).max() < 1e-4


def test_the_precision_is_positive_and_knows_far_scans_apart():
    near = bend_precision(np.array([[0.0] * 3, [0.05] * 3]), REACH_M)
    far = bend_precision(np.array([[0.0] * 3, [5.0] * 3]), REACH_M)
    assert np.linalg.eigvalsh(near).min() > 0
    assert far == pytest.approx(np.eye(12), abs=1e-12)
    common, against = np.tile(np.r_[0, 0, 0, 1.0, 0, 0], 2), np.r_[0, 0, 0, 1.0, 0, 0, 0, 0, 0, -1.0, 0, 0]
    assert against @ near @ against > 5.0 * (common @ near @ common)


def test_the_strain_of_one_scan():
    assert strain_sigma(np.zeros((1, 3)), REACH_M) == pytest.approx(np.r_[[1.0] * 3, [np.sqrt(0.5)] * 3] / REACH_M)


def test_the_solution_follows_strain_as_foretold():
    """All scans stretched by a tenth of a thousandth along y, solved again; corners alone."""
    studio = make_studio(3, Errors(), num=4)
    nothing: dict[int, DepthPoints] = {}
    sigma: dict[Kind, float] = {"color": 0.2, "ir": 0.2, "depth": 1e-3, "sphere": 1.0}

    def solved(observations: SensorObservations):
        problem = Problem(observations, FAST)
        start = start_states(observations)[0]
        return problem, solve(
            problem, start, rounds=3, associated=nothing, sigma=sigma, prior_sigma=problem.prior_sigma
        )

    problem, before = solved(studio.observations)
    hessian, _, _ = normal_equations(
        problem, before.state, list(before.blocks), sigma, problem.prior_sigma, rejects=True
    )
    covariance = covariance_of(hessian, problem.free)
    strain = 1e-4
    foretold = (covariance @ strain_pull(problem, before.blocks, nothing, sigma))[:, 1] * strain
    stretched = moved_scans(
        studio.observations,
        lambda points, index: points + strain * (points - problem.centers[index]) * (0.0, 1.0, 0.0),
    )
    _, after = solved(stretched)
    step = problem.prior_residual(after.state) - problem.prior_residual(before.state)
    moved = after.state.T_color_scan @ before.state.T_color_scan.inverse()
    step[:6] = np.r_[moved.rotvec, moved.translation]
    scale = np.sqrt(np.diag(covariance))
    free = problem.free[problem.free < NUM_SHARED]
    assert np.abs(foretold / np.maximum(scale, 1e-12))[free].max() > 0.05  # there is something to foretell
    assert (step - foretold)[free] / scale[free] == pytest.approx(0.0, abs=5e-3)
    wider = with_strain(problem, covariance, before.blocks, nothing, sigma, problem.prior_sigma)
    assert np.linalg.eigvalsh(wider - covariance).min() > -1e-12


def test_scans_that_are_off_one_by_one_are_refused_by_name():
    """Every scan 1.5 mm off by itself: what a 0.2 mm scanner never does."""
    studio = make_studio(21, Errors(corner_px=0.1, depth_mm=1.0), num=7)
    shifts = np.random.default_rng(1).normal(0, 1.5e-3, (7, 3))
    off = moved_scans(studio.observations, lambda points, index: points + shifts[index])
    result = solve_sensor(off, studio.target, FAST, floor_center=np.zeros(3), up=np.array([0.0, 1.0, 0.0]))
    assert "scans' own error of place" in {gate.name for gate in result.gates if not gate.passed}
