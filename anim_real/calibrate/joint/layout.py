"""Sensors of a joint solve, which scans they share, and where every sensor's parameters stand among all.

A sensor's wobble of a placement (``calibrate.state``) is a fact of the scan: jointly every scan has one, about one
centre, and every sensor that saw the scan reads it about its own. All parameters of all sensors stand in one vector:
every sensor's own, then the scans'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.scan_bend import bend_precision
from anim_real.calibrate.solve.solver import RIPPLE_GROUPS, Solution
from anim_real.calibrate.solve.state import WOBBLE, local_slice

Array = NDArray[np.float64]
WOBBLE_SIZE = WOBBLE.stop - WOBBLE.start


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One sensor: its problem and what was solved of it."""

    problem: Problem
    solution: Solution

    def scan_of(self) -> dict[int, int]:
        """Frame of the scan by placement."""
        return {placement.index: placement.scan_frame for placement in self.problem.observations.placements}

    def seen(self) -> set[int]:
        """Scans of which something was observed."""
        scan_of = self.scan_of()
        return {scan_of[block.placement] for block in self.solution.blocks}

    def placement_of(self, scan: int) -> int | None:
        """Index of the placement of a scan."""
        return next((key for key, frame in self.scan_of().items() if frame == scan), None)

    def without(self, scan: int) -> Member:
        """The same sensor without a scan; itself where it has no placement of that scan."""
        problem, solution = self.problem, self.solution
        index = self.placement_of(scan)
        if index is None:
            return self
        own = local_slice(problem.placements.index(index))
        points = {key: value for key, value in solution.depth_points.items() if key != index}
        kept = np.delete(solution.prior_sigma, np.arange(own.start, own.stop))
        return Member(
            problem=problem.part(problem.observations.without(index)),
            solution=replace(solution, depth_points=points, prior_sigma=kept),
        )


class Layout:
    """Where the parameters of every sensor stand among those of all.

    Attributes:
        reads: per sensor (P_s, P): its parameters from all.
        places: per sensor (P_s,) the one of all that its parameter is; a wobble's, whatever the centre.
        wobbles: the slice of all the scans' parameters.
        centers: (K, 3) what each scan's motion turns about: the mean of the sensors' centres.
        num_parameters: P.
        free: those that are estimated.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        frames = [[placement.scan_frame for placement in problem.observations.placements] for problem in problems]
        scans = sorted({frame for one in frames for frame in one})
        centers: dict[int, list[Array]] = {frame: [] for frame in scans}
        for problem, own in zip(problems, frames, strict=True):
            for index, frame in zip(problem.placements, own, strict=True):
                centers[frame].append(problem.centers[index])
        middle = {frame: np.mean(found, axis=0) for frame, found in centers.items()}
        num_own = [problem.num_parameters - WOBBLE_SIZE * len(problem.placements) for problem in problems]
        first_wobble = sum(num_own)
        self.centers = np.stack([middle[frame] for frame in scans])
        self.num_parameters = first_wobble + WOBBLE_SIZE * len(scans)
        self.wobbles = slice(first_wobble, self.num_parameters)
        self._problems = tuple(problems)
        self.reads: list[Array] = []
        self.places: list[NDArray[np.int64]] = []
        start = 0
        for problem, own, count in zip(problems, frames, num_own, strict=True):
            place = np.full(problem.num_parameters, -1)
            read = np.zeros((problem.num_parameters, self.num_parameters))
            for number, (index, frame) in enumerate(zip(problem.placements, own, strict=True)):
                here = np.arange(local_slice(number).start, local_slice(number).stop)[WOBBLE]
                there = first_wobble + WOBBLE_SIZE * scans.index(frame) + np.arange(WOBBLE_SIZE)
                place[here] = there
                read[np.ix_(here, there)] = _about(problem.centers[index] - middle[frame])
            others = np.flatnonzero(place < 0)
            place[others] = start + np.arange(count)
            read[others, place[others]] = 1.0
            start += count
            self.reads.append(read)
            self.places.append(place)
        self.free = np.unique(
            np.concatenate([place[problem.free] for place, problem in zip(self.places, problems, strict=True)])
        )

    def gathered(self, values: Sequence[Array]) -> Array:
        """(P,) of all from each sensor's (P_s,); of a scan's the mean over the sensors."""
        total, count = np.zeros(self.num_parameters), np.zeros(self.num_parameters)
        for place, value in zip(self.places, values, strict=True):
            np.add.at(total, place, value)
            np.add.at(count, place, 1.0)
        return total / count

    def groups(self) -> list[NDArray[np.int64]]:
        """Placements' parameters that spread alike: every sensor's own of one size, and the scans' motions."""
        ripples = [place[problem.own_group(part)] for problem, place in self._each() for part in RIPPLE_GROUPS]
        return [*ripples, np.arange(self.wobbles.start, self.wobbles.stop)]

    def prior_precision(self, sigma: Array) -> Array:
        """(P, P) inverse covariance of the priors of standard deviations (P,): scans near each other are off alike."""
        precision = np.zeros((self.num_parameters, self.num_parameters))
        for problem, place in self._each():
            own = np.flatnonzero(place < self.wobbles.start)
            part = problem.prior_precision(sigma[place])
            precision[np.ix_(place[own], place[own])] = part[np.ix_(own, own)]
        scales = sigma[self.wobbles]
        is_free = np.isin(np.arange(self.wobbles.start, self.wobbles.stop), self.free).all()
        correlation = self._bend if is_free else np.eye(len(scales))
        precision[self.wobbles, self.wobbles] = correlation / np.outer(scales, scales)
        return precision

    @cached_property
    def _bend(self) -> Array:
        """(6K, 6K) inverse correlation of the scans' motions."""
        return bend_precision(self.centers, self._problems[0].protocol.priors.scan_bend_m)

    def _each(self) -> Iterator[tuple[Problem, NDArray[np.int64]]]:
        return zip(self._problems, self.places, strict=True)


def groups_of(members: Sequence[Member]) -> list[list[int]]:
    """Numbers of the members that hang together by scans that two of them saw; a group of one stays separate."""
    groups: list[tuple[list[int], set[int]]] = []
    for number, member in enumerate(members):
        joined, scans = [number], member.seen()
        for group in [group for group in groups if group[1] & scans]:
            groups.remove(group)
            joined, scans = group[0] + joined, group[1] | scans
        groups.append((sorted(joined), scans))
    return sorted(numbers for numbers, _ in groups)


def _about(offset: Array) -> Array:
    """(6, 6) a small motion about a centre that lies ``offset`` (3,) away, from the one about the first centre."""
    x, y, z = offset
    moved = np.eye(6)
    moved[3:, :3] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]  # rotation vector x offset
    return moved
