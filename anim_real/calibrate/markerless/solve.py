"""A sensor against a scanned object without markers: from nothing to pose and depth bias.

Depth alone is observed. What only corners could show (the colour camera, the transform from depth to colour) keeps the
factory's values, and what the protocol says of the factory's errors goes into the covariance: the colour camera's pose
is as good as the factory is.
"""

from __future__ import annotations

from dataclasses import dataclass

from anim_real.calibrate.markerless.start import GeometryStart, find_geometry_start
from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.protocol import Estimated, ProtocolSpec
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.errors import RefusedError

_OF_FACTORY: tuple[Estimated, ...] = ("depth_to_color", "color_focal", "color_center")
_MIN_PLACEMENTS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometrySolution:
    """The answer with the start it came from.

    Attributes:
        start: the pose found from nothing, with what speaks for it.
        problem: what was solved: the placements at which the object was seen.
        solution: pose and depth bias with their covariance.
    """

    start: GeometryStart
    problem: Problem
    solution: Solution


def geometry_protocol(protocol: ProtocolSpec) -> ProtocolSpec:
    """The same protocol for a target without markers.

    What is not observed is free within its prior, whether the protocol estimates it or not: no residual moves it, so it
    keeps the factory's value, and its prior becomes its covariance and that of the colour camera's pose. Held fixed, it
    would be taken for exact.
    """
    estimate = protocol.solver.estimate
    free = (*estimate, *(name for name in _OF_FACTORY if name not in estimate))
    return protocol.model_copy(update={"solver": protocol.solver.model_copy(update={"estimate": free})})


def solve_geometry(observations: SensorObservations, protocol: ProtocolSpec) -> GeometrySolution:
    """Find the pose and refine it with the depth bias, jointly over all placements.

    Raises:
        RefusedError: as ``find_geometry_start``, or the object was seen at one placement only.
    """
    start = find_geometry_start(observations)
    seen = start.observations.placements
    if len(seen) < _MIN_PLACEMENTS:
        raise RefusedError(
            f"the object was seen at one placement only, of {len(observations.placements)}",
            where=f"sensor {observations.sensor}",
            fix="One placement hides the depth bias in the pose: scan the object at 8 places that span the volume",
        )
    problem = Problem(start.observations, geometry_protocol(protocol))
    return GeometrySolution(start=start, problem=problem, solution=solve(problem, start.state))
