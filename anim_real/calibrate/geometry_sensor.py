"""One sensor against a scanned object without markers, from observations to a judged solution.

The colour camera is not observed: its lens and the transform from depth to colour stay the factory's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.evidence import person_points, predicted_color_px, predicted_pose_mm, predicted_target_map_mm
from anim_real.calibrate.geometry_gates import geometry_coverage, held_out_depth_mm, judge_geometry
from anim_real.calibrate.geometry_solve import solve_geometry
from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.calibrate.sensor import SensorSolution

Array = NDArray[np.float64]


def solve_geometry_sensor(
    observations: SensorObservations,
    protocol: ProtocolSpec,
    *,
    floor_center: Array,
    up: Array,
    gate_prefix: str = "",
) -> SensorSolution:
    """Solve a sensor from depth and scans alone and judge the result.

    One placement's partial view does not fix a pose of its own, so what is held out is measured along depth.

    Args:
        observations: what was seen; corners are not looked at.
        protocol: solver, priors, gates.
        floor_center: (3,) point of the scan frame on which the person-sized volume stands.
        up: (3,) upward direction in the scan frame.
        gate_prefix: put before the gates' names where a rig has several sensors.

    Raises:
        RefusedError: as ``solve_geometry``: nothing fits, several poses do, or one placement only.
    """
    solved = solve_geometry(observations, protocol)
    problem, solution = solved.problem, solved.solution
    points = person_points(floor_center, up)
    held_out = held_out_depth_mm(problem, solution)
    target_map = predicted_target_map_mm(solution, points)
    return SensorSolution(
        problem=problem,
        solution=solution,
        held_out=[],
        held_out_depth_mm=held_out,
        coverage=geometry_coverage(solution, points),
        predicted_pose_mm=predicted_pose_mm(solution, points),
        predicted_target_mm=float(target_map.mean()),
        predicted_px=predicted_color_px(solution, observations.color, points),
        start=solved.start.state,
        volume_scan=points,
        target_map_mm=target_map,
        bootstrap=bootstrap_check(problem, solution, points, np.random.default_rng(0)),
        gates=judge_geometry(problem, solution, points, held_out=held_out, prefix=gate_prefix),
        num_starts=1,
    )
