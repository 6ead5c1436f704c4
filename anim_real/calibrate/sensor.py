"""One sensor from observations to its calibration record: starts, joint solve, evidence, gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.target import Target
from anim_real.calibrate.bootstrap import BootstrapCheck, bootstrap_check
from anim_real.calibrate.common_frame import check_common_frame
from anim_real.calibrate.coverage import Coverage, coverage
from anim_real.calibrate.evidence import (
    HeldOut,
    leave_one_out,
    person_points,
    predicted_color_px,
    predicted_pose_mm,
    predicted_target_map_mm,
)
from anim_real.calibrate.gates import judge, protocol_advice
from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.calibrate.sanity import check_scan_scale
from anim_real.calibrate.solve.depth_bias import DepthPoints
from anim_real.calibrate.solve.depth_curve import knots
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import CURVE, POSE, State
from anim_real.calibrate.spheres.evidence import sphere_record
from anim_real.calibrate.spheres.observe import observe_spheres
from anim_real.calibration import (
    CameraModel,
    ClockMap,
    DepthBias,
    GateVerdict,
    PlacementResidual,
    RigidModel,
    SensorCalibration,
)
from anim_real.errors import RefusedError

Array = NDArray[np.float64]
_NUM_STARTS = 3
_DISTINCT_M = 0.02  # starts nearer than this over the volume lead to the same answer


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundSensor:
    """A solved sensor before its evidence.

    Attributes:
        problem: what was solved.
        solution: the answer.
        start: the factory's cameras at the best pose that one image's corners give: what was before.
        num_starts: starts solved in full: those that do not fall into an answer found before.
    """

    problem: Problem
    solution: Solution
    start: State
    num_starts: int


@dataclass(frozen=True, kw_only=True, eq=False)
class SensorSolution:
    """A solved sensor with all its evidence.

    Attributes:
        problem: what was solved.
        solution: the answer.
        held_out: leave-one-placement-out errors; none without markers.
        held_out_depth_mm: without markers, the depth error at each placement of a solution that did not see it.
        coverage: how the volume was filled.
        predicted_pose_mm, predicted_target_mm, predicted_px: mean errors over a person that the covariance predicts:
            pose of the colour camera alone, depth camera, colour image.
        start: the factory's cameras at the best pose that one image's corners give: what was before.
        volume_scan, target_map_mm: (N, 3) points of the person-sized volume and (N,) the target error expected there.
        bootstrap: what a bootstrap over the placements makes of the covariance; None with fewer than three.
        gates: verdicts.
        num_starts: starts solved in full: those that do not fall into an answer found before.
    """

    problem: Problem
    solution: Solution
    held_out: list[HeldOut]
    coverage: Coverage
    predicted_pose_mm: float
    predicted_target_mm: float
    predicted_px: float
    start: State
    volume_scan: Array
    target_map_mm: Array
    bootstrap: BootstrapCheck | None
    gates: tuple[GateVerdict, ...]
    num_starts: int
    held_out_depth_mm: dict[int, float] = field(default_factory=dict)

    @property
    def color_is_factory(self) -> bool:
        """Whether nothing of the colour camera was observed: it and ``T_color_depth`` are the factory's."""
        return self.problem.observations.num_corners == 0


def solve_sensor(
    observations: SensorObservations,
    target: Target,
    protocol: ProtocolSpec,
    *,
    floor_center: Array,
    up: Array,
    gate_prefix: str = "",
    associated: dict[int, DepthPoints] | None = None,
) -> SensorSolution:
    """Solve a sensor on its own and judge it; arguments and errors as of ``find_sensor`` and ``judge_sensor``."""
    found = find_sensor(observations, target, protocol, floor_center=floor_center, up=up, associated=associated)
    return judge_sensor(found, floor_center=floor_center, up=up, gate_prefix=gate_prefix)


def find_sensor(
    observations: SensorObservations,
    target: Target,
    protocol: ProtocolSpec,
    *,
    floor_center: Array,
    up: Array,
    associated: dict[int, DepthPoints] | None = None,
) -> FoundSensor:
    """Solve a sensor by its corners and depth.

    Args:
        observations: what was seen.
        target: the target, for checks of size and handedness.
        protocol: solver and priors.
        floor_center: (3,) point of the scan frame on which the person-sized volume stands.
        up: (3,) upward direction in the scan frame.
        associated: depth pixels on the object per placement, when known already.

    Raises:
        RefusedError: scans in a wrong unit, mirrored or each in its own frame, or only one placement was seen.
        DataError: too few corners to find a first pose.
    """
    _check_scans(observations, target, protocol)
    seen = sum(
        len(placement.color) + len(placement.ir) + len(placement.scan_spheres) > 0
        for placement in observations.placements
    )
    if seen < 2:
        raise RefusedError(
            f"the target was seen at {'one placement only' if seen else 'no placement'}",
            where=f"sensor {observations.sensor}",
            fix=f"One placement hides the depth bias in the pose. {protocol_advice(protocol)}",
        )
    check_common_frame(observations)
    starts = start_states(observations)
    problem = Problem(observations, protocol)
    problem = problem.part(observe_spheres(observations, starts[0].T_depth_scan, problem.depth_rays))
    solutions = _solutions(problem, starts, person_points(floor_center, up), associated)
    return FoundSensor(
        problem=problem, solution=max(solutions, key=_support), start=starts[0], num_starts=len(solutions)
    )


