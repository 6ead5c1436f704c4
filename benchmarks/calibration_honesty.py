"""How far a solution is from the truth of its ``calibration_world``, and whether its covariance says so.

A squared length is that of an error in standard deviations: chi-squared distributed with the error's degrees of freedom
where the covariance is honest.
"""

from __future__ import annotations

import numpy as np
from calibration_world import World, volume_points
from numpy.typing import NDArray

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.evidence import (
    color_jacobian,
    predicted_chain_mm,
    predicted_color_px,
    predicted_pose_mm,
    predicted_target_mm,
    target_jacobian,
)
from anim_real.calibrate.sensor import recorded_bias
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.solve.state import BIAS, CENTER, CURVE, DELTA, DEPTH_LENS, FOCAL, NUM_SHARED, POSE, State
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_BOX = np.flatnonzero([all(axis in (0, 4) for axis in np.unravel_index(k, (5, 5, 5))) for k in range(125)])  # corners
DEGREES = {"pose": 6, "depth pose": 6, "target": 6, "point": 3, "pixel": 2}


def score(world: World, problem: Problem, solution: Solution, seed: int) -> dict[str, Array]:
    """Errors over the person-sized volume (mm, px), what was predicted, and squared lengths."""
    state, points = solution.state, volume_points()
    error, covariance = parameter_error(world, state), solution.covariance[:NUM_SHARED, :NUM_SHARED]
    jacobian, part = target_jacobian(solution, points)
    index, color_index = np.r_[POSE, DELTA, DEPTH_LENS], np.r_[POSE, FOCAL, CENTER]
    box = jacobian[_BOX].reshape(-1, jacobian.shape[2])
    by_color, color_part = color_jacobian(solution, world.observations.color, points)
    adjoint = _adjoint(world.truth.T_depth_color) @ np.concatenate([np.eye(6), -np.eye(6)], 1)
    both = np.r_[POSE, DELTA]
    check = bootstrap_check(problem, solution, points, np.random.default_rng(seed))
    assert check is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = error / np.sqrt(np.diag(covariance))
    return {
        "target": world.target_error_mm(state),
        "chain": world.chain_error_mm(state, recorded_bias(solution)),
        "pose": world.pose_error_mm(state),
        "px": world.color_error_px(state),
        "predicted": np.array(
            [
                predicted_target_mm(solution, points),
                predicted_chain_mm(solution, points),
                predicted_pose_mm(solution, points),
                predicted_color_px(solution, world.observations.color, points),
            ]
        ),
        "squared pose": squared_length(error[POSE], covariance[POSE, POSE], 6),
        "squared depth pose": squared_length(
            adjoint @ error[both], adjoint @ covariance[np.ix_(both, both)] @ adjoint.T, 6
        ),
        "squared target": squared_length(box @ error[index], box @ part @ box.T, 6),
        "squared point": np.array([squared_length(j @ error[index], j @ part @ j.T, 3) for j in jacobian]),
        "squared pixel": np.array([squared_length(j @ error[color_index], j @ color_part @ j.T, 2) for j in by_color]),
        "normalised": normalised,
        "ratio": np.array(check.ratio),
    }


def parameter_error(world: World, state: State) -> Array:
    """(S,) truth minus estimate; the depth bias has no true offset, slope and waves: their errors are NaN."""
    factory, error = world.observations, np.full(NUM_SHARED, np.nan)
    for part, (true, found) in (
        (POSE, (world.truth.T_color_scan, state.T_color_scan)),
        (DELTA, (world.truth.T_color_depth, state.T_color_depth)),
    ):
        step = true @ found.inverse()
        error[part] = np.r_[step.rotvec, step.translation]
    focal = np.array([world.color.fx / factory.color.fx, world.color.fy / factory.color.fy])
    error[FOCAL] = np.array([focal[0] - 1, focal[1] - focal[0]]) - state.relative_focal
    error[CENTER] = (world.color.cx - factory.color.cx, world.color.cy - factory.color.cy) - state.center_px
    depth_focal = (world.depth.fx / factory.depth.fx + world.depth.fy / factory.depth.fy) / 2 - 1
    lens = (depth_focal, world.depth.cx - factory.depth.cx, world.depth.cy - factory.depth.cy)
    error[DEPTH_LENS] = lens - state.depth_lens
    assert np.isnan(error[np.r_[BIAS, CURVE]]).all()
    return error


def squared_length(error: Array, covariance: Array, rank: int) -> Array:
    """Squared length of an error in standard deviations, over the ``rank`` widest directions."""
    values, axes = np.linalg.eigh(covariance)
    return np.asarray(np.sum((axes[:, -rank:].T @ error) ** 2 / values[-rank:]))


def _adjoint(transform: Rigid) -> Array:
    """(6, 6) how a left perturbation [w, t] of the source frame reads in the destination frame."""
    rotation, (x, y, z) = transform.rotation, transform.translation
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.block([[rotation, np.zeros((3, 3))], [cross @ rotation, rotation]])
