"""Residuals of one placement and their derivatives: corners in colour and in IR, depth along the rays.

A residual is observed minus predicted; a Jacobian is the derivative of the prediction by the parameters of
``calibrate.state``. Pixels for corners, metres for depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.depth_bias import DepthPoints, predict_depth
from anim_real.calibrate.intrinsics import project_with_jacobian
from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.state import BIAS, CENTER, DELTA, DEPTH_LENS, FOCAL, POSE, State, skew_jacobian
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
Kind = Literal["color", "ir", "depth"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Residuals of one kind at one placement.

    Attributes:
        kind: color, ir (pixels) or depth (metres).
        placement: index of the placement.
        residual: (N, d) observed minus predicted; d = 2 pixels or 1 metre.
        jacobian: (N, d, P) derivative of the prediction by all parameters of the problem.
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


def color_block(index: int, pairs: CornerPairs, factory: Camera, state: State, num_parameters: int) -> Block:
    """Corners of placement ``index`` in the colour image; ``factory`` is the colour camera before the solve."""
    color = state.color_camera(factory)
    points = state.T_color_scan.apply(pairs.points_scan)
    pixels, by_point = project_with_jacobian(color, points)
    jacobian = np.zeros((len(pairs), 2, num_parameters))
    jacobian[:, :, POSE] = by_point @ skew_jacobian(points)
    jacobian[:, :, FOCAL.start] = (pixels - (color.cx, color.cy)) / (color.fx, color.fy) * (factory.fx, factory.fy)
    jacobian[:, 1, FOCAL.start + 1] = jacobian[:, 1, FOCAL.start]
    jacobian[:, 0, CENTER.start] = jacobian[:, 1, CENTER.start + 1] = 1.0
    return Block(kind="color", placement=index, residual=pairs.pixels - pixels, jacobian=jacobian, share=1.0)


def ir_block(index: int, pairs: CornerPairs, factory: Camera, state: State, num_parameters: int) -> Block:
    """Corners of placement ``index`` in the infrared image; ``factory`` is the depth camera before the solve."""
    depth = state.depth_camera(factory)
    points_color = state.T_color_scan.apply(pairs.points_scan)
    T_depth_color = state.T_color_depth.inverse()
    pixels, by_point = project_with_jacobian(depth, T_depth_color.apply(points_color))
    by_pose = by_point @ (T_depth_color.rotation @ skew_jacobian(points_color))
    jacobian = np.zeros((len(pairs), 2, num_parameters))
    jacobian[:, :, POSE], jacobian[:, :, DELTA] = by_pose, -by_pose
    jacobian[:, :, DEPTH_LENS.start] = (pixels - (depth.cx, depth.cy)) / (depth.fx, depth.fy) * (factory.fx, factory.fy)
    jacobian[:, 0, DEPTH_LENS.start + 1] = jacobian[:, 1, DEPTH_LENS.start + 2] = 1.0
    return Block(kind="ir", placement=index, residual=pairs.pixels - pixels, jacobian=jacobian, share=1.0)


def depth_block(index: int, points: DepthPoints, state: State, num_parameters: int, effective: float) -> Block:
    """Depth pixels of placement ``index``: measured z against the z at which each ray meets its plane.

    All of them together count for at most ``effective`` independent samples. The column of the placement's
    own depth offset is left to whoever knows its place (``Problem.blocks``).
    """
    rays = points.rays(state.depth_lens)
    z_true, normals_depth, towards = predict_depth(points, rays, state.T_depth_scan)
    points_color = state.T_color_depth.apply(rays * z_true[:, None])
    normals_color = state.T_color_depth.rotate(normals_depth)
    gain = (1.0 + state.slope) / towards[:, None]
    by_pose = np.einsum("ni,nij->nj", normals_color, skew_jacobian(points_color)) * gain
    jacobian = np.zeros((len(points), 1, num_parameters))
    jacobian[:, 0, POSE], jacobian[:, 0, DELTA] = by_pose, -by_pose
    jacobian[:, 0, BIAS.start], jacobian[:, 0, BIAS.start + 1] = 1.0, z_true
    jacobian[:, 0, DEPTH_LENS] = (
        -np.einsum("ni,nij->nj", normals_depth[:, :2], points.rays_by_lens) * z_true[:, None] * gain
    )
    offset = state.offset_m + state.ripple_m.get(index, 0.0)
    residual = points.z_measured - (z_true * (1.0 + state.slope) + offset)
    share = min(1.0, effective / len(points))
    return Block(kind="depth", placement=index, residual=residual[:, None], jacobian=jacobian, share=share)
