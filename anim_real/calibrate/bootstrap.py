"""Is the covariance believable? A bootstrap over placements, compared with what the Jacobian says it should show.

Placements are the independent units of a take: all that one of them shares (a bent scan, a local depth error) comes
and goes with it. Whole placements are drawn with replacement and each draw is solved by one Gauss-Newton step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.evidence import target_jacobian
from anim_real.calibrate.solve.equations import reduced_equations
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.solve.state import DELTA, DEPTH_LENS, NUM_SHARED, POSE

Array = NDArray[np.float64]
_NUM_DRAWS = 400
_MIN_PLACEMENTS = 3
_WEAK = 1.0  # one radian, one metre: a draw of one empty placement says nothing, and may


@dataclass(frozen=True, kw_only=True)
class BootstrapCheck:
    """Spread of the target error over a person, millimetres, as far as the observations cause it.

    Attributes:
        bootstrap_mm: what the drawn takes show.
        jacobian_mm: what the covariance says they should show.
        num_draws: drawn takes.
    """

    bootstrap_mm: float
    jacobian_mm: float
    num_draws: int

    @property
    def ratio(self) -> float:
        """Above one: the covariance promises too much."""
        return self.bootstrap_mm / self.jacobian_mm


def bootstrap_check(
    problem: Problem, solution: Solution, points_scan: Array, rng: np.random.Generator
) -> BootstrapCheck | None:
    """Draw takes; None with fewer than three placements.

    What the priors add is no part of either number: no draw can show it. The factor n / (n - 1) undoes
    the bootstrap's bias.
    """
    num = len(problem.placements)
    if num < _MIN_PLACEMENTS:
        return None
    free = problem.free[problem.free < NUM_SHARED]
    priors = solution.prior_sigma[free]
    parts = reduced_equations(problem, solution.state, list(solution.blocks), solution.sigma, solution.prior_sigma)
    hessians = np.stack([part[np.ix_(free, free)] for part, _ in parts])
    gradients = np.stack([slope[free] for _, slope in parts])
    pull = -problem.prior_residual(solution.state)[free] * priors**-2.0
    prior = np.diag(priors**-2.0 + _WEAK)
    counts = rng.multinomial(num, np.full(num, 1.0 / num), _NUM_DRAWS).astype(np.float64)
    steps = np.linalg.solve(
        np.tensordot(counts, hessians, 1) + prior, (counts @ gradients + pull)[..., None]
    )[..., 0]  # fmt: skip
    total = np.linalg.inv(hessians.sum(0) + prior)
    expected = total @ hessians.sum(0) @ total
    drawn = np.cov(steps.T) * num / (num - 1)
    jacobian, _ = target_jacobian(solution, points_scan)
    index = np.r_[POSE, DELTA, DEPTH_LENS]
    dense = np.zeros((*jacobian.shape[:2], NUM_SHARED))
    dense[..., index] = jacobian
    return BootstrapCheck(
        bootstrap_mm=_spread_mm(dense[..., free], drawn),
        jacobian_mm=_spread_mm(dense[..., free], expected),
        num_draws=_NUM_DRAWS,
    )


def _spread_mm(jacobian: Array, covariance: Array) -> float:
    return float(np.sqrt(np.einsum("nij,jk,nik->n", jacobian, covariance, jacobian).mean()) * 1e3)
