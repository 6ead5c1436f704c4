"""What a solution is worth: placements held out, and the errors that the covariance predicts.

"Target error" is the distance (mm) between where the solved depth camera puts a pixel of known depth and where
it belongs; "px" is the colour image's. Both are taken over a person-sized volume, 0.8 x 2.0 x 0.8 m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.solve.depth_curve import waves
from anim_real.calibrate.solve.intrinsics import project_with_jacobian
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.state import (
    BIAS,
    CENTER,
    CURVE,
    DELTA,
    DEPTH_LENS,
    FOCAL,
    NUM_SHARED,
    POSE,
    RIPPLE,
    State,
    local_slice,
    skew_jacobian,
)
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
PERSON_SIZE_M = (0.8, 2.0, 0.8)  # width, height, depth
TARGET_PARAMETERS = np.r_[POSE, DELTA, DEPTH_LENS]  # those that place a depth pixel of known depth
_MEAN_OF_NORM = 0.921  # E|x| / sqrt(E|x|²) of a round 3D normal distribution
_MAX_LOCAL_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Errors at a placement that the solution did not see.

    Attributes:
        placement: its index.
        target_mm: mean displacement of the object's points by the rigid correction its own observations ask for.
        color_px: root mean square reprojection error of its colour corners; None without any.
    """

    placement: int
    target_mm: float
    color_px: float | None


def person_points(center: Array, up: Array, steps: int = 5) -> Array:
    """(N, 3) grid over a person-sized box that stands on ``center`` (3,), scan frame."""
    up = up / np.linalg.norm(up)
    side = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    side /= np.linalg.norm(side)
    axes = np.stack([side, up, np.cross(side, up)])
    ramp = np.linspace(-0.5, 0.5, steps)
    x, y, z = (axis.ravel() for axis in np.meshgrid(ramp, ramp + 0.5, ramp, indexing="ij"))
    box = np.stack([x, y, z], 1) * np.array(PERSON_SIZE_M)
    return np.asarray(center + box @ axes, dtype=np.float64)


def leave_one_out(problem: Problem, solution: Solution, rest: Mapping[int, State] | None = None) -> list[HeldOut]:
    """Solve without each placement in turn and measure there; ``rest`` are the states solved so, if known already."""
    observations = problem.observations
    answers = []
    for placement in observations.placements:
        index = placement.index
        seen = len(placement.color) + len(placement.ir) + len(solution.depth_points.get(index, ()))
        if len(observations.placements) < 2 or seen == 0:
            continue
        state = solve_without(problem, solution, index) if rest is None else rest[index]
        corrected = corrected_by(problem, solution, state, index)
        answers.append(held_out_at(problem, solution, state, corrected, index))
    return answers


def solve_without(problem: Problem, solution: Solution, index: int) -> State:
    """The state from all placements but one, with the solution's associations, weights and priors."""
    rest = problem.part(problem.observations.without(index))
    return solve(
        rest,
        solution.state,
        rounds=2,
        associated={key: value for key, value in solution.depth_points.items() if key != index},
        sigma=solution.sigma,
        prior_sigma=own_priors(solution, rest, problem),
    ).state


def own_priors(solution: Solution, part: Problem, whole: Problem) -> Array:
    """(P,) the solution's priors for a problem of some of its placements."""
    own = [solution.prior_sigma[local_slice(whole.placements.index(index))] for index in part.placements]
    return np.concatenate([solution.prior_sigma[:NUM_SHARED], *own])


def corrected_by(problem: Problem, solution: Solution, state: State, index: int) -> State:
    """The pose as one placement asks for it, everything else as solved without that placement."""
    alone = problem.part(problem.observations.only(index), free=np.arange(POSE.start, POSE.stop))
    points = {index: solution.depth_points[index]} if index in solution.depth_points else {}
    return solve(
        alone,
        state,
        rounds=2,
        associated=points,
        sigma=solution.sigma,
        prior_sigma=own_priors(solution, alone, problem),
    ).state


