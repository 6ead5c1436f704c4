"""Residuals of the spheres of one placement: the centre fitted in the depth image against the scan's, whitened.

The fitted centre carries what the depth of its pixels errs by and what the factory's lens errs by: the prediction adds
to the scan's centre what the fit makes of both, with the error model of the depth pixels (``calibrate.residuals``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import SpherePairs
from anim_real.calibrate.solve.depth_curve import waves
from anim_real.calibrate.solve.residuals import RIPPLE_REACH_M, Block, wobbled
from anim_real.calibrate.solve.state import (
    BIAS,
    CURVE,
    DELTA,
    DEPTH_LENS,
    NUM_LOCAL,
    NUM_SHARED,
    POSE,
    RIPPLE,
    WOBBLE,
    State,
    skew_jacobian,
)
from anim_real.calibrate.spheres.fits import RangeFit

Array = NDArray[np.float64]
_OWN_RIPPLE = slice(NUM_SHARED + RIPPLE.start, NUM_SHARED + RIPPLE.stop)
_OWN_WOBBLE = slice(NUM_SHARED + WOBBLE.start, NUM_SHARED + WOBBLE.stop)


def sphere_block(
    index: int, pairs: SpherePairs, center: Array, ripple_origin: Array, state: State, floor_m: float
) -> Block:
    """Spheres of placement ``index``.

    Args:
        index: the placement.
        pairs: its spheres.
        center: (3,) about which the placement's scan wobbles, frame scan.
        ripple_origin: (3,) from which the placement's depth ripple is counted, frame depth.
        state: where to linearise.
        floor_m: standard deviation of a centre, per axis, beyond what the fits show.
    """
    local = state.local_of(index)
    points_color = state.T_color_scan.apply(wobbled(pairs.centers_scan, center, local))
    by_pose = state.T_depth_color.rotation @ skew_jacobian(points_color)
    predicted = state.T_depth_color.apply(points_color)
    jacobian = np.zeros((len(pairs), 3, NUM_SHARED + NUM_LOCAL))
    jacobian[:, :, POSE], jacobian[:, :, DELTA] = by_pose, -by_pose
    jacobian[:, :, _OWN_WOBBLE] = state.T_depth_scan.rotation @ skew_jacobian(pairs.centers_scan - center)
    for row, fit in enumerate(pairs.fits):
        shift, by_state = center_shift(fit, state, local[RIPPLE], ripple_origin)
        predicted[row] += shift
        jacobian[row] += by_state
    root = whitening_roots(pairs, floor_m)
    error = (pairs.centers_depth - predicted)[..., None]
    whitened = np.asarray(np.linalg.solve(root, np.concatenate([error, jacobian], 2)), dtype=np.float64)
    return Block(kind="sphere", placement=index, residual=whitened[..., 0], jacobian=whitened[..., 1:], share=1.0)


def whitening_roots(pairs: SpherePairs, floor_m: float) -> Array:
    """(S, 3, 3) roots of the centres' covariances: root @ residual is an error in metres, frame depth."""
    return np.asarray(np.linalg.cholesky(pairs.covariances + floor_m**2 * np.eye(3)), dtype=np.float64)


def center_shift(fit: RangeFit, state: State, ripple: Array, ripple_origin: Array) -> tuple[Array, Array]:
    """How far a fitted centre is off for what its pixels err by, (3,) metres, with its derivative (3, K) of a block.

    Args:
        fit: the sphere.
        state: the sensor.
        ripple: (4,) of the placement.
        ripple_origin: (3,) from which the ripple's slopes are counted, frame depth.
    """
    gain = 1.0 + state.slope
    constant, along = fit.by_error[:, :1], fit.by_error[:, 1:]
    by_ripple = np.concatenate([constant, (along - constant * ripple_origin) / RIPPLE_REACH_M], 1)
    linear = state.offset_m * constant[:, 0] + state.slope * along[:, 2] + by_ripple @ ripple  # z (gain - 1) + offset
    straight = (fit.ranges - state.offset_m * fit.per_z) / gain
    basis, slopes = waves(straight)
    by_straight = fit.by_range * (slopes @ state.curve)
    by_state = np.zeros((3, NUM_SHARED + NUM_LOCAL))
    by_state[:, BIAS.start] = (constant[:, 0] - by_straight @ fit.per_z) / gain
    by_state[:, BIAS.start + 1] = (along[:, 2] - linear / gain - by_straight @ straight) / gain
    by_state[:, CURVE] = fit.by_range @ basis
    by_state[:, DEPTH_LENS] = fit.by_lens
    by_state[:, _OWN_RIPPLE] = by_ripple / gain
    return linear / gain + by_state[:, CURVE] @ state.curve + fit.by_lens @ state.depth_lens, by_state
