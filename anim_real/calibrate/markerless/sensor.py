"""One sensor against a scanned object without markers, from observations to a judged solution.

The colour camera is not observed: it and the transform from depth to colour stay the factory's, and what the protocol
expects of the factory's errors is part of what is predicted of colour.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.evidence import person_points, predicted_color_px, predicted_pose_mm, predicted_target_map_mm
from anim_real.calibrate.markerless.gates import geometry_coverage, held_out_depth_mm, judge_geometry
from anim_real.calibrate.markerless.solve import solve_geometry
from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.calibrate.sensor import FoundSensor, SensorSolution
from anim_real.calibrate.solve.state import State

Array = NDArray[np.float64]


def solve_geometry_sensor(
    observations: SensorObservations,
    protocol: ProtocolSpec,
    *,
    floor_center: Array,
    up: Array,
    gate_prefix: str = "",
) -> SensorSolution:
    """Solve and judge: arguments and errors as of ``find_geometry_sensor`` and ``judge_geometry_sensor``."""
    found = find_geometry_sensor(observations, protocol)
    return judge_geometry_sensor(found, floor_center=floor_center, up=up, gate_prefix=gate_prefix)


def find_geometry_sensor(observations: SensorObservations, protocol: ProtocolSpec) -> FoundSensor:
    """Solve a sensor from depth and scans alone; corners are not looked at.

    Raises:
        RefusedError: as ``solve_geometry``: nothing fits, several poses do, or one placement only.
    """
    solved = solve_geometry(observations, protocol)
    return FoundSensor(problem=solved.problem, solution=solved.solution, start=solved.start.state, num_starts=1)


def judge_geometry_sensor(
    found: FoundSensor,
    *,
    floor_center: Array,
    up: Array,
    gate_prefix: str = "",
    rest: Mapping[int, State] | None = None,
) -> SensorSolution:
    """Collect the evidence of a solution without markers and judge it.

    One placement's partial view does not fix a pose of its own, so what is held out is measured along depth.

    Args:
        found: the solution.
        floor_center: (3,) point of the scan frame on which the person-sized volume stands.
        up: (3,) upward direction in the scan frame.
        gate_prefix: put before the gates' names where a rig has several sensors.
        rest: states solved without each placement, by its index, where known already.
    """
    problem, solution = found.problem, found.solution
    points = person_points(floor_center, up)
    held_out = held_out_depth_mm(problem, solution, rest)
    target_map = predicted_target_map_mm(solution, points)
    bootstrap = bootstrap_check(problem, solution, points, np.random.default_rng(0))
    return SensorSolution(
        problem=problem,
        solution=solution,
        held_out=[],
        held_out_depth_mm=held_out,
        coverage=geometry_coverage(solution, points),
        predicted_pose_mm=predicted_pose_mm(solution, points),
        predicted_target_mm=float(target_map.mean()),
        predicted_px=predicted_color_px(solution, problem.observations.color, points),
        start=found.start,
        volume_scan=points,
        target_map_mm=target_map,
        bootstrap=bootstrap,
        gates=judge_geometry(problem, solution, points, bootstrap=bootstrap, held_out=held_out, prefix=gate_prefix),
        num_starts=found.num_starts,
    )
