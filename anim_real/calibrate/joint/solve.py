"""Several sensors in one solve: those that saw the same scans share each scan's own small error of place.

Each sensor's own solve gives start, associations and weights; the steps, the robust weights and the priors are those
of ``calibrate.solver``. Frame ``scan``, units as in ``calibrate.state``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.joint.layout import Layout, Member
from anim_real.calibrate.solve.equations import OUTLIER, information_gain, normal_equations
from anim_real.calibrate.solve.residuals import Block, Kind
from anim_real.calibrate.solve.scan_strain import strain_pull, strain_sigma
from anim_real.calibrate.solve.solver import (
    COARSE_TOLERANCE,
    STEP_TOLERANCE,
    Solution,
    covariance_of,
    fitted_priors,
    residual_spread,
    solve_symmetric,
)
from anim_real.calibrate.solve.state import State

Array = NDArray[np.float64]
_ROUNDS = 3
_MAX_STEPS = 25


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSolution:
    """The answer of several sensors.

    Attributes:
        solutions: every sensor's, in the order of the members; covariances are those of the joint solve.
        covariance: (P, P) of all parameters.
        layout: where each sensor's parameters stand among them.
    """

    solutions: tuple[Solution, ...]
    covariance: Array
    layout: Layout

    def covariance_between(self, first: int, second: int) -> Array:
        """(P1, P2) covariance of the parameters of two sensors, numbers as in ``solutions``."""
        return self.layout.reads[first] @ self.covariance @ self.layout.reads[second].T


def solve_joint(members: Sequence[Member], *, is_fixed: bool = False) -> JointSolution:
    """Solve sensors together, from their own solutions.

    Args:
        members: sensors, each solved on its own.
        is_fixed: keep the weights and the priors of the solutions as they are: another part of the same data.
    """
    layout = Layout([member.problem for member in members])
    sigma = [member.solution.sigma for member in members]
    usual = layout.gathered([member.problem.prior_sigma for member in members])
    priors = layout.gathered([member.solution.prior_sigma for member in members])
    point, taken, converged = _start(members, layout), 0, False
    rounds = 1 if is_fixed else _ROUNDS
    for number in range(rounds):
        tolerance = STEP_TOLERANCE if number == rounds - 1 else COARSE_TOLERANCE
        point, steps, converged = _descend(point, sigma, priors, tolerance)
        taken += steps
        if not is_fixed:
            sigma = [residual_spread(list(blocks), own) for blocks, own in zip(point.blocks, sigma, strict=True)]
            hessian, _, _ = point.equations(sigma, priors)
            priors = fitted_priors(
                usual, priors, layout.groups(), hessian, point.offset(), layout.free, layout.prior_precision
            )
    gain = [information_gain(list(blocks), own) for blocks, own in zip(point.blocks, sigma, strict=True)]
    hessian, _, _ = point.equations(sigma, priors, gain)
    covariance = _with_strain(point, covariance_of(hessian, layout.free), sigma, priors)
    solutions = tuple(
        replace(
            member.solution,
            state=state,
            covariance=read @ covariance @ read.T,
            sigma=own,
            prior_sigma=priors[place],
            blocks=blocks,
            inliers=tuple(block.size / own[block.kind] < OUTLIER for block in blocks),
            iterations=member.solution.iterations + taken,
            is_converged=member.solution.is_converged and converged,
        )
        for member, state, blocks, own, read, place in zip(
            members, point.states, point.blocks, sigma, layout.reads, layout.places, strict=True
        )
    )
    return JointSolution(solutions=solutions, covariance=covariance, layout=layout)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    """All sensors at one value of all parameters, with their residuals there; ``wobbles`` (W,) are the scans'."""

    members: Sequence[Member]
    layout: Layout
    states: tuple[State, ...]
    wobbles: Array
    blocks: tuple[tuple[Block, ...], ...]

    @classmethod
    def of(cls, members: Sequence[Member], layout: Layout, states: tuple[State, ...], wobbles: Array) -> _Point:
        """Compute the residuals."""
        blocks = tuple(
            tuple(member.problem.blocks(state, member.solution.depth_points))
            for member, state in zip(members, states, strict=True)
        )
        return cls(members=members, layout=layout, states=states, wobbles=wobbles, blocks=blocks)

    def moved(self, step: Array) -> _Point:
        """Apply a step (P,) of all parameters."""
        states = tuple(
            state.moved(read @ step, member.problem.placements)
            for state, read, member in zip(self.states, self.layout.reads, self.members, strict=True)
        )
        return _Point.of(self.members, self.layout, states, self.wobbles + step[self.layout.wobbles])

    def offset(self) -> Array:
        """(P,) parameters minus their usual values."""
        pairs = zip(self.members, self.states, strict=True)
        offset = self.layout.gathered([member.problem.prior_residual(state) for member, state in pairs])
        offset[self.layout.wobbles] = self.wobbles
        return offset

    def equations(
        self, sigma: Sequence[dict[Kind, float]], priors: Array, gain: Sequence[dict[Kind, float]] | None = None
    ) -> tuple[Array, Array, float]:
        """J'WJ (P, P), J'Wr (P,) and the cost of all sensors; every prior counts once."""
        offset = self.offset()
        hessian = self.layout.prior_precision(priors)
        gradient = -hessian @ offset
        cost = float(-offset @ gradient)
        for number, (member, read) in enumerate(zip(self.members, self.layout.reads, strict=True)):
            part, slope, loss = normal_equations(
                member.problem,
                self.states[number],
                list(self.blocks[number]),
                sigma[number],
                np.full(len(read), np.inf),
                rejects=True,
                gain=None if gain is None else gain[number],
            )
            hessian += read.T @ part @ read
            gradient += read.T @ slope
            cost += loss
        return hessian, gradient, cost


