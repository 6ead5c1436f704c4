"""The robust joint solve of one sensor: Levenberg-Marquardt with rounds of association and weighting.

Every step is linearised at the current state. Depth pixels are associated again whenever the pose settled.
The spread of the residuals sets the weights, so the covariance is the data's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.depth_bias import DepthPoints
from anim_real.calibrate.problem import Problem
from anim_real.calibrate.residuals import Block, Kind
from anim_real.calibrate.state import State
from anim_real.errors import DataError

Array = NDArray[np.float64]
_CAUCHY = 2.5  # in standard deviations: residuals beyond it count less and less
_OUTLIER = 5.0  # in standard deviations: beyond it an observation is left out of the last rounds
_MAD_TO_SIGMA = 1.4826
# No measurement is better than this (px, px, m): it keeps exact data solvable.
_MIN_SIGMA = {"color": 0.02, "ir": 0.02, "depth": 1e-4}
_GATES_M = (0.10, 0.05, 0.03, 0.02, 0.02, 0.02)  # association distance of the rounds
_MAX_STEPS = 25
_STEP_TOLERANCE = 1e-7  # of the priors' sigma; of a radian and a metre for the pose


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """The answer with its evidence.

    Attributes:
        state: the unknowns.
        covariance: (P, P) of the parameters (fixed ones have zero rows), in the order of ``calibrate.state``.
        sigma: standard deviation per kind that the residuals show.
        blocks: final residuals.
        inliers: per block (N,) which observations were kept.
        depth_points: associated depth pixels per placement index.
        iterations: steps taken in all.
        is_converged: whether the last round ended by a vanishing step.
    """

    state: State
    covariance: Array
    sigma: dict[Kind, float]
    blocks: tuple[Block, ...]
    inliers: tuple[NDArray[np.bool_], ...]
    depth_points: dict[int, DepthPoints]
    iterations: int
    is_converged: bool

    def block(self, kind: Kind, placement: int) -> tuple[Block, NDArray[np.bool_]] | None:
        """The block of a kind at a placement with its inliers, or None."""
        for block, inliers in zip(self.blocks, self.inliers, strict=True):
            if block.kind == kind and block.placement == placement:
                return block, inliers
        return None

    def rms(self, kind: Kind, placement: int | None = None) -> float | None:
        """Root mean square length of the kept residuals (px or m); None without any."""
        sizes = [
            block.size[inliers]
            for block, inliers in zip(self.blocks, self.inliers, strict=True)
            if block.kind == kind and placement in (None, block.placement)
        ]
        joined = np.concatenate(sizes) if sizes else np.zeros(0)
        return float(np.sqrt(np.mean(joined**2))) if len(joined) else None


def solve(
    problem: Problem,
    start: State,
    *,
    rounds: int = len(_GATES_M),
    associated: dict[int, DepthPoints] | None = None,
    sigma: dict[Kind, float] | None = None,
) -> Solution:
    """Solve from a start near enough for the corners to decide.

    Args:
        problem: observations and priors.
        start: first state.
        rounds: how often depth is associated and the weights are set again.
        associated: depth pixels per placement when they are known already: they are not looked for again.
        sigma: weights when they are known already, kept as they are.

    Raises:
        DataError: nothing was observed.
    """
    solver = problem.protocol.solver
    fixed_sigma = sigma is not None
    sigma = sigma or {
        "color": solver.corner_sigma_px,
        "ir": solver.corner_sigma_px,
        "depth": solver.depth_sigma_mm * 1e-3,
    }
    state, blocks, taken, converged = start, list[Block](), 0, False
    points: dict[int, DepthPoints] = associated or {}
    for number in range(rounds):
        if associated is None:
            points = problem.associate(state, _GATES_M[min(number, len(_GATES_M) - 1)])
        blocks = problem.blocks(state, points)
        if not blocks:
            raise DataError("nothing of the target was observed", where=f"sensor {problem.observations.sensor}")
        rejects = number >= 2 or fixed_sigma
        state, blocks, steps, converged = _descend(problem, state, blocks, points, sigma, rejects=rejects)
        taken += steps
        sigma = sigma if fixed_sigma else _spread(blocks, sigma)
    inliers = tuple(block.size / sigma[block.kind] < _OUTLIER for block in blocks)
    hessian, _, _ = _normal_equations(problem, state, blocks, sigma, rejects=True)
    return Solution(
        state=state,
        covariance=_covariance(hessian, problem.free),
        sigma=sigma,
        blocks=tuple(blocks),
        inliers=inliers,
        depth_points=points,
        iterations=taken,
        is_converged=converged,
    )


def _descend(
    problem: Problem,
    state: State,
    blocks: list[Block],
    points: dict[int, DepthPoints],
    sigma: dict[Kind, float],
    *,
    rejects: bool,
) -> tuple[State, list[Block], int, bool]:
    """Levenberg-Marquardt with fixed associations and scales, from a state and its blocks.

    Returns:
        The last state accepted, its blocks, the steps tried and whether the last one vanished.
    """
    damping = 1e-6
    hessian, gradient, cost = _normal_equations(problem, state, blocks, sigma, rejects=rejects)
    for number in range(1, _MAX_STEPS + 1):
        step = np.zeros(problem.num_parameters)
        damped = hessian[np.ix_(problem.free, problem.free)]
        damped = damped + damping * np.diag(np.diag(damped))
        step[problem.free] = np.linalg.lstsq(damped, gradient[problem.free], rcond=None)[0]
        moved = state.moved(step, problem.placements)
        moved_blocks = problem.blocks(moved, points)
        there = _normal_equations(problem, moved, moved_blocks, sigma, rejects=rejects)
        if there[2] <= cost * (1 + 1e-12):
            state, blocks, damping = moved, moved_blocks, damping / 5
            hessian, gradient, cost = there
            if np.abs(step / problem.step_scale).max() < _STEP_TOLERANCE:
                return state, blocks, number, True
        elif damping > 1e6:
            return state, blocks, number, True
        else:
            damping *= 10
    return state, blocks, _MAX_STEPS, bool(np.abs(step / problem.step_scale).max() < 1e-6)


def _normal_equations(
    problem: Problem, state: State, blocks: list[Block], sigma: dict[Kind, float], *, rejects: bool
) -> tuple[Array, Array, float]:
    """Robustly weighted J'WJ (P, P), J'Wr (P,) and the cost."""
    hessian = np.diag(problem.prior_sigma**-2.0)
    offset = problem.prior_residual(state)
    gradient = -offset * problem.prior_sigma**-2.0
    cost = float(np.sum((offset / problem.prior_sigma) ** 2))
    for block in blocks:
        scaled = block.size / sigma[block.kind]
        weight = 1.0 / (1.0 + (scaled / _CAUCHY) ** 2)
        loss = _CAUCHY**2 * np.log1p((scaled / _CAUCHY) ** 2)
        if rejects:
            limit = _CAUCHY**2 * np.log1p((_OUTLIER / _CAUCHY) ** 2)
            weight = np.where(scaled < _OUTLIER, weight, 0.0)
            loss = np.minimum(loss, limit)
        weight = weight * block.share / sigma[block.kind] ** 2
        jacobian = block.jacobian.reshape(-1, problem.num_parameters)
        weighted = (block.jacobian * weight[:, None, None]).reshape(jacobian.shape)
        hessian += weighted.T @ jacobian
        gradient += weighted.T @ block.residual.ravel()
        cost += block.share * float(loss.sum())
    return hessian, gradient, cost


def _spread(blocks: list[Block], sigma: dict[Kind, float]) -> dict[Kind, float]:
    """Robust standard deviation of every kind's residual components."""
    found = dict(sigma)
    for kind in sigma:
        parts = [block.residual.ravel() for block in blocks if block.kind == kind]
        if parts:
            found[kind] = max(_MAD_TO_SIGMA * float(np.median(np.abs(np.concatenate(parts)))), _MIN_SIGMA[kind])
    return found


def _covariance(hessian: Array, free: NDArray[np.int64]) -> Array:
    covariance = np.zeros_like(hessian)
    covariance[np.ix_(free, free)] = np.linalg.pinv(hessian[np.ix_(free, free)], hermitian=True)
    return covariance
