"""What a scanner that bends space makes of the target's own shape: the scans' common strain, which no solve finds.

All scans lend each other their corners, so strain that the scanner has on average over the placements is part of the
shape, and looks like focal lengths and distance. It is not solved for: the covariance takes it into account (a
"consider" covariance: Schmidt 1966), with the size that the scans' own small motions tell. Frame ``scan``, metres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.solve.depth_bias import DepthPoints
from anim_real.calibrate.solve.equations import robust_weights
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import Block, Kind
from anim_real.calibrate.solve.state import NUM_SHARED, WOBBLE

Array = NDArray[np.float64]
_SHIFT = slice(NUM_SHARED + WOBBLE.start + 3, NUM_SHARED + WOBBLE.stop)
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # of the six components of strain


def with_strain(
    problem: Problem,
    covariance: Array,
    blocks: Sequence[Block],
    points: Mapping[int, DepthPoints],
    sigma: Mapping[Kind, float],
    prior_sigma: Array,
) -> Array:
    """Covariance (P, P) of a solve that took the target's shape for exact, with what the strain of its scans adds."""
    wobbles = problem.free_wobbles()
    if len(wobbles) == 0:
        return covariance
    centers = np.stack([problem.centers[index] for index in problem.placements])
    pulled = strain_pull(problem, blocks, points, sigma)
    return widened(covariance, pulled, centers, problem.protocol.priors.scan_bend_m, float(prior_sigma[wobbles[0, -1]]))


def widened(covariance: Array, pulled: Array, centers: Array, reach_m: float, shift_sigma_m: float) -> Array:
    """Covariance (P, P) with the strain that goes with scans' shifts of a standard deviation; the rest as below."""
    follows = covariance @ pulled * (strain_sigma(centers, reach_m) * shift_sigma_m)
    return covariance + follows @ follows.T


def strain_pull(
    problem: Problem, blocks: Sequence[Block], points: Mapping[int, DepthPoints], sigma: Mapping[Kind, float]
) -> Array:
    """(P, 6) J'W times how predictions move less by strain of all scans, each about its placement's centre.

    The covariance times it is how the solution follows the strain. Components are xx, yy, zz, xy, xz, yz.
    """
    pulled = np.zeros((problem.num_parameters, len(_PAIRS)))
    for block in blocks:
        bent = block.jacobian[:, :, _SHIFT] @ _displacements(_arms(problem, block, points))
        weight = robust_weights(block, sigma[block.kind], rejects=True)
        pulled[problem.columns(block.placement)] -= np.einsum("n,ndk,ndm->km", weight, block.jacobian, bent)
    return pulled


def strain_sigma(centers: Array, reach_m: float) -> Array:
    """(6,) standard deviations (1/m) of the mean strain at centres (N, 3), of a bend of 1 m; see ``scan_bend``."""
    r = (centers[:, None] - centers[None]) / reach_m
    near = np.exp(-0.5 * (r**2).sum(-1))
    variance = [
        np.mean(near * (1.0 - (r[..., a] ** 2 + r[..., b] ** 2) / 2.0)) * (1.0 if a == b else 0.5) for a, b in _PAIRS
    ]
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)) / reach_m, dtype=np.float64)


def _displacements(arms: Array) -> Array:
    """(N, 3, 6) how points at arms (N, 3) from the centre move with the components of strain."""
    moved = np.zeros((len(arms), 3, len(_PAIRS)))
    for number, (a, b) in enumerate(_PAIRS):
        moved[:, a, number] = arms[:, b]
        moved[:, b, number] = arms[:, a]
    return moved


def _arms(problem: Problem, block: Block, points: Mapping[int, DepthPoints]) -> Array:
    placement = problem.observations.only(block.placement).placements[0]
    seen = {
        "color": placement.color.points_scan,
        "ir": placement.ir.points_scan,
        "sphere": placement.spheres.centers_scan,
        "depth": points[block.placement].anchors_scan if block.kind == "depth" else None,
    }[block.kind]
    assert seen is not None
    return seen - problem.centers[block.placement]
