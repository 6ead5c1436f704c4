"""A small robust least-squares fit with an honest covariance: Tukey's M-estimator by reweighted Gauss-Newton.

For a handful of parameters and thousands of observations with outliers, whose errors may be alike among neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_GATES_M = (0.06, 0.04, 0.025, 0.015, 0.01)  # what is looked at while the start is still rough
_TUKEY = 4.685  # in standard deviations: 95 % efficient for normal errors (Holland & Welsch 1977)
_MAD_TO_SIGMA = 1.4826
_MIN_SIGMA_M = 1e-4  # no measurement is better: exact data stays solvable, and its small bias tells no outliers
_MAX_ROUNDS = 40
_SCALE_ROUNDS = 6  # afterwards the scale stands still, so that the steps vanish
_SETTLED_M = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Observations at some parameters.

    Attributes:
        residual: (N,) observed minus predicted, metres.
        jacobian: (N, K) derivative of the prediction.
        weight: (N,) how exact each is relative to the best (1), by its variance; 0 = not to be looked at.
        cell: (N,) observations of one cell are neighbours and may share their errors.
    """

    residual: Array
    jacobian: Array
    weight: Array
    cell: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """The fit.

    Attributes:
        parameters: (K,) estimate.
        covariance: (K, K) by the spread of the residuals, widened where neighbours share their errors.
        sigma_m: standard deviation of an observation of weight 1.
        kept: (N,) observations with a part in the answer.
        num_rows: how many were looked at.
        response: (K, N) how the estimate moves with every observation.
    """

    parameters: Array
    covariance: Array
    sigma_m: float
    kept: NDArray[np.bool_]
    num_rows: int
    response: Array


def robust_fit(rows_at: Callable[[Array], Rows], start: Array, *, min_rows: int) -> Estimate | None:
    """Fit from a start a few centimetres off; None when fewer than ``min_rows`` observations support any answer.

    Args:
        rows_at: the observations at given parameters (K,).
        start: (K,) first parameters.
        min_rows: least number of observations kept.
    """
    parameters, sigma, rows = start.astype(np.float64), 0.0, None
    for number in range(len(_GATES_M) + _MAX_ROUNDS):
        rows = rows_at(parameters)
        usable = (rows.weight > 0) & (np.abs(rows.residual) < _GATES_M[min(number, len(_GATES_M) - 1)])
        if usable.sum() < min_rows:
            return None
        scaled = rows.residual * np.sqrt(rows.weight)
        if number < len(_GATES_M):
            cut = np.full(len(scaled), _GATES_M[number])
        else:
            if number < len(_GATES_M) + _SCALE_ROUNDS:
                sigma = max(_MAD_TO_SIGMA * float(np.median(np.abs(scaled[usable]))), _MIN_SIGMA_M)
            cut = np.full(len(scaled), _TUKEY * sigma)
        weight = np.where(usable, rows.weight * np.clip(1.0 - (scaled / cut) ** 2, 0.0, None) ** 2, 0.0)
        if (weight > 0).sum() < min_rows:
            return None
        step = _solved(rows.jacobian, weight, rows.residual)
        parameters = parameters + step
        if number >= len(_GATES_M) + _SCALE_ROUNDS and np.abs(step).max() < _SETTLED_M:
            break
    assert rows is not None
    return _estimate(rows_at(parameters), parameters, sigma, min_rows)


def _solved(jacobian: Array, weight: Array, residual: Array) -> Array:
    """The weighted Gauss-Newton step; the shortest one where the observations leave a direction open."""
    root = np.sqrt(weight)
    return np.asarray(np.linalg.lstsq(jacobian * root[:, None], residual * root, rcond=None)[0], dtype=np.float64)


def _estimate(rows: Rows, parameters: Array, sigma: float, min_rows: int) -> Estimate | None:
    """Covariance of an M-estimator (Huber 1981, section 7.6), widened by what clusters of neighbours show.

    The sandwich over clusters is Liang & Zeger's (1986). It widens all directions alike, which keeps its noise small.
    """
    root = np.sqrt(rows.weight)
    scaled = rows.residual * root / sigma
    kept = (rows.weight > 0) & (np.abs(scaled) < _TUKEY)
    num, size = int(kept.sum()), len(parameters)
    if num < min_rows:
        return None
    inner = np.clip(1.0 - (scaled / _TUKEY) ** 2, 0.0, None)
    psi = np.where(kept, scaled * inner**2, 0.0)
    slope = np.where(kept, inner * (1.0 - 5.0 * (scaled / _TUKEY) ** 2), 0.0)
    weighted = rows.jacobian * root[:, None]
    information = weighted[kept].T @ weighted[kept]
    if np.linalg.cond(information) > 1e12:
        return None
    factor = np.mean(psi[kept] ** 2) / np.mean(slope[kept]) ** 2 * num / max(num - size, 1)
    covariance = sigma**2 * factor * np.linalg.inv(information)
    bread = np.linalg.inv((weighted * slope[:, None]).T @ weighted)
    response = bread @ (weighted * (slope * root)[:, None]).T
    cells, cell = np.unique(rows.cell[kept], return_inverse=True)
    scores = np.zeros((len(cells), size))
    np.add.at(scores, cell.ravel(), (weighted * (psi * sigma)[:, None])[kept])
    clustered = bread @ scores.T @ scores @ bread * len(cells) / max(len(cells) - size, 1)
    widening = float(np.trace(np.linalg.solve(covariance, clustered))) / size
    return Estimate(
        parameters=parameters,
        covariance=covariance * max(1.0, widening),
        sigma_m=sigma,
        kept=kept,
        num_rows=int((rows.weight > 0).sum()),
        response=response,
    )
