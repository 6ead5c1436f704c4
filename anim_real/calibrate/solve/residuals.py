"""Residuals of one placement and their derivatives: corners in colour and in IR, depth along the rays.

A residual is observed minus predicted; a Jacobian is the derivative of the prediction by the sensor's parameters
of ``calibrate.state`` followed by those of the residual's own placement. Pixels for corners, metres for depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.solve.depth_bias import DepthPoints, predict_depth
from anim_real.calibrate.solve.depth_curve import waves
from anim_real.calibrate.solve.intrinsics import project_with_jacobian
from anim_real.calibrate.solve.state import (
    BIAS,
    CENTER,
    CURVE,
    DELTA,
    DEPTH_LENS,
    FOCAL,
    NUM_LOCAL,
    NUM_SHARED,
    POSE,
    RIPPLE,
    WOBBLE,
    State,
    skew_jacobian,
)
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
Kind = Literal["color", "ir", "depth", "sphere"]
RIPPLE_REACH_M = 0.2  # about half the target
_OWN_RIPPLE = slice(NUM_SHARED + RIPPLE.start, NUM_SHARED + RIPPLE.stop)
_OWN_WOBBLE = slice(NUM_SHARED + WOBBLE.start, NUM_SHARED + WOBBLE.stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Residuals of one kind at one placement.

    Attributes:
        kind: color, ir (pixels), depth (metres) or sphere (standard deviations).
        placement: index of the placement.
        residual: (N, d) observed minus predicted; d = 2 pixels, 1 metre or 3 standard deviations.
        jacobian: (N, d, K) derivative of the prediction by the sensor's parameters and the placement's own.
        share: how much one row counts (< 1 when many depth pixels share their errors).
    """

    kind: Kind
    placement: int
    residual: Array
    jacobian: Array
    share: float

    @property
    def size(self) -> Array:
        """(N,) length of every residual."""
        return np.linalg.norm(self.residual, axis=1)


def wobbled(points_scan: Array, center: Array, local: Array) -> Array:
    """Points (N, 3) of a scan where the target stood: turned about ``center`` and shifted by a placement's own pose."""
    rotvec, shift = local[WOBBLE][:3], local[WOBBLE][3:]
    return points_scan + _turned(rotvec, points_scan - center) + shift  # turns are below a milliradian


def _turned(rotvec: Array, vectors: Array) -> Array:
    """(N, 3) cross products of a rotation vector (3,) with vectors (N, 3)."""
    x, y, z = rotvec
    return vectors @ np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])


def color_block(index: int, pairs: CornerPairs, center: Array, factory: Camera, state: State) -> Block:
    """Corners of placement ``index`` in the colour image; ``factory`` is the colour camera before the solve."""
    color = state.color_camera(factory)
    points = state.T_color_scan.apply(wobbled(pairs.points_scan, center, state.local_of(index)))
    pixels, by_point = project_with_jacobian(color, points)
    jacobian = np.zeros((len(pairs), 2, NUM_SHARED + NUM_LOCAL))
    jacobian[:, :, POSE] = by_point @ skew_jacobian(points)
    jacobian[:, :, _OWN_WOBBLE] = by_point @ state.T_color_scan.rotation @ skew_jacobian(pairs.points_scan - center)
    jacobian[:, :, FOCAL.start] = (pixels - (color.cx, color.cy)) / (color.fx, color.fy) * (factory.fx, factory.fy)
    jacobian[:, 1, FOCAL.start + 1] = jacobian[:, 1, FOCAL.start]
    jacobian[:, 0, CENTER.start] = jacobian[:, 1, CENTER.start + 1] = 1.0
    return Block(kind="color", placement=index, residual=pairs.pixels - pixels, jacobian=jacobian, share=1.0)


def ir_block(index: int, pairs: CornerPairs, center: Array, factory: Camera, state: State) -> Block:
    """Corners of placement ``index`` in the infrared image; ``factory`` is the depth camera before the solve."""
    depth = state.depth_camera(factory)
    points_color = state.T_color_scan.apply(wobbled(pairs.points_scan, center, state.local_of(index)))
    T_depth_color = state.T_depth_color
    pixels, by_point = project_with_jacobian(depth, T_depth_color.apply(points_color))
    by_color = by_point @ T_depth_color.rotation
    by_pose = by_color @ skew_jacobian(points_color)
    jacobian = np.zeros((len(pairs), 2, NUM_SHARED + NUM_LOCAL))
    jacobian[:, :, POSE], jacobian[:, :, DELTA] = by_pose, -by_pose
    jacobian[:, :, _OWN_WOBBLE] = by_color @ state.T_color_scan.rotation @ skew_jacobian(pairs.points_scan - center)
    jacobian[:, :, DEPTH_LENS.start] = (pixels - (depth.cx, depth.cy)) / (depth.fx, depth.fy) * (factory.fx, factory.fy)
    jacobian[:, 0, DEPTH_LENS.start + 1] = jacobian[:, 1, DEPTH_LENS.start + 2] = 1.0
    return Block(kind="ir", placement=index, residual=pairs.pixels - pixels, jacobian=jacobian, share=1.0)


