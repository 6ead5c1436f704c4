"""Is the covariance of a calibration without markers honest? Takes from near the true pose on, errors with predictions.

Used by ``markerless.py --coverage``. Another device for every take: both cameras and the transform between them differ
from the factory's by as much as the default protocol expects; the scanner bends space, and depth errs in more ways than
the estimator models. Errors are those over a person-sized volume.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.evidence import (
    person_points,
    predicted_color_px,
    predicted_pose_mm,
    predicted_target_mm,
    target_jacobian,
)
from anim_real.calibrate.markerless.gates import judge_geometry
from anim_real.calibrate.markerless.solve import geometry_protocol
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.state import CENTER, FOCAL, POSE, State
from anim_real.geometry.frames import Rigid
from tests.calibrate.geometry_world import REAL_ERRORS, GeometryWorld, lumpy_object, make_world

Array = NDArray[np.float64]
LEVEL = 0.95
_START = Rigid.from_rotvec("depth", "depth", [0.001, -0.001, 0.001], [0.004, -0.004, 0.006])  # what the search leaves
_COLOR = np.r_[POSE, FOCAL, CENTER]


def coverage_trials(first: int, trials: int, placements: int) -> list[dict[str, Any]]:
    """One row per take: errors, what was predicted, and whether the 95 % regions hold the truth."""
    rows = []
    for seed in range(first, first + trials):
        world = make_world(seed, lumpy_object(np.random.default_rng(seed)), num=placements, errors=REAL_ERRORS)
        rows.append({"seed": seed} | coverage_trial(world))
        print("  " + "  ".join(f"{key} {_text(value)}" for key, value in rows[-1].items()), flush=True)
    return rows


def coverage_trial(world: GeometryWorld) -> dict[str, Any]:
    """Solve one take from near the truth and compare errors with predictions."""
    observations = world.observations
    factory = observations.T_color_depth
    problem = Problem(observations, geometry_protocol(load_protocol("default")[0]))
    solution = solve(problem, State.factory(factory @ _START @ world.T_depth_scan, factory))
    T_scan_volume = world.T_depth_scan.inverse() @ world.T_depth_volume
    points = person_points(T_scan_volume.translation, T_scan_volume.rotate(np.array([0.0, -1.0, 0.0])))
    check = bootstrap_check(problem, solution, points, np.random.default_rng(0))
    assert check is not None
    gates = judge_geometry(problem, solution, points, bootstrap=check)
    color_error, color_covariance = _color_error(world, solution)
    return {
        "target_mm": float(np.linalg.norm(target_error(world, solution.state, points), axis=1).mean() * 1e3),
        "predicted_mm": predicted_target_mm(solution, points),
        "target_held": _target_squared(world, solution, points) < chi2.ppf(LEVEL, 6),
        "px": _color_px(world, solution.state, points),
        "predicted_px": predicted_color_px(solution, observations.color, points),
        "color_mm": _color_mm(world, solution.state, points),
        "predicted_color_mm": predicted_pose_mm(solution, points),
        "color_held": float(color_error @ np.linalg.solve(color_covariance, color_error)) < chi2.ppf(LEVEL, 10),
        "bootstrap": check.ratio,
        "failed": ", ".join(gate.name for gate in gates if not gate.passed),
    }


def target_error(world: GeometryWorld, state: State, points_scan: Array) -> Array:
    """(N, 3) where the solved camera puts true pixels of known depth, less where they belong; axes of depth, metres."""
    points_depth = world.T_depth_scan.apply(points_scan)
    rays = state.depth_camera(world.observations.depth).normalize(world.depth.project(points_depth))
    placed = np.concatenate([rays, np.ones((len(rays), 1))], 1) * points_depth[:, 2:]
    return state.T_depth_scan.rotate(state.T_depth_scan.inverse().apply(placed) - points_scan)


def _target_squared(world: GeometryWorld, solution: Solution, points: Array) -> float:
    """Squared length of the error at three points in standard deviations, over the six widest directions."""
    chosen = points[[0, len(points) // 2, -1]]
    jacobian, covariance = target_jacobian(solution, chosen)
    rows = jacobian.reshape(-1, jacobian.shape[2])
    values, axes = np.linalg.eigh(rows @ covariance @ rows.T)
    return float(np.sum((axes[:, -6:].T @ target_error(world, solution.state, chosen).ravel()) ** 2 / values[-6:]))


def _color_error(world: GeometryWorld, solution: Solution) -> tuple[Array, Array]:
    """(10,) pose, focal length and centre of the colour camera, true less found, and their covariance."""
    state, factory = solution.state, world.observations.color
    step = world.T_color_depth @ world.T_depth_scan @ state.T_color_scan.inverse()
    focal = np.array([world.color.fx / factory.fx - 1.0, world.color.fy / factory.fy - world.color.fx / factory.fx])
    center = np.array([world.color.cx - factory.cx, world.color.cy - factory.cy])
    error = np.r_[step.rotvec, step.translation, focal - state.relative_focal, center - state.center_px]
    return error, solution.covariance[np.ix_(_COLOR, _COLOR)]


def _color_px(world: GeometryWorld, state: State, points: Array) -> float:
    found = state.color_camera(world.observations.color).project(state.T_color_scan.apply(points))
    true = world.color.project((world.T_color_depth @ world.T_depth_scan).apply(points))
    return float(np.linalg.norm(found - true, axis=1).mean())


def _color_mm(world: GeometryWorld, state: State, points: Array) -> float:
    true = (world.T_color_depth @ world.T_depth_scan).apply(points)
    return float(np.linalg.norm(state.T_color_scan.apply(points) - true, axis=1).mean() * 1e3)


def summarize_coverage(rows: list[dict[str, Any]]) -> None:
    """Print errors beside predictions, and how often the truth was held."""
    num = len(rows)

    def column(key: str) -> Array:
        return np.array([row[key] for row in rows], float)

    for error, predicted in (("target_mm", "predicted_mm"), ("px", "predicted_px"), ("color_mm", "predicted_color_mm")):
        found, told = column(error), column(predicted)
        print(
            f"{error:10} mean {found.mean():.3f}, p95 {np.percentile(found, 95):.3f}, max {found.max():.3f}; predicted "
            f"{told.mean():.3f}; root mean square of error over prediction {np.sqrt(np.mean((found / told) ** 2)):.2f}"
        )
    for key, name in (("target_held", "target error"), ("color_held", "colour camera")):
        share = column(key).mean()
        spread = np.sqrt(share * (1 - share) / num)
        print(f"the {LEVEL:.0%} region of the {name} holds the truth in {share:.1%} ± {spread:.1%} of {num} takes")
    ratio = column("bootstrap")
    print(f"bootstrap over covariance: median {np.median(ratio):.2f}, p95 {np.percentile(ratio, 95):.2f}")
    failed = Counter(row["failed"] for row in rows if row["failed"])
    print(f"accepted by every gate: {num - sum(failed.values())} of {num}; refused by {dict(failed)}")


def _text(value: float | bool | str) -> str:
    return value or "-" if isinstance(value, str) else f"{value:.3g}"