def object_points(problem: Problem, index: int) -> Array:
    """(N, 3) some points of the object at a placement, frame scan."""
    vertices = problem.observations.only(index).placements[0].surface.vertices
    return vertices[:: max(1, len(vertices) // _MAX_LOCAL_POINTS)]


def held_out_at(problem: Problem, solution: Solution, state: State, corrected: State, index: int) -> HeldOut:
    """Errors at a placement of a ``state`` solved without it, which the placement itself would have ``corrected``."""
    points = object_points(problem, index)
    moved = corrected.T_color_scan.apply(points) - state.T_color_scan.apply(points)
    color_px = None
    found = solution.block("color", index)
    alone = problem.part(problem.observations.only(index))
    blocks = [block for block in alone.blocks(state, {}) if block.kind == "color"]
    if found is not None and blocks and found[1].any():
        color_px = float(np.sqrt(np.mean(blocks[0].size[found[1]] ** 2)))
    return HeldOut(placement=index, target_mm=float(np.linalg.norm(moved, axis=1).mean() * 1e3), color_px=color_px)


def predicted_pose_mm(solution: Solution, points_scan: Array) -> float:
    """Mean error over points (N, 3) that the covariance of ``T_color_scan`` predicts, millimetres.

    Part of it is undone by the colour centre and focal length solved with it: see ``predicted_color_px``.
    """
    by_step = skew_jacobian(solution.state.T_color_scan.apply(points_scan))
    return float(expected_mm(by_step, solution.covariance[POSE, POSE]).mean())


def predicted_target_mm(solution: Solution, points_scan: Array) -> float:
    """Mean target error over points (N, 3) that the covariance predicts for the depth camera, millimetres."""
    return float(predicted_target_map_mm(solution, points_scan).mean())


def predicted_target_map_mm(solution: Solution, points_scan: Array) -> Array:
    """(N,) expected target error at every point (N, 3), millimetres."""
    return expected_mm(*target_jacobian(solution, points_scan))


def target_jacobian(solution: Solution, points_scan: Array) -> tuple[Array, Array]:
    """(N, 3, K) how a depth pixel of known depth moves with pose, depth-to-colour and depth lens; their covariance."""
    state = solution.state
    points_depth = state.T_depth_scan.apply(points_scan)
    by_step = state.T_depth_color.rotation @ skew_jacobian(state.T_color_scan.apply(points_scan))
    by_lens = np.zeros((len(points_scan), 3, 3))
    by_lens[:, :2, 0] = points_depth[:, :2]  # a pixel's ray with a longer focal length points nearer to the axis
    focal = solution.depth_focal_px
    by_lens[:, 0, 1], by_lens[:, 1, 2] = points_depth[:, 2] / focal[0], points_depth[:, 2] / focal[1]
    index = TARGET_PARAMETERS
    return np.concatenate([by_step, -by_step, by_lens], 2), solution.covariance[np.ix_(index, index)]


def predicted_chain_mm(solution: Solution, points_scan: Array) -> float:
    """Mean error over points (N, 3) that is predicted for depth as the device measures it, millimetres.

    Beside the target error it holds offset, slope and curve of the depth error as solved, and the offset that every
    placement has for itself: a person has one, too. ``T_depth_scan`` and bias share what undoes each other.
    """
    jacobian, _ = target_jacobian(solution, points_scan)
    points_depth = solution.state.T_depth_scan.apply(points_scan)
    z, range_m = points_depth[:, 2], np.linalg.norm(points_depth, axis=1)
    basis, _ = waves(range_m)
    along_z = np.concatenate([np.ones((len(z), 1)), z[:, None], basis * (z / range_m)[:, None]], 1)
    by_bias = (points_depth / z[:, None])[:, :, None] * along_z[:, None, :]
    index = np.r_[POSE, DELTA, DEPTH_LENS, BIAS, CURVE]
    covariance = solution.covariance[np.ix_(index, index)]
    jacobian = np.concatenate([jacobian, by_bias, by_bias[:, :, :1]], 2)
    own = float(solution.prior_sigma[NUM_SHARED + RIPPLE.start]) ** 2 if solution.state.local else 0.0
    covariance = np.block([[covariance, np.zeros((len(index), 1))], [np.zeros((1, len(index))), np.full((1, 1), own)]])
    return float(expected_mm(jacobian, covariance).mean())


def expected_mm(jacobian: Array, covariance: Array) -> Array:
    """(N,) mean length of errors (N, 3, K) of parameters with a covariance (K, K), millimetres."""
    trace = np.einsum("nij,jk,nik->n", jacobian, covariance, jacobian)
    return _MEAN_OF_NORM * np.sqrt(np.maximum(trace, 0.0)) * 1e3


def predicted_color_px(solution: Solution, color: Camera, points_scan: Array) -> float:
    """Mean reprojection error over points (N, 3) that the covariance predicts; ``color`` is the factory's camera."""
    jacobian, covariance = color_jacobian(solution, color, points_scan)
    trace = np.einsum("nij,jk,nik->n", jacobian, covariance, jacobian)
    return float(np.sqrt(np.maximum(trace, 0.0)).mean())


def color_jacobian(solution: Solution, color: Camera, points_scan: Array) -> tuple[Array, Array]:
    """(N, 2, K) how the colour image of points (N, 3) moves with pose, focal length and centre; their covariance.

    Points that are not in front of the camera are left out.
    """
    state = solution.state
    camera = state.color_camera(color)
    points = state.T_color_scan.apply(points_scan)
    points = points[points[:, 2] > 0.1]
    pixels, by_point = project_with_jacobian(camera, points)
    jacobian = np.zeros((len(points), 2, NUM_SHARED))
    jacobian[:, :, POSE] = by_point @ skew_jacobian(points)
    jacobian[:, :, FOCAL.start] = pixels - (camera.cx, camera.cy)
    jacobian[:, 1, FOCAL.start + 1] = jacobian[:, 1, FOCAL.start]
    jacobian[:, 0, CENTER.start] = jacobian[:, 1, CENTER.start + 1] = 1.0
    index = np.r_[POSE, FOCAL, CENTER]
    return jacobian[:, :, index], solution.covariance[np.ix_(index, index)]


def target_error_mm(T_depth_scan: Rigid, truth: Rigid, points_scan: Array) -> Array:
    """(N,) distance between two poses' images of points (N, 3), millimetres: scores a calibration against the truth."""
    return np.linalg.norm(T_depth_scan.apply(points_scan) - truth.apply(points_scan), axis=1) * 1e3


def color_error_px(
    camera: Camera, T_color_scan: Rigid, truth_camera: Camera, truth: Rigid, points_scan: Array
) -> Array:
    """(N,) distance in the colour image between two projections of points (N, 3); NaN outside the image."""
    estimated, expected = (
        camera.project(T_color_scan.apply(points_scan)),
        truth_camera.project(truth.apply(points_scan)),
    )
    inside = (expected > -0.5).all(1) & (expected < (truth_camera.width - 0.5, truth_camera.height - 0.5)).all(1)
    return np.where(inside, np.linalg.norm(estimated - expected, axis=1), np.nan)
