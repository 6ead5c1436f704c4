"""The joint solve on observations with known truth: exact, noisy, with outliers, with parameters held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import NUM_LOCAL, NUM_SHARED

from .synthetic import FAST, REALISTIC, Errors, make_studio

_OWN = ("scan_wobble", "depth_ripple")  # what every placement has for itself
SHARED = FAST.model_copy(
    update={
        "solver": FAST.solver.model_copy(
            update={"estimate": tuple(name for name in FAST.solver.estimate if name not in _OWN)}
        )
    }
)


def test_exact_observations_give_the_exact_pose():
    studio = make_studio(0, Errors(), num=4)
    solution = solve(Problem(studio.observations, FAST), start_states(studio.observations)[0])
    assert studio.person_error_mm(solution.state.T_color_scan) < 1e-6
    assert studio.depth_error_mm(solution.state.T_depth_scan) < 1e-6
    assert abs(solution.state.offset_m) < 1e-9
    assert solution.is_converged


def test_exact_observations_reveal_the_factorys_errors():
    """Priors pull by the square of (0.02 px against 2 px): a few micrometres."""
    studio = make_studio(1, Errors(factory=1.0), num=6)
    state = solve(Problem(studio.observations, SHARED), start_states(studio.observations)[0]).state
    assert studio.person_error_mm(state.T_color_scan) < 0.01
    assert studio.depth_error_mm(state.T_depth_scan) < 0.01
    assert state.offset_m == pytest.approx(studio.offset_m, abs=1e-5)
    assert state.slope == pytest.approx(studio.slope, abs=1e-5)
    camera = state.color_camera(studio.observations.color)
    assert [camera.fx, camera.fy, camera.cx, camera.cy] == pytest.approx(
        [studio.color.fx, studio.color.fy, studio.color.cx, studio.color.cy], abs=2e-3
    )


def test_placements_own_errors_take_up_little_where_there_are_none():
    """Free depth offsets, tilts and scan poses may hide what the smallest sigma, 0.1 mm of depth, allows."""
    studio = make_studio(1, Errors(factory=1.0), num=6)
    state = solve(Problem(studio.observations, FAST), start_states(studio.observations)[0]).state
    assert studio.person_error_mm(state.T_color_scan) < 0.01
    assert studio.depth_error_mm(state.T_depth_scan) < 0.02
    assert state.offset_m == pytest.approx(studio.offset_m, abs=2e-5)


def test_covariance_is_not_far_from_the_truth():
    """Squared Mahalanobis distance of the pose over several trials: near 6 on average, never absurd."""
    distances = []
    for seed in range(20, 24):
        studio = make_studio(seed, replace(REALISTIC, wrong_corners=0.0, depth_outliers=0.0), num=4)
        solution = solve(Problem(studio.observations, FAST), start_states(studio.observations)[0])
        error = studio.T_color_scan @ solution.state.T_color_scan.inverse()
        vector = np.r_[error.rotvec, error.translation]
        distances.append(vector @ np.linalg.solve(solution.covariance[:6, :6], vector))
    assert 1.5 < np.mean(distances) < 15.0
    assert max(distances) < 40.0


def test_outliers_are_found():
    studio = make_studio(30, replace(REALISTIC, depth_outliers=0.0), num=4)
    solution = solve(Problem(studio.observations, FAST), start_states(studio.observations)[0])
    truth = {}
    for placement in studio.observations.placements:
        expected = studio.color.project(studio.T_color_scan.apply(placement.color.points_scan))
        truth[placement.index] = np.linalg.norm(placement.color.pixels - expected, axis=1) < 2.0
    for index, good in truth.items():
        found = solution.block("color", index)
        assert found is not None
        assert (found[1] == good).mean() > 0.97


def test_fixed_groups_stay_at_the_factory():
    protocol = FAST.model_copy(update={"solver": FAST.solver.model_copy(update={"estimate": ("depth_bias",)})})
    studio = make_studio(9, Errors(factory=1.0), num=3)
    solution = solve(Problem(studio.observations, protocol), start_states(studio.observations)[0])
    assert solution.state.T_color_depth.matrix == pytest.approx(studio.observations.T_color_depth.matrix)
    assert not solution.state.relative_focal.any()
    assert solution.covariance[8, 8] == 0.0
    assert solution.covariance.shape[0] == NUM_SHARED + 3 * NUM_LOCAL
