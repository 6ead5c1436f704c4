"""Whether a solution without markers is good enough: spread of the placements, held-out depth, predicted error.

The limits are those of the protocol; what is told from corners there is told from depth pixels here. Metres; frames
``depth`` and ``scan``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anim_real.calibrate.bootstrap import BootstrapCheck
from anim_real.calibrate.coverage import NEAR_M, Coverage, extents
from anim_real.calibrate.evidence import predicted_target_mm, solve_without
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.solve.state import State
from anim_real.calibration import GateVerdict

Array = NDArray[np.float64]
_MIN_POINTS = 100  # depth pixels of a placement that counts


def judge_geometry(
    problem: Problem,
    solution: Solution,
    volume_scan: Array,
    *,
    bootstrap: BootstrapCheck | None,
    held_out: dict[int, float] | None = None,
    prefix: str = "",
) -> tuple[GateVerdict, ...]:
    """Hold a solution without markers against its protocol; every gate is listed, passed or not.

    Args:
        problem: what was solved.
        solution: the answer.
        volume_scan: (N, 3) points that fill the volume.
        bootstrap: its check over the placements; None where there were too few, which does not pass.
        held_out: that of ``held_out_depth_mm`` where it is known already.
        prefix: put before the names where a rig has several sensors.
    """
    limits = problem.protocol.gates
    covered = geometry_coverage(solution, volume_scan)
    rms = solution.rms("depth")
    held_out = held_out_depth_mm(problem, solution) if held_out is None else held_out
    worst = max(held_out, key=lambda key: held_out[key], default=None)
    mean = float(np.mean(list(held_out.values()))) if held_out else None
    told = "" if worst is None else f"; the worst is placement {worst} ({held_out[worst]:.2f} mm)"
    return (
        _least(
            prefix + "placements", covered.num_placements, limits.min_placements, "", "Scan the object at more places"
        ),
        _least(
            prefix + "spread in depth",
            covered.depth_spread_m,
            limits.min_depth_spread_m,
            "m",
            "Add placements near and far",
        ),
        _least(
            prefix + "spread sideways",
            covered.lateral_spread_m,
            limits.min_lateral_spread_m,
            "m",
            "Add placements left and right",
        ),
        _least(
            prefix + "span in height",
            covered.height_span_m,
            limits.min_height_span_m,
            "m",
            "Add placements low and high",
        ),
        _most(
            prefix + "depth residual",
            None if rms is None else 1e3 * rms,
            limits.max_depth_rms_mm,
            "Check that the object was scanned where the sensor saw it, and that it is matt",
        ),
        _most(prefix + "held-out depth error", mean, limits.max_held_out_mm, "Placements disagree" + told),
        _most(
            prefix + "predicted target error",
            predicted_target_mm(solution, volume_scan),
            limits.max_predicted_target_mm,
            "Use a larger object, or more placements that span the volume",
        ),
        _most(
            prefix + "bootstrap over covariance",
            None if bootstrap is None else bootstrap.ratio,
            limits.max_bootstrap_ratio,
            "Placements differ by more than the noise explains" + told,
            unit="",
        ),
    )


def geometry_coverage(solution: Solution, volume_scan: Array) -> Coverage:
    """Where the object stood, from the depth pixels on it, in the depth camera's axes; without any corner."""
    seen = {key: points for key, points in solution.depth_points.items() if len(points) >= _MIN_POINTS}
    if not seen:
        return Coverage.empty()
    pose = solution.state.T_depth_scan
    everything = np.concatenate([points.anchors_scan for points in seen.values()])
    centers = {key: pose.apply(points.anchors_scan).mean(0) for key, points in seen.items()}
    spread = np.ptp(list(centers.values()), axis=0)
    distance, _ = cKDTree(everything).query(volume_scan)
    return Coverage(
        depth_spread_m=float(spread[2]),
        lateral_spread_m=float(spread[0]),
        height_span_m=float(np.ptp(pose.apply(everything)[:, 1])),
        off_plane_m=float(extents(everything)[0][2]),
        volume_share=float((distance < NEAR_M).mean()),
        num_placements=len(seen),
        num_color_corners=0,
        depth_m={key: float(center[2]) for key, center in centers.items()},
    )


def held_out_depth_mm(
    problem: Problem, solution: Solution, rest: Mapping[int, State] | None = None
) -> dict[int, float]:
    """By placement the median depth error (mm) on its object of a solution that did not see it.

    ``rest`` are the states solved without each placement, if known already.
    """
    errors: dict[int, float] = {}
    if len(problem.placements) < 2:
        return errors
    for index, points in solution.depth_points.items():
        if len(points) < _MIN_POINTS:
            continue
        state = solve_without(problem, solution, index) if rest is None else rest[index]
        block = problem.part(problem.observations.only(index)).blocks(state, {index: points})[0]
        errors[index] = float(np.median(block.size) * 1e3)
    return errors


def _least(name: str, value: float, limit: float, unit: str, advice: str) -> GateVerdict:
    return GateVerdict(
        name=name, value=value, limit=float(limit), unit=unit, passed=bool(value >= limit), advice=advice
    )


def _most(name: str, value: float | None, limit: float, advice: str, unit: str = "mm") -> GateVerdict:
    """A number that could not be measured does not pass."""
    passed = value is not None and value <= limit
    return GateVerdict(name=name, value=value, limit=float(limit), unit=unit, passed=passed, advice=advice)
