"""The robust joint solve of one sensor: Levenberg-Marquardt with rounds of association and weighting.

Every step is linearised at the current state. Depth pixels are associated again whenever the pose settled.
The spread of the residuals sets the weights, so the covariance is the data's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from anim_real.calibrate.solve.depth_bias import DepthPoints
from anim_real.calibrate.solve.equations import OUTLIER, information_gain, normal_equations
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import Block, Kind
from anim_real.calibrate.solve.scan_strain import with_strain
from anim_real.calibrate.solve.state import OWN_GROUPS, State
from anim_real.errors import DataError

Array = NDArray[np.float64]
_MAD_TO_SIGMA = 1.4826
# No measurement is better than this (px, px, m, its own covariance): it keeps exact data solvable.
_MIN_SIGMA = {"color": 0.02, "ir": 0.02, "depth": 1e-4, "sphere": 1.0}
_MAX_EM_STEPS, _EM_TOLERANCE = 100, 1e-3
_GATES_M = (0.10, 0.05, 0.03, 0.02, 0.02, 0.02)  # association distance of the rounds
_MAX_STEPS = 25
PRIOR_WEIGHT = 6.0
RIPPLE_GROUPS = OWN_GROUPS[:2]  # the rest are the scans' motions, whose sizes hang together
STEP_TOLERANCE = 1e-7  # of the priors' sigma; of a radian and a metre for the pose
COARSE_TOLERANCE = 1e-4  # where weights and associations are about to change anyway


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """The answer with its evidence.

    Attributes:
        state: the unknowns.
        depth_focal_px: of the depth camera as the factory has it.
        covariance: (P, P) of the parameters (fixed ones have zero rows), in the order of ``calibrate.state``.
        sigma: standard deviation per kind that the residuals show.
        prior_sigma: (P,) standard deviations about the factory's values; those of the placements' own parameters as
            the placements show them.
        blocks: final residuals.
        inliers: per block (N,) which observations were kept.
        depth_points: associated depth pixels per placement index.
        iterations: steps taken in all.
        is_converged: whether the last round ended by a vanishing step.
    """

    state: State
    depth_focal_px: tuple[float, float]
    covariance: Array
    sigma: dict[Kind, float]
    prior_sigma: Array
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
    prior_sigma: Array | None = None,
) -> Solution:
    """Solve from a start near enough for the corners to decide.

    Args:
        problem: observations and priors.
        start: first state.
        rounds: how often depth is associated and the weights are set again.
        associated: depth pixels per placement when they are known already: they are not looked for again.
        sigma: weights when they are known already, kept as they are.
        prior_sigma: (P,) standard deviations about the factory when they are known already, kept as they are.

    Raises:
        DataError: nothing was observed.
    """
    solver = problem.protocol.solver
    fixed_sigma = sigma is not None
    sigma = sigma or {
        "color": solver.corner_sigma_px,
        "ir": solver.corner_sigma_px,
        "depth": solver.depth_sigma_mm * 1e-3,
        "sphere": 1.0,
    }
    priors = problem.prior_sigma if prior_sigma is None else prior_sigma
    state, blocks, taken, converged = start, list[Block](), 0, False
    points: dict[int, DepthPoints] = associated or {}
    for number in range(rounds):
        if associated is None:
            points = problem.associate(state, _GATES_M[min(number, len(_GATES_M) - 1)])
        blocks = problem.blocks(state, points)
        if not blocks:
            raise DataError("nothing of the target was observed", where=f"sensor {problem.observations.sensor}")
        rejects = number >= 2 or fixed_sigma
        tolerance = STEP_TOLERANCE if number == rounds - 1 else COARSE_TOLERANCE
        state, blocks, steps, converged = _descend(
            problem, state, blocks, points, sigma, priors, tolerance, rejects=rejects
        )  # fmt: skip
        taken += steps
        sigma = sigma if fixed_sigma else residual_spread(blocks, sigma)
        if prior_sigma is None and rejects:
            hessian, _, _ = normal_equations(problem, state, blocks, sigma, priors, rejects=True)
            priors = _own_spread(problem, state, hessian, priors)
    inliers = tuple(block.size / sigma[block.kind] < OUTLIER for block in blocks)
    gain = information_gain(blocks, sigma)
    hessian, _, _ = normal_equations(problem, state, blocks, sigma, priors, rejects=True, gain=gain)
    return Solution(
        state=state,
        depth_focal_px=(problem.observations.depth.fx, problem.observations.depth.fy),
        covariance=with_strain(problem, covariance_of(hessian, problem.free), blocks, points, sigma, priors),
        sigma=sigma,
        prior_sigma=priors,
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
    priors: Array,
    tolerance: float,
    *,
    rejects: bool,
) -> tuple[State, list[Block], int, bool]:
    """Levenberg-Marquardt with fixed associations and scales, from a state and its blocks.

    Returns:
        The last state accepted, its blocks, the steps tried and whether the last one vanished.
    """
    damping = 1e-6
    hessian, gradient, cost = normal_equations(problem, state, blocks, sigma, priors, rejects=rejects)
    for number in range(1, _MAX_STEPS + 1):
        step = np.zeros(problem.num_parameters)
        damped = hessian[np.ix_(problem.free, problem.free)]
        damped = damped + damping * np.diag(np.diag(damped))
        step[problem.free] = solve_symmetric(damped, gradient[problem.free])
        moved = state.moved(step, problem.placements)
        moved_blocks = problem.blocks(moved, points)
        there = normal_equations(problem, moved, moved_blocks, sigma, priors, rejects=rejects)
        if there[2] <= cost * (1 + 1e-12):
            state, blocks, damping = moved, moved_blocks, damping / 5
            hessian, gradient, cost = there
            if np.abs(step / problem.step_scale).max() < tolerance:
                return state, blocks, number, True
        elif damping > 1e6:
            return state, blocks, number, True
        else:
            damping *= 10
    return state, blocks, _MAX_STEPS, bool(np.abs(step / problem.step_scale).max() < 10 * tolerance)


def solve_symmetric(hessian: Array, gradient: Array) -> Array:
    """Solution of symmetric equations; the shortest one where the data leave some combination open."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    try:
        factor = cho_factor(hessian * np.outer(scale, scale), check_finite=False)
    except LinAlgError:
        return np.asarray(np.linalg.lstsq(hessian, gradient, rcond=None)[0], dtype=np.float64)
    return np.asarray(cho_solve(factor, gradient * scale, check_finite=False) * scale, dtype=np.float64)


