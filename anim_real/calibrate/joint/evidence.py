"""What a joint solve is worth: scans held out of all sensors at once, and the errors from sensor to sensor.

The error between two sensors is the distance (mm) between where their depth cameras put one point of known depth,
over a person-sized volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.evidence import TARGET_PARAMETERS, corrected_by, expected_mm, object_points, target_jacobian
from anim_real.calibrate.joint.layout import Member
from anim_real.calibrate.joint.solve import JointSolution, solve_joint
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.solve.state import POSE, State

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Between:
    """Two sensors of a joint solve.

    Attributes:
        first, second: ids of the sensors.
        num_scans: scans that both saw.
        predicted_mm: mean error between them that the joint covariance predicts.
        separate_mm: the same of the sensors' own solutions, had they nothing in common.
        moved_mm: mean distance by which the joint solve moved them towards or from each other.
        held_out_mm: by scan, how far apart the two see the object in a solution that did not see that scan; none
            without markers.
        covariance: (6, 6) of the errors of the first's ``T_color_scan`` (rows) with those of the second's.
    """

    first: str
    second: str
    num_scans: int
    predicted_mm: float
    separate_mm: float
    moved_mm: float
    held_out_mm: dict[int, float]
    covariance: Array

    @property
    def mean_held_out_mm(self) -> float | None:
        """Over the scans; None where none could be held out."""
        return float(np.mean(list(self.held_out_mm.values()))) if self.held_out_mm else None


def leave_one_scan_out(members: Sequence[Member], joint: JointSolution) -> list[dict[int, State]]:
    """Per sensor, the states by placement of joint solves without that placement's scan, with weights as they are.

    Every sensor must have two placements or more.
    """
    solved = [
        Member(problem=member.problem, solution=solution)
        for member, solution in zip(members, joint.solutions, strict=True)
    ]
    rest: list[dict[int, State]] = [{} for _ in solved]
    for scan in sorted(set().union(*(member.seen() for member in solved))):
        others = [member.without(scan) for member in solved]
        states = [solution.state for solution in solve_joint(others, is_fixed=True).solutions]
        for found, member, state in zip(rest, solved, states, strict=True):
            index = member.placement_of(scan)
            if index is not None:
                found[index] = state
    return rest


def between_sensors(
    members: Sequence[Member], joint: JointSolution, rest: Sequence[dict[int, State]], volume_scan: Array
) -> list[Between]:
    """Evidence on every pair of sensors.

    Args:
        members: the sensors as solved on their own.
        joint: their joint solution.
        rest: states of ``leave_one_scan_out``.
        volume_scan: (N, 3) points of the person-sized volume.
    """
    found = []
    for first, second in combinations(range(len(members)), 2):
        pair = members[first], members[second]
        solutions = joint.solutions[first], joint.solutions[second]
        cross = joint.covariance_between(first, second)
        moved = [
            _moved(member.problem, member.solution.state, solution.state, volume_scan)
            for member, solution in zip(pair, solutions, strict=True)
        ]
        found.append(
            Between(
                first=pair[0].problem.observations.sensor,
                second=pair[1].problem.observations.sensor,
                num_scans=len(pair[0].seen() & pair[1].seen()),
                predicted_mm=predicted_between_mm(solutions, cross, volume_scan),
                separate_mm=predicted_between_mm((pair[0].solution, pair[1].solution), None, volume_scan),
                moved_mm=float(np.nanmean(np.linalg.norm(moved[0] - moved[1], axis=1)) * 1e3),
                held_out_mm=_held_out(pair, solutions, (rest[first], rest[second])),
                covariance=cross[POSE, POSE],
            )
        )
    return found


def predicted_between_mm(pair: tuple[Solution, Solution], cross: Array | None, points_scan: Array) -> float:
    """Mean error between two sensors over points (N, 3); ``cross`` is the covariance of their parameters, if any."""
    return float(expected_mm(*between_jacobian(pair, cross, points_scan)).mean())


def between_jacobian(pair: tuple[Solution, Solution], cross: Array | None, points_scan: Array) -> tuple[Array, Array]:
    """(N, 3, 2K) how a point's place by the first sensor less that by the second moves, in ``scan``; covariance."""
    parts, sigma = [], []
    for sign, solution in zip((1.0, -1.0), pair, strict=True):
        jacobian, covariance = target_jacobian(solution, points_scan)
        parts.append(sign * (solution.state.T_depth_scan.rotation.T @ jacobian))
        sigma.append(covariance)
    size = len(TARGET_PARAMETERS)
    across = np.zeros((size, size)) if cross is None else cross[np.ix_(TARGET_PARAMETERS, TARGET_PARAMETERS)]
    return np.concatenate(parts, 2), np.block([[sigma[0], across], [across.T, sigma[1]]])


def _held_out(
    pair: tuple[Member, Member], solutions: tuple[Solution, Solution], rest: tuple[dict[int, State], dict[int, State]]
) -> dict[int, float]:
    errors: dict[int, float] = {}
    for scan in sorted(pair[0].seen() & pair[1].seen()):
        seen: list[Array] = []
        points: Array | None = None  # the same for both: those of the first's scan
        for member, solution, states in zip(pair, solutions, rest, strict=True):
            index = member.placement_of(scan)
            if index is None or not _has_corners(solution, index):
                continue
            points = object_points(member.problem, index) if points is None else points
            corrected = corrected_by(member.problem, solution, states[index], index)
            seen.append(states[index].T_scan_color.apply(corrected.T_color_scan.apply(points)))
        if len(seen) == len(pair):
            errors[scan] = float(np.linalg.norm(seen[0] - seen[1], axis=1).mean() * 1e3)
    return errors


def _has_corners(solution: Solution, index: int) -> bool:
    """Whether a placement fixes a pose of its own."""
    return solution.block("color", index) is not None or solution.block("ir", index) is not None


def _moved(problem: Problem, before: State, after: State, volume_scan: Array) -> Array:
    """(N, 3) how far depth pixels of known depth move in ``scan``: those that one state puts on points (N, 3).

    NaN where the depth camera's lens has no answer.
    """
    factory = problem.observations.depth
    points = before.T_depth_scan.apply(volume_scan)
    rays = after.depth_camera(factory).normalize(before.depth_camera(factory).project(points))
    placed = np.concatenate([rays, np.ones((len(rays), 1))], 1) * points[:, 2:]
    return after.T_depth_scan.inverse().apply(placed) - volume_scan
