"""What a solution is worth: placements held out, errors that the covariance predicts, how well the volume is covered.

"Target error" is the distance (mm) between where the sensor's depth camera puts a point of the scan and where
it belongs; "px" is the colour image's. Both are taken over a person-sized volume, 0.8 x 2.0 x 0.8 m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.intrinsics import project_with_jacobian
from anim_real.calibrate.problem import Problem
from anim_real.calibrate.solver import Solution, solve
from anim_real.calibrate.state import CENTER, DELTA, FOCAL, POSE, State, skew_jacobian
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
PERSON_SIZE_M = (0.8, 2.0, 0.8)  # width, height, depth
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


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How the placements fill the volume; metres in the colour camera's axes.

    Attributes:
        depth_spread_m: range of the placements' centres along z.
        lateral_spread_m: range along x.
        height_span_m: range of all observed corners along y.
        num_placements: placements with observations.
        num_color_corners: colour corners kept.
    """

    depth_spread_m: float
    lateral_spread_m: float
    height_span_m: float
    num_placements: int
    num_color_corners: int


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


def leave_one_out(problem: Problem, solution: Solution) -> list[HeldOut]:
    """Solve without each placement in turn and measure there."""
    observations = problem.observations
    answers = []
    for placement in observations.placements:
        index = placement.index
        seen = len(placement.color) + len(placement.ir) + len(solution.depth_points.get(index, ()))
        if len(observations.placements) < 2 or seen == 0:
            continue
        points = {key: value for key, value in solution.depth_points.items() if key != index}
        rest = solve(
            problem.part(observations.without(index)), solution.state, rounds=2, associated=points, sigma=solution.sigma
        )
        answers.append(_measure(problem, solution, rest.state, index))
    return answers


def _measure(problem: Problem, solution: Solution, state: State, index: int) -> HeldOut:
    """Correction of the pose that one placement asks for, everything else as solved without it."""
    alone = problem.part(problem.observations.only(index), free=np.arange(POSE.start, POSE.stop))
    points = {index: solution.depth_points[index]} if index in solution.depth_points else {}
    corrected = solve(alone, state, rounds=2, associated=points, sigma=solution.sigma).state
    vertices = problem.observations.only(index).placements[0].surface.vertices
    step = max(1, len(vertices) // _MAX_LOCAL_POINTS)
    moved = corrected.T_color_scan.apply(vertices[::step]) - state.T_color_scan.apply(vertices[::step])
    color_px = None
    found = solution.block("color", index)
    blocks = [block for block in alone.blocks(state, {}) if block.kind == "color"]
    if found is not None and blocks and found[1].any():
        color_px = float(np.sqrt(np.mean(blocks[0].size[found[1]] ** 2)))
    return HeldOut(placement=index, target_mm=float(np.linalg.norm(moved, axis=1).mean() * 1e3), color_px=color_px)


def predicted_pose_mm(solution: Solution, points_scan: Array) -> float:
    """Mean error over points (N, 3) that the covariance of ``T_color_scan`` predicts, millimetres.

    Part of it is undone by the colour centre and focal length solved with it: see ``predicted_color_px``.
    """
    by_step = skew_jacobian(solution.state.T_color_scan.apply(points_scan))
    return _mean_error_mm(by_step, solution.covariance[POSE, POSE])


def predicted_target_mm(solution: Solution, points_scan: Array) -> float:
    """Mean target error over points (N, 3) that the covariance predicts for the depth camera, millimetres."""
    by_step = skew_jacobian(solution.state.T_color_scan.apply(points_scan))
    pose = np.concatenate([by_step, -by_step], 2)  # a depth camera's pose is the colour's less the step between them
    index = np.r_[POSE, DELTA]
    return _mean_error_mm(pose, solution.covariance[np.ix_(index, index)])


def _mean_error_mm(jacobian: Array, covariance: Array) -> float:
    trace = np.einsum("nij,jk,nik->n", jacobian, covariance, jacobian)
    return float(_MEAN_OF_NORM * np.sqrt(np.maximum(trace, 0.0)).mean() * 1e3)


def predicted_color_px(solution: Solution, color: Camera, points_scan: Array) -> float:
    """Mean reprojection error over points (N, 3) that the covariance predicts; ``color`` is the factory's camera."""
    state = solution.state
    camera = state.color_camera(color)
    points = state.T_color_scan.apply(points_scan)
    points = points[points[:, 2] > 0.1]
    pixels, by_point = project_with_jacobian(camera, points)
    jacobian = np.zeros((len(points), 2, len(solution.covariance)))
    jacobian[:, :, POSE] = by_point @ skew_jacobian(points)
    jacobian[:, :, FOCAL.start] = pixels - (camera.cx, camera.cy)
    jacobian[:, 1, FOCAL.start + 1] = jacobian[:, 1, FOCAL.start]
    jacobian[:, 0, CENTER.start] = jacobian[:, 1, CENTER.start + 1] = 1.0
    trace = np.einsum("nij,jk,nik->n", jacobian, solution.covariance, jacobian)
    return float(np.sqrt(np.maximum(trace, 0.0)).mean())


def coverage(problem: Problem, solution: Solution) -> Coverage:
    """Where the target stood, as far as observations were kept."""
    centers, corners, num_corners = [], [], 0
    for placement in problem.observations.placements:
        found = solution.block("color", placement.index) or solution.block("ir", placement.index)
        if found is None or not found[1].any():
            continue
        pairs = placement.color if found[0].kind == "color" else placement.ir
        points = solution.state.T_color_scan.apply(pairs.points_scan[found[1]])
        corners.append(points)
        centers.append(points.mean(0))
        num_corners += int(found[1].sum()) if found[0].kind == "color" else 0
    if not centers:
        return Coverage(
            depth_spread_m=0.0, lateral_spread_m=0.0, height_span_m=0.0, num_placements=0, num_color_corners=0
        )
    ranges, spans = np.ptp(np.array(centers), axis=0), np.ptp(np.concatenate(corners), axis=0)
    return Coverage(
        depth_spread_m=float(ranges[2]),
        lateral_spread_m=float(ranges[0]),
        height_span_m=float(spans[1]),
        num_placements=len(centers),
        num_color_corners=num_corners,
    )


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
