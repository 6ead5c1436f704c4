"""What placements share of their scans' errors: a scanner bends space smoothly, so near placements are off alike.

Motions that the scans (``calibrate.state``) have in common look like the pose, and a common stretch like focal lengths:
taken for independent, they would average out on paper alone. The displacement is a Gaussian process over space
(metres, frame ``scan``), each axis with the same squared-exponential covariance; a scan's turn is half its curl.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_OWN_SHARE = 0.1  # of the variance: noise of a scan's corners, which no other scan shares


def bend_precision(centers: Array, reach_m: float) -> Array:
    """(6N, 6N) inverse correlation of the motions [turn, shift] of scans about centres (N, 3)."""
    correlation = (1.0 - _OWN_SHARE) * bend_correlation(centers, reach_m) + _OWN_SHARE * np.eye(6 * len(centers))
    return np.asarray(np.linalg.inv(correlation), dtype=np.float64)


def bend_correlation(centers: Array, reach_m: float) -> Array:
    """(6N, 6N) correlation of the motions [turn, shift] at centres (N, 3)."""
    num = len(centers)
    r = (centers[:, None] - centers[None]) / reach_m
    near = np.exp(-0.5 * (r**2).sum(-1))[..., None, None]
    outer, squared = r[..., :, None] * r[..., None, :], (r**2).sum(-1)[..., None, None]
    x, y, z = np.moveaxis(r, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)
    blocks = np.zeros((num, num, 6, 6))
    blocks[..., 3:, 3:] = near * np.eye(3)
    blocks[..., :3, :3] = near * (np.eye(3) * (1.0 - squared / 2.0) + outer / 2.0)  # in units of (sigma / reach)² / 2
    blocks[..., 3:, :3] = -near * cross / np.sqrt(2.0)
    blocks[..., :3, 3:] = np.swapaxes(np.swapaxes(blocks[..., 3:, :3], 0, 1), -1, -2)
    return np.moveaxis(blocks, 2, 1).reshape(6 * num, 6 * num)
