"""The joint solve of one sensor: pose against the scanner, depth→colour, depth bias, colour focal length and centre.

Robust Levenberg-Marquardt on the manifold. Every step is linearised at the current state, transforms
are perturbed on the left (``T <- exp([w, t]) T``, radians and metres, frame ``color``). Depth pixels are
associated again whenever the pose settled. The spread of the residuals sets the weights, so the
covariance is the data's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.depth_bias import DepthPoints, RayImage, associate, predict_depth
from anim_real.calibrate.intrinsics import adjusted, project_with_jacobian
from anim_real.calibrate.observations import CornerPairs, SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
Kind = Literal["color", "ir", "depth"]
NUM_SHARED = 21  # parameters of the sensor; after them one depth offset per placement
POSE, DELTA, BIAS, FOCAL, CENTER = slice(0, 6), slice(6, 12), slice(12, 14), slice(14, 16), slice(16, 18)
DEPTH_LENS = slice(18, 21)
_CAUCHY = 2.5  # in standard deviations: residuals beyond it count less and less
_OUTLIER = 5.0  # in standard deviations: beyond it an observation is left out of the last rounds
_MAD_TO_SIGMA = 1.4826
_MIN_SIGMA = {
    "color": 0.02,
    "ir": 0.02,
    "depth": 1e-4,
}  # px, px, m: no measurement is better; keeps exact data solvable
_GATES_M = (0.10, 0.05, 0.03, 0.02, 0.02, 0.02)  # association distance of the rounds
_MAX_STEPS = 25
_STEP_TOLERANCE = 1e-7  # of the priors' sigma; of a radian and a metre for the pose


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """The unknowns of one sensor.

    Attributes:
        T_color_scan, T_color_depth: transforms.
        offset_m, slope: depth bias.
        relative_focal: (2,) common change of both colour focal lengths relative to the factory, and of fy alone on top.
        center_px: (2,) change of the colour centre.
        depth_lens: (3,) relative change of the depth focal lengths, change of the depth centre (px).
        ripple_m: depth offset of every placement: what the bias model cannot follow.
    """

    T_color_scan: Rigid
    T_color_depth: Rigid
    offset_m: float = 0.0
    slope: float = 0.0
    relative_focal: Array
    center_px: Array
    depth_lens: Array
    ripple_m: Mapping[int, float]

    @classmethod
    def factory(cls, T_color_scan: Rigid, T_color_depth: Rigid) -> State:
        """Start: a pose, and the factory's values for the rest."""
        return cls(
            T_color_scan=T_color_scan,
            T_color_depth=T_color_depth,
            relative_focal=np.zeros(2),
            center_px=np.zeros(2),
            depth_lens=np.zeros(3),
            ripple_m={},
        )

    @property
    def T_depth_scan(self) -> Rigid:
        """Pose of the scanner in the depth camera."""
        return self.T_color_depth.inverse() @ self.T_color_scan

    def moved(self, step: Array, placements: tuple[int, ...]) -> State:
        """Apply a parameter step: the shared ones, then one depth offset per placement of ``placements``."""
        return State(
            T_color_scan=perturbed(self.T_color_scan, step[POSE]),
            T_color_depth=perturbed(self.T_color_depth, step[DELTA]),
            offset_m=self.offset_m + float(step[BIAS][0]),
            slope=self.slope + float(step[BIAS][1]),
            relative_focal=self.relative_focal + step[FOCAL],
            center_px=self.center_px + step[CENTER],
            depth_lens=self.depth_lens + step[DEPTH_LENS],
            ripple_m={
                index: self.ripple_m.get(index, 0.0) + float(value)
                for index, value in zip(placements, step[NUM_SHARED:], strict=True)
            },
        )

    def color_camera(self, factory: Camera) -> Camera:
        """The colour camera as solved."""
        return adjusted(factory, self.relative_focal, self.center_px)

    def depth_camera(self, factory: Camera) -> Camera:
        """The depth camera as solved."""
        return adjusted(factory, np.array([self.depth_lens[0], 0.0]), self.depth_lens[1:])