def depth_block(index: int, points: DepthPoints, center: Array, state: State, effective: float) -> Block:
    """Depth pixels of placement ``index``: measured z against the z at which each ray meets its plane.

    All of them together count for at most ``effective`` independent samples.
    """
    local = state.local_of(index)
    rays = points.rays(state.depth_lens)
    turn = _turned(local[WOBBLE][:3], points.normals_scan)
    placed = replace(
        points, anchors_scan=wobbled(points.anchors_scan, center, local), normals_scan=points.normals_scan + turn
    )
    z_true, normals_depth, towards = predict_depth(placed, rays, state.T_depth_scan)
    points_color = state.T_color_depth.apply(rays * z_true[:, None])
    normals_color = state.T_color_depth.rotate(normals_depth)
    normals_scan = state.T_scan_color.rotate(normals_color)
    points_scan = state.T_scan_color.apply(points_color)
    gain = (1.0 + state.slope) / towards[:, None]
    by_pose = np.einsum("ni,nij->nj", normals_color, skew_jacobian(points_color)) * gain
    ripple = ripple_basis(points)
    jacobian = np.zeros((len(points), 1, NUM_SHARED + NUM_LOCAL))
    jacobian[:, 0, POSE], jacobian[:, 0, DELTA] = by_pose, -by_pose
    jacobian[:, 0, _OWN_WOBBLE] = np.einsum("ni,nij->nj", normals_scan, skew_jacobian(points_scan - center)) * gain
    curve_z, by_curve, by_z = depth_curve(points, state)
    keeps = 1.0 - by_z  # the curve is read at the measured range, which offset and slope move a little
    jacobian[:, 0, BIAS.start], jacobian[:, 0, BIAS.start + 1] = (
        keeps,
        z_true + curve_z - by_z * straight(points, state),
    )
    jacobian[:, 0, CURVE] = by_curve * (1.0 + state.slope)
    jacobian[:, 0, DEPTH_LENS] = (
        -np.einsum("ni,nij->nj", normals_depth[:, :2], points.rays_by_lens) * z_true[:, None] * gain
    )
    jacobian[:, 0, _OWN_RIPPLE] = ripple
    biased = (z_true + curve_z) * (1.0 + state.slope) + state.offset_m
    residual = points.z_measured - (biased + ripple @ local[RIPPLE])
    share = min(1.0, effective / len(points))
    return Block(kind="depth", placement=index, residual=residual[:, None], jacobian=jacobian, share=share)


def straight(points: DepthPoints, state: State) -> Array:
    """(N,) measured z less offset and slope, metres."""
    return (points.z_measured - state.offset_m) / (1.0 + state.slope)


def depth_curve(points: DepthPoints, state: State) -> tuple[Array, Array, Array]:
    """(N,) error along z by the range curve (m), its derivative (N, W) by the amplitudes and (N,) by ``straight``."""
    range_per_z = np.linalg.norm(points.factory_rays, axis=1)
    basis, slopes = waves(straight(points, state) * range_per_z)
    by_curve = basis / range_per_z[:, None]
    return by_curve @ state.curve, by_curve, slopes @ state.curve


def ripple_basis(points: DepthPoints) -> Array:
    """(N, 4) smooth functions over one placement: 1, and to the right, down and away in units of ``RIPPLE_REACH_M``."""
    z = points.z_measured
    seen = points.factory_rays * z[:, None]
    return np.concatenate([np.ones((len(z), 1)), (seen - ripple_origin(points)) / RIPPLE_REACH_M], 1)


def ripple_origin(points: DepthPoints) -> Array:
    """(3,) middle of a placement's depth pixels, from which its ripple is counted; frame depth, metres."""
    return np.median(points.factory_rays * points.z_measured[:, None], axis=0)
