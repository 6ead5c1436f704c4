"""Normal equations of the joint solve: robustly weighted, assembled from each placement's few columns.

A residual depends on the sensor's parameters and on those of its own placement, never on another placement's:
the Jacobian is stored without the zeros between, and a placement's own parameters can be eliminated on their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import Block, Kind
from anim_real.calibrate.solve.state import NUM_SHARED, State, local_slice

Array = NDArray[np.float64]
CAUCHY = 2.5  # in standard deviations: residuals beyond it count less and less
OUTLIER = 5.0  # in standard deviations: beyond it an observation is left out of the last rounds

_GAIN_RANGE = (0.3, 1.5)  # beyond it the residuals are too few, or exact


def normal_equations(
    problem: Problem,
    state: State,
    blocks: list[Block],
    sigma: Mapping[Kind, float],
    priors: Array,
    *,
    rejects: bool,
    gain: Mapping[Kind, float] | None = None,
) -> tuple[Array, Array, float]:
    """Robustly weighted J'WJ (P, P), J'Wr (P,) and the cost, with priors of standard deviations (P,).

    With ``gain`` (see ``information_gain``) the first is the information, whose inverse is the covariance.
    """
    offset = problem.prior_residual(state)
    hessian = problem.prior_precision(priors)
    gradient = -hessian @ offset
    cost = float(-offset @ gradient)
    for block in blocks:
        part, slope, loss = _of_block(block, sigma[block.kind], rejects=rejects)
        columns = problem.columns(block.placement)
        hessian[np.ix_(columns, columns)] += part if gain is None else part * gain[block.kind]
        gradient[columns] += slope
        cost += loss
    return hessian, gradient, cost


def reduced_equations(
    problem: Problem, state: State, blocks: list[Block], sigma: Mapping[Kind, float], priors: Array
) -> list[tuple[Array, Array]]:
    """Per placement J'WJ (S, S) and J'Wr (S,) of the sensor's parameters, the placement's own eliminated (Schur)."""
    offset = problem.prior_residual(state)
    answers = []
    for number, placement in enumerate(problem.placements):
        own = local_slice(number)
        hessian = np.zeros((NUM_SHARED + own.stop - own.start,) * 2)
        gradient = np.zeros(len(hessian))
        local = np.arange(NUM_SHARED, len(hessian))
        hessian[local, local] = priors[own] ** -2.0
        gradient[local] = -offset[own] * priors[own] ** -2.0
        for block in blocks:
            if block.placement == placement:
                part, slope, _ = _of_block(block, sigma[block.kind], rejects=True)
                hessian += part
                gradient += slope
        is_free = np.isin(np.arange(own.start, own.stop), problem.free)
        eliminated = local[is_free]
        across = hessian[:NUM_SHARED, eliminated]
        solved = np.linalg.solve(hessian[np.ix_(eliminated, eliminated)], np.c_[across.T, gradient[eliminated]])
        answers.append(
            (
                hessian[:NUM_SHARED, :NUM_SHARED] - across @ solved[:, :-1],
                gradient[:NUM_SHARED] - across @ solved[:, -1],
            )
        )
    return answers


def information_gain(blocks: list[Block], sigma: Mapping[Kind, float]) -> dict[Kind, float]:
    """Per kind how much more a residual tells than its robust weight says.

    The variance of an M-estimator is E[psi²] / E[psi']² (Huber 1981, section 3.2), measured on the residuals
    themselves; the inverse of the weighted J'WJ is larger where residuals are normal.
    """
    gains: dict[Kind, float] = {}
    for kind in sigma:
        sizes = [block.size / sigma[kind] for block in blocks if block.kind == kind]
        size = np.concatenate(sizes) if sizes else np.zeros(0)
        size = size[size < OUTLIER]
        dimension = {"depth": 1, "sphere": 3}.get(kind, 2)
        weight = 1.0 / (1.0 + (size / CAUCHY) ** 2)
        squared = float(np.sum((weight * size) ** 2)) / dimension
        slope = float(np.sum(weight - 2.0 * size**2 / (dimension * CAUCHY**2) * weight**2))
        gains[kind] = slope**2 / (squared * float(weight.sum())) if squared > 0 and slope > 0 else 1.0
    return {kind: float(np.clip(gain, *_GAIN_RANGE)) for kind, gain in gains.items()}


def robust_weights(block: Block, sigma: float, *, rejects: bool) -> Array:
    """(N,) Cauchy weights of residuals over their variance; beyond ``OUTLIER`` none at all where ``rejects``."""
    scaled = block.size / sigma
    weight = 1.0 / (1.0 + (scaled / CAUCHY) ** 2)
    if rejects:
        weight = np.where(scaled < OUTLIER, weight, 0.0)
    return weight * block.share / sigma**2


def _of_block(block: Block, sigma: float, *, rejects: bool) -> tuple[Array, Array, float]:
    """J'WJ, J'Wr and loss of one block; an outlier costs the same wherever it is where ``rejects``."""
    scaled = block.size / sigma
    loss = CAUCHY**2 * np.log1p((scaled / CAUCHY) ** 2)
    if rejects:
        loss = np.minimum(loss, CAUCHY**2 * np.log1p((OUTLIER / CAUCHY) ** 2))
    weight = robust_weights(block, sigma, rejects=rejects)
    jacobian = block.jacobian.reshape(-1, block.jacobian.shape[-1])
    weighted = (block.jacobian * weight[:, None, None]).reshape(jacobian.shape)
    return weighted.T @ jacobian, weighted.T @ block.residual.ravel(), block.share * float(loss.sum())
