"""All sensors of a rig: those that saw common scans solved together, all judged, and the pairs among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.gates import inlier_fraction
from anim_real.calibrate.joint.evidence import Between, between_sensors, leave_one_scan_out
from anim_real.calibrate.joint.layout import Member, groups_of
from anim_real.calibrate.joint.solve import solve_joint
from anim_real.calibrate.protocol import GatesSpec
from anim_real.calibrate.sensor import FoundSensor, SensorSolution
from anim_real.calibrate.solve.state import State
from anim_real.calibration import BetweenSensors, GateVerdict

Array = NDArray[np.float64]
_SOUND_SHARE = 0.5  # of the corners: most of what a sensor saw fits together
Judge = Callable[[FoundSensor, str, Mapping[int, State] | None], SensorSolution]


@dataclass(frozen=True, kw_only=True, eq=False)
class RigSolution:
    """The judged sensors by id, and every pair that was solved together."""

    sensors: dict[str, SensorSolution]
    between: tuple[Between, ...]
    gates: tuple[GateVerdict, ...]


def solve_together(found: Mapping[str, FoundSensor], judge: Judge, volume_scan: Array, *, is_rig: bool) -> RigSolution:
    """Solve sensors that saw common scans together and judge all.

    A sensor whose own solve did not settle or does not explain its corners stays apart: it would spoil the others.

    Args:
        found: every sensor's own solution, by id.
        judge: collects a sensor's evidence from its solution, the prefix of its gates' names, and the states without
            each placement.
        volume_scan: (N, 3) points of the person-sized volume.
        is_rig: whether the gates' names tell the sensor.
    """
    names = list(found)
    members = [Member(problem=item.problem, solution=item.solution) for item in found.values()]
    judged: dict[str, SensorSolution] = {}
    between: list[Between] = []
    sound = [number for number, item in enumerate(found.values()) if _is_sound(item)]
    groups = [[sound[place] for place in group] for group in groups_of([members[number] for number in sound])]
    for group in [*groups, *([number] for number in range(len(members)) if number not in sound)]:
        own = [members[number] for number in group]
        rest: list[dict[int, State]] | list[None] = [None]
        solutions = [member.solution for member in own]
        if len(group) > 1:
            joint = solve_joint(own)
            rest = leave_one_scan_out(own, joint)
            solutions = list(joint.solutions)
            between += between_sensors(own, joint, rest, volume_scan)
        for number, solution, states in zip(group, solutions, rest, strict=True):
            name = names[number]
            prefix = f"{name}: " if is_rig else ""
            judged[name] = judge(replace(found[name], solution=solution), prefix, states)
    limits = {name: item.problem.protocol.gates for name, item in found.items()}
    return RigSolution(
        sensors={name: judged[name] for name in names},
        between=tuple(between),
        gates=(
            *(gate for name in names for gate in judged[name].gates),
            *(gate for pair in between for gate in _judge_pair(pair, limits[pair.first])),
        ),
    )


def between_record(pair: Between) -> BetweenSensors:
    """What the calibration record keeps of a pair."""
    return BetweenSensors(
        first=pair.first,
        second=pair.second,
        num_scans=pair.num_scans,
        predicted_mm=pair.predicted_mm,
        held_out_mm=pair.mean_held_out_mm,
        covariance=tuple(tuple(float(value) for value in row) for row in pair.covariance),
    )


def _is_sound(found: FoundSensor) -> bool:
    """Whether a sensor's own solve settled and explains most of the corners it saw, if it saw any."""
    has_corners = found.problem.observations.num_corners > 0
    kept = inlier_fraction(found.problem, found.solution) if has_corners else 1.0
    return found.solution.is_converged and kept > _SOUND_SHARE


def _judge_pair(pair: Between, limits: GatesSpec) -> list[GateVerdict]:
    name = f"{pair.first} to {pair.second}"
    verdicts = [
        _most(
            f"{name}: predicted error",
            pair.predicted_mm,
            limits.max_predicted_target_mm,
            "Add placements that both sensors see, spread over the volume",
        )
    ]
    held_out = pair.mean_held_out_mm
    if held_out is not None:
        worst = max(pair.held_out_mm, key=lambda scan: pair.held_out_mm[scan])
        verdicts.append(
            _most(
                f"{name}: held-out error",
                held_out,
                limits.max_held_out_mm,
                f"The sensors see the target at different places, most so in scan {worst} "
                f"({pair.held_out_mm[worst]:.2f} mm): did it move, or do their captures belong to different scans?",
            )
        )
    return verdicts


def _most(name: str, value: float, limit: float, advice: str) -> GateVerdict:
    value = float(f"{value:.4g}")
    return GateVerdict(
        name=name, value=value, limit=float(limit), unit="mm", passed=bool(value <= limit), advice=advice
    )