def perturbed(transform: Rigid, step: Array) -> Rigid:
    """Left perturbation by (6,) rotation vector (rad) and translation (m)."""
    delta = Rigid.from_rotvec(transform.dst, transform.dst, step[:3], step[3:])
    moved = delta @ transform
    left, _, right = np.linalg.svd(moved.rotation)  # rounding must not add up over many steps
    return Rigid.from_parts(transform.dst, transform.src, left @ right, moved.translation)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """The answer with its evidence.

    Attributes:
        state: the unknowns.
        covariance: (P, P) of the parameters (fixed ones have zero rows), in the order of the slices above.
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


class Problem:
    """Observations, priors and weights of one solve."""

    def __init__(
        self,
        observations: SensorObservations,
        protocol: ProtocolSpec,
        *,
        depth_rays: RayImage | None = None,
        free: NDArray[np.int64] | None = None,
    ) -> None:
        self.observations = observations
        self.protocol = protocol
        self.depth_rays = RayImage.of(observations.depth) if depth_rays is None else depth_rays
        self.placements = tuple(placement.index for placement in observations.placements)
        self.num_parameters = NUM_SHARED + len(self.placements)
        self.free = _free_parameters(protocol, len(self.placements)) if free is None else free
        self.prior_sigma = _prior_sigma(protocol, observations.color, observations.depth, len(self.placements))
        self.step_scale = np.where(np.isfinite(self.prior_sigma), self.prior_sigma, 1.0)

    def part(self, observations: SensorObservations, free: NDArray[np.int64] | None = None) -> Problem:
        """The same problem for some of the placements, or with other free parameters."""
        return Problem(observations, self.protocol, depth_rays=self.depth_rays, free=free)

    def associate(self, state: State, max_error_m: float) -> dict[int, DepthPoints]:
        """Depth pixels on the object at every placement; their measured z still carries the bias."""
        found = {}
        for placement in self.observations.placements:
            offset = state.offset_m + state.ripple_m.get(placement.index, 0.0)
            corrected = replace(placement, depth_m=(placement.depth_m - offset) / (1.0 + state.slope))
            points = associate(
                corrected,
                self.observations.depth,
                self.depth_rays,
                state.depth_lens,
                state.T_depth_scan,
                max_points=self.protocol.solver.depth_points,
                max_error_m=max_error_m,
            )
            found[placement.index] = replace(points, z_measured=points.z_measured * (1.0 + state.slope) + offset)
        return found

    def blocks(self, state: State, depth_points: dict[int, DepthPoints]) -> list[Block]:
        """All residuals with their derivatives at a state."""
        blocks = []
        for number, placement in enumerate(self.observations.placements):
            if len(placement.color):
                blocks.append(
                    _color_block(placement.index, placement.color, self.observations.color, state, self.num_parameters)
                )
            if len(placement.ir):
                blocks.append(
                    _ir_block(placement.index, placement.ir, self.observations.depth, state, self.num_parameters)
                )
            points = depth_points.get(placement.index)
            if points is not None and len(points):
                block = _depth_block(
                    placement.index, points, state, self.num_parameters, self.protocol.solver.depth_effective
                )
                block.jacobian[:, 0, NUM_SHARED + number] = 1.0
                blocks.append(block)
        return blocks

    def prior_residual(self, state: State) -> Array:
        """(P,) state minus factory, in parameter units; zero for the pose, which has no prior."""
        delta = state.T_color_depth @ self.observations.T_color_depth.inverse()
        return np.concatenate(
            [
                np.zeros(6),
                delta.rotvec,
                delta.translation,
                [state.offset_m, state.slope],
                state.relative_focal,
                state.center_px,
                state.depth_lens,
                [state.ripple_m.get(index, 0.0) for index in self.placements],
            ]
        )


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
    state, taken, converged = start, 0, False
    points: dict[int, DepthPoints] = associated or {}
    for number in range(rounds):
        if associated is None:
            points = problem.associate(state, _GATES_M[min(number, len(_GATES_M) - 1)])
        blocks = problem.blocks(state, points)
        if not blocks:
            raise DataError("nothing of the target was observed", where=f"sensor {problem.observations.sensor}")
        rejects = number >= 2 or fixed_sigma
        state, steps, converged = _descend(problem, state, points, sigma, rejects=rejects)
        taken += steps
        sigma = sigma if fixed_sigma else _spread(problem.blocks(state, points), sigma)
    final = problem.blocks(state, points)
    inliers = tuple(block.size / sigma[block.kind] < _OUTLIER for block in final)
    hessian, _, _ = _normal_equations(problem, state, final, sigma, rejects=True)
    return Solution(
        state=state,
        covariance=_covariance(hessian, problem.free),
        sigma=sigma,
        blocks=tuple(final),
        inliers=inliers,
        depth_points=points,
        iterations=taken,
        is_converged=converged,
    )


def _descend(
    problem: Problem, state: State, points: dict[int, DepthPoints], sigma: dict[Kind, float], *, rejects: bool
) -> tuple[State, int, bool]:
    """Levenberg-Marquardt with fixed associations and scales; return state, steps and whether the step vanished."""
    damping = 1e-6
    hessian, gradient, cost = _normal_equations(problem, state, problem.blocks(state, points), sigma, rejects=rejects)
    for number in range(1, _MAX_STEPS + 1):
        step = np.zeros(problem.num_parameters)
        damped = hessian[np.ix_(problem.free, problem.free)]
        damped = damped + damping * np.diag(np.diag(damped))
        step[problem.free] = np.linalg.lstsq(damped, gradient[problem.free], rcond=None)[0]
        moved = state.moved(step, problem.placements)
        there = _normal_equations(problem, moved, problem.blocks(moved, points), sigma, rejects=rejects)
        if there[2] <= cost * (1 + 1e-12):
            state, damping = moved, damping / 5
            hessian, gradient, cost = there
            if np.abs(step / problem.step_scale).max() < _STEP_TOLERANCE:
                return state, number, True
        elif damping > 1e6:
            return state, number, True
        else:
            damping *= 10
    return state, _MAX_STEPS, bool(np.abs(step / problem.step_scale).max() < 1e-6)


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


def skew_jacobian(points: Array) -> Array:
    """(N, 3, 6) derivative of points (N, 3) by a left perturbation [w, t]: ``-[p]x, I``."""
    jacobian = np.zeros((len(points), 3, 6))
    x, y, z = points.T
    jacobian[:, 0, 1], jacobian[:, 0, 2] = z, -y
    jacobian[:, 1, 0], jacobian[:, 1, 2] = -z, x
    jacobian[:, 2, 0], jacobian[:, 2, 1] = y, -x
    jacobian[:, :, 3:] = np.eye(3)
    return jacobian


def _color_block(index: int, pairs: CornerPairs, factory: Camera, state: State, num_parameters: int) -> Block:
    color = state.color_camera(factory)
    points = state.T_color_scan.apply(pairs.points_scan)
    pixels, by_point = project_with_jacobian(color, points)
    jacobian = np.zeros((len(pairs), 2, num_parameters))
    jacobian[:, :, POSE] = by_point @ skew_jacobian(points)
    jacobian[:, :, FOCAL.start] = (pixels - (color.cx, color.cy)) / (color.fx, color.fy) * (factory.fx, factory.fy)
    jacobian[:, 1, FOCAL.start + 1] = jacobian[:, 1, FOCAL.start]
    jacobian[:, 0, CENTER.start] = jacobian[:, 1, CENTER.start + 1] = 1.0
    return Block(kind="color", placement=index, residual=pairs.pixels - pixels, jacobian=jacobian, share=1.0)


def _ir_block(index: int, pairs: CornerPairs, factory: Camera, state: State, num_parameters: int) -> Block:
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


def _depth_block(index: int, points: DepthPoints, state: State, num_parameters: int, effective: float) -> Block:
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


def _free_parameters(protocol: ProtocolSpec, num_placements: int) -> NDArray[np.int64]:
    groups = {
        "depth_bias": BIAS,
        "depth_to_color": DELTA,
        "color_focal": FOCAL,
        "color_center": CENTER,
        "depth_lens": DEPTH_LENS,
        "depth_ripple": slice(NUM_SHARED, NUM_SHARED + num_placements),
    }
    slices = [POSE] + [groups[name] for name in groups if name in protocol.solver.estimate]
    return np.concatenate([np.arange(part.start, part.stop) for part in slices])


def _prior_sigma(protocol: ProtocolSpec, color: Camera, depth: Camera, num_placements: int) -> Array:
    """(P,) standard deviations; the pose's are infinite."""
    priors = protocol.priors
    sigma = np.full(NUM_SHARED + num_placements, np.inf)
    sigma[6:9], sigma[9:12] = np.radians(priors.depth_to_color_deg), priors.depth_to_color_mm * 1e-3
    sigma[BIAS] = priors.bias_offset_mm * 1e-3, priors.bias_slope
    sigma[FOCAL] = priors.focal_percent / 100.0, priors.aspect_percent / 100.0
    sigma[CENTER] = priors.center_px * color.width / 1280.0
    depth_center = priors.depth_center_px * depth.width / 640.0
    sigma[DEPTH_LENS] = priors.depth_focal_percent / 100.0, depth_center, depth_center
    sigma[NUM_SHARED:] = priors.depth_ripple_mm * 1e-3
    return sigma