def residual_spread(blocks: list[Block], sigma: dict[Kind, float]) -> dict[Kind, float]:
    """Robust standard deviation of every kind's residual components."""
    found = dict(sigma)
    for kind in sigma:
        parts = [block.residual.ravel() for block in blocks if block.kind == kind]
        if parts:
            found[kind] = max(_MAD_TO_SIGMA * float(np.median(np.abs(np.concatenate(parts)))), _MIN_SIGMA[kind])
    return found


def _own_spread(problem: Problem, state: State, hessian: Array, priors: Array) -> Array:
    """(P,) priors with the placements' own parameters as wide as the placements show."""
    groups = [*map(problem.own_group, RIPPLE_GROUPS), problem.free_wobbles().ravel()]
    return fitted_priors(
        problem.prior_sigma,
        priors,
        groups,
        hessian,
        problem.prior_residual(state),
        problem.free,
        problem.prior_precision,
    )


def fitted_priors(
    usual: Array,
    priors: Array,
    groups: Sequence[NDArray[np.int64]],
    hessian: Array,
    offset: Array,
    free: NDArray[np.int64],
    precision_of: Callable[[Array], Array],
) -> Array:
    """(P,) standard deviations of priors with groups of parameters as wide as they show (empirical Bayes by EM).

    The usual value counts for as much as ``PRIOR_WEIGHT`` parameters of the same kind. EM runs in the problem
    linearised at the minimum under ``priors``.

    Args:
        usual: (P,) standard deviations by the protocol.
        priors: (P,) those of the minimum.
        groups: parameters that widen together; those that are not all free stay as they are.
        hessian: (P, P) J'WJ at the minimum, with the priors.
        offset: (P,) parameters there, minus their usual values.
        free: those that are estimated.
        precision_of: (P, P) inverse covariance of priors of standard deviations (P,).
    """
    groups = [index for index in groups if len(index) and np.isin(index, free).all()]
    within = np.ix_(free, free)
    before = precision_of(priors)
    data, pull = hessian - before, before @ offset
    weights = precision_of(usual)
    found, factors = priors.copy(), np.ones(len(groups))
    for _ in range(_MAX_EM_STEPS if groups else 0):
        precision = precision_of(found)
        covariance = np.zeros_like(hessian)
        covariance[within] = np.linalg.inv((data + precision)[within])
        moved = offset + covariance @ (pull - precision @ offset)
        last = factors
        factors = np.array([_factor(weights[np.ix_(i, i)], moved[i], covariance[np.ix_(i, i)]) for i in groups])
        for index, factor in zip(groups, factors, strict=True):
            found[index] = factor * usual[index]
        if np.abs(factors / last - 1.0).max() < _EM_TOLERANCE:
            break
    return found


def _factor(weights: Array, offset: Array, covariance: Array) -> float:
    """By how much parameters (K,) spread more than ``weights`` (K, K), the inverse of their usual covariance, say."""
    squared = float(offset @ weights @ offset + np.sum(weights * covariance))
    return float(np.sqrt((PRIOR_WEIGHT + squared) / (PRIOR_WEIGHT + len(offset))))


def covariance_of(hessian: Array, free: NDArray[np.int64]) -> Array:
    """(P, P) inverse of an information over its free parameters; the fixed ones have zero rows."""
    covariance = np.zeros_like(hessian)
    covariance[np.ix_(free, free)] = np.linalg.pinv(hessian[np.ix_(free, free)], hermitian=True)
    return covariance