def judge_sensor(
    found: FoundSensor,
    *,
    floor_center: Array,
    up: Array,
    gate_prefix: str = "",
    rest: Mapping[int, State] | None = None,
) -> SensorSolution:
    """Collect the evidence of a solution and judge it.

    Args:
        found: the solution.
        floor_center: (3,) point of the scan frame on which the person-sized volume stands.
        up: (3,) upward direction in the scan frame.
        gate_prefix: put before the gates' names where a rig has several sensors.
        rest: states solved without each placement, by its index, where known already.
    """
    problem, solution = found.problem, found.solution
    points = person_points(floor_center, up)
    held_out = leave_one_out(problem, solution, rest)
    covered = coverage(problem, solution, points)
    target_map = predicted_target_map_mm(solution, points)
    predicted = float(target_map.mean())
    bootstrap = bootstrap_check(problem, solution, points, np.random.default_rng(0))
    return SensorSolution(
        problem=problem,
        solution=solution,
        held_out=held_out,
        coverage=covered,
        predicted_pose_mm=predicted_pose_mm(solution, points),
        predicted_target_mm=predicted,
        predicted_px=predicted_color_px(solution, problem.observations.color, points),
        start=found.start,
        volume_scan=points,
        target_map_mm=target_map,
        bootstrap=bootstrap,
        gates=judge(problem, solution, covered, held_out, predicted, bootstrap, prefix=gate_prefix),
        num_starts=found.num_starts,
    )


def sensor_calibration(
    solved: SensorSolution, *, serial: str | None, color_mode: str, depth_mode: str, clock: ClockMap | None
) -> SensorCalibration:
    """Put a solution into the calibration record."""
    state, observations = solved.solution.state, solved.problem.observations
    held = {item.placement: item for item in solved.held_out}
    covariance = solved.solution.covariance[POSE, POSE]
    return SensorCalibration(
        sensor=observations.sensor,
        serial=serial,
        color=CameraModel.of(state.color_camera(observations.color), color_mode),
        depth=CameraModel.of(state.depth_camera(observations.depth), depth_mode),
        T_color_depth=RigidModel.of(state.T_color_depth),
        T_color_scan=RigidModel.of(state.T_color_scan),
        covariance=tuple(tuple(float(value) for value in row) for row in covariance),
        depth_bias=recorded_bias(solved.solution),
        clock=clock,
        placements=tuple(
            _placement_residual(solved, placement.index, held.get(placement.index))
            for placement in observations.placements
        ),
        predicted_person_mm=solved.predicted_pose_mm,
        predicted_target_mm=solved.predicted_target_mm,
        predicted_person_px=solved.predicted_px,
        color_is_factory=solved.color_is_factory,
    )


def recorded_bias(solution: Solution) -> DepthBias:
    """The depth error as solved, for the record."""
    state = solution.state
    curve = knots(state.curve, solution.covariance[CURVE, CURVE], solution.prior_sigma[CURVE])
    return DepthBias(offset_m=state.offset_m, slope=state.slope, curve=curve)


def _placement_residual(solved: SensorSolution, index: int, held: HeldOut | None) -> PlacementResidual:
    solution = solved.solution
    placement = solved.problem.observations.only(index).placements[0]
    depth_rms = solution.rms("depth", index)
    points = solution.depth_points.get(index)
    return PlacementResidual(
        placement=index,
        scan_frame=placement.scan_frame,
        num_color_corners=len(placement.color),
        num_ir_corners=len(placement.ir),
        num_depth_points=0 if points is None else len(points),
        color_rms_px=solution.rms("color", index),
        ir_rms_px=solution.rms("ir", index),
        depth_rms_mm=None if depth_rms is None else depth_rms * 1e3,
        held_out_target_mm=None if held is None else held.target_mm,
        held_out_color_px=None if held is None else held.color_px,
        held_out_depth_mm=solved.held_out_depth_mm.get(index),
        spheres=sphere_record(solved.problem, solution, index),
    )


def _check_scans(observations: SensorObservations, target: Target, protocol: ProtocolSpec) -> None:
    for placement in observations.placements:
        pairs = placement.color if len(placement.color) >= len(placement.ir) else placement.ir
        check_scan_scale(
            target,
            pairs.ids,
            pairs.points_scan,
            max_percent=protocol.gates.max_scale_error_percent,
            where=f"placement {placement.index} (scan frame {placement.scan_frame})",
        )


def _solutions(
    problem: Problem, starts: list[State], points: Array, associated: dict[int, DepthPoints] | None
) -> list[Solution]:
    """Answers from the best start and from those whose corners alone lead elsewhere, ``_NUM_STARTS`` at most."""
    answers: list[Solution] = []
    seen: list[Array] = []
    for state in starts:
        image = state.T_color_scan.apply(points)
        if answers:
            if _is_known(image, seen):
                continue
            image = solve(problem, state, rounds=2, associated={}).state.T_color_scan.apply(points)
        if not _is_known(image, seen):
            answers.append(solve(problem, state, associated=associated))
            seen.append(answers[-1].state.T_color_scan.apply(points))
        seen.append(image)
        if len(answers) == _NUM_STARTS:
            break
    return answers


def _is_known(image: Array, seen: list[Array]) -> bool:
    return any(np.linalg.norm(other - image, axis=1).max() < _DISTINCT_M for other in seen)


def _support(solution: Solution) -> float:
    """How many corners a solution explains; of equals, the one with the smaller spread."""
    kept = sum(
        float(inliers.sum())
        for block, inliers in zip(solution.blocks, solution.inliers, strict=True)
        if block.kind in ("color", "ir")
    )
    return kept - solution.sigma["color"] - 1e3 * solution.sigma["depth"]