def _with_strain(point: _Point, covariance: Array, sigma: Sequence[dict[Kind, float]], priors: Array) -> Array:
    """Covariance (P, P) with what the common strain of the scans adds, for all sensors the same (``scan_strain``)."""
    layout = point.layout
    if layout.wobbles.start not in layout.free:
        return covariance
    pulled = np.zeros((layout.num_parameters, 6))
    for member, blocks, own, read in zip(point.members, point.blocks, sigma, layout.reads, strict=True):
        pulled += read.T @ strain_pull(member.problem, blocks, member.solution.depth_points, own)
    reach_m = point.members[0].problem.protocol.priors.scan_bend_m
    spread = strain_sigma(layout.centers, reach_m) * float(priors[layout.wobbles.stop - 1])
    follows = covariance @ pulled * spread
    return covariance + follows @ follows.T


def _start(members: Sequence[Member], layout: Layout) -> _Point:
    """Every sensor's own solution, with every scan's wobble the mean of what its sensors say."""
    problems = [member.problem for member in members]
    offsets = [member.problem.prior_residual(member.solution.state) for member in members]
    told = [np.linalg.pinv(read) @ offset for read, offset in zip(layout.reads, offsets, strict=True)]
    every = layout.gathered([value[place] for value, place in zip(told, layout.places, strict=True)])
    states = tuple(
        member.solution.state.moved(read @ every - offset, problem.placements)
        for member, read, offset, problem in zip(members, layout.reads, offsets, problems, strict=True)
    )
    return _Point.of(members, layout, states, every[layout.wobbles])


def _descend(
    point: _Point, sigma: Sequence[dict[Kind, float]], priors: Array, tolerance: float
) -> tuple[_Point, int, bool]:
    """Levenberg-Marquardt with fixed weights: last point accepted, steps tried, whether the last one vanished."""
    layout, damping = point.layout, 1e-6
    free = layout.free
    scale = layout.gathered([member.problem.step_scale for member in point.members])
    hessian, gradient, cost = point.equations(sigma, priors)
    step = np.zeros(layout.num_parameters)
    for number in range(1, _MAX_STEPS + 1):
        damped = hessian[np.ix_(free, free)]
        step[free] = solve_symmetric(damped + damping * np.diag(np.diag(damped)), gradient[free])
        moved = point.moved(step)
        there = moved.equations(sigma, priors)
        if there[2] <= cost * (1 + 1e-12):
            point, damping = moved, damping / 5
            hessian, gradient, cost = there
            if np.abs(step / scale).max() < tolerance:
                return point, number, True
        elif damping > 1e6:
            return point, number, True
        else:
            damping *= 10
    return point, _MAX_STEPS, bool(np.abs(step / scale).max() < 10 * tolerance)
