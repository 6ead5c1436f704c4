"""What one solve is about: the observations, the parameters that are free, and the factory's values as priors."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import Placement, SensorObservations
from anim_real.calibrate.protocol import COLOR_REFERENCE_WIDTH_PX, DEPTH_REFERENCE_WIDTH_PX, ProtocolSpec
from anim_real.calibrate.solve.depth_bias import DepthPoints, RayImage, associate
from anim_real.calibrate.solve.depth_curve import wave_sigma_m
from anim_real.calibrate.solve.residuals import Block, color_block, depth_block, ir_block, ripple_origin
from anim_real.calibrate.solve.scan_bend import bend_precision
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
    local_slice,
)
from anim_real.calibrate.spheres.residuals import sphere_block
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]


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
        self.centers = {placement.index: _center(placement) for placement in observations.placements}
        self.num_parameters = NUM_SHARED + NUM_LOCAL * len(self.placements)
        self.free = _free_parameters(protocol, len(self.placements)) if free is None else free
        self.prior_sigma = _prior_sigma(protocol, observations.color, observations.depth, len(self.placements))
        self.step_scale = np.where(np.isfinite(self.prior_sigma), self.prior_sigma, 1.0)

    @cached_property
    def _bend(self) -> Array:
        """(6N, 6N) inverse correlation of the placements' scans."""
        centers = np.stack([self.centers[index] for index in self.placements])
        return bend_precision(centers, self.protocol.priors.scan_bend_m)

    def part(self, observations: SensorObservations, free: NDArray[np.int64] | None = None) -> Problem:
        """The same problem for some of the placements, or with other free parameters."""
        return Problem(observations, self.protocol, depth_rays=self.depth_rays, free=free)

    @property
    def sphere_floor_m(self) -> float:
        """What a sphere's centre errs by, per axis, beyond what its fit shows."""
        return self.protocol.solver.sphere_sigma_mm * 1e-3

    def associate(self, state: State, max_error_m: float) -> dict[int, DepthPoints]:
        """Depth pixels on the object at every placement; their measured z still carries the bias."""
        found = {}
        for placement in self.observations.placements:
            offset = state.offset_m + float(state.local_of(placement.index)[RIPPLE.start])
            corrected = replace(placement, depth_m=(placement.depth_off_spheres_m - offset) / (1.0 + state.slope))
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
        factory = self.observations
        for placement in factory.placements:
            center = self.centers[placement.index]
            if len(placement.color):
                blocks.append(color_block(placement.index, placement.color, center, factory.color, state))
            if len(placement.ir):
                blocks.append(ir_block(placement.index, placement.ir, center, factory.depth, state))
            points = depth_points.get(placement.index)
            if points is not None and len(points):
                blocks.append(depth_block(placement.index, points, center, state, self.protocol.solver.depth_effective))
            spheres = placement.spheres
            if len(spheres):
                origin = ripple_origin(points) if points is not None and len(points) else spheres.centers_depth.mean(0)
                blocks.append(sphere_block(placement.index, spheres, center, origin, state, self.sphere_floor_m))
        return blocks

    def columns(self, placement: int) -> NDArray[np.int64]:
        """Which parameters the columns of a placement's blocks are."""
        own = local_slice(self.placements.index(placement))
        return np.concatenate([np.arange(NUM_SHARED), np.arange(own.start, own.stop)])

    def own_group(self, part: slice) -> NDArray[np.int64]:
        """Parameters that all placements have for themselves, ``part`` of each one's."""
        first = np.array([local_slice(number).start for number in range(len(self.placements))], np.int64)
        return (first[:, None] + np.arange(NUM_LOCAL)[part]).ravel()

    def free_wobbles(self) -> NDArray[np.int64]:
        """(N, 6) parameters that move each placement's scan; (0, 6) where scans are taken for exact."""
        index = self.own_group(WOBBLE).reshape(-1, WOBBLE.stop - WOBBLE.start)
        return index[np.isin(index, self.free).all(1)]

    def prior_precision(self, sigma: Array) -> Array:
        """(P, P) inverse covariance of the priors of standard deviations (P,): scans near each other are off alike."""
        precision = np.diag(sigma**-2.0)
        index = self.free_wobbles().ravel()
        if len(index):
            precision[np.ix_(index, index)] = self._bend / np.outer(sigma[index], sigma[index])
        return precision

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
                state.curve,
                *(state.local_of(index) for index in self.placements),
            ]
        )


def _free_parameters(protocol: ProtocolSpec, num_placements: int) -> NDArray[np.int64]:
    groups = {
        "depth_bias": BIAS,
        "depth_to_color": DELTA,
        "color_focal": FOCAL,
        "color_center": CENTER,
        "depth_lens": DEPTH_LENS,
        "depth_curve": CURVE,
    }
    local = {"depth_ripple": RIPPLE, "scan_wobble": WOBBLE}
    estimate = protocol.solver.estimate
    slices = [POSE] + [groups[name] for name in groups if name in estimate]
    own = [np.arange(NUM_LOCAL)[local[name]] for name in local if name in estimate]
    per_placement = [local_slice(number).start + part for number in range(num_placements) for part in own]
    return np.concatenate([*(np.arange(part.start, part.stop) for part in slices), *per_placement])


def _center(placement: Placement) -> Array:
    """(3,) middle of what was seen of the target on the scan."""
    seen = [pairs.points_scan for pairs in (placement.color, placement.ir) if len(pairs)]
    return np.median(np.concatenate(seen or [placement.surface.vertices]), axis=0)


def _prior_sigma(protocol: ProtocolSpec, color: Camera, depth: Camera, num_placements: int) -> Array:
    """(P,) standard deviations; the pose's are infinite."""
    priors = protocol.priors
    sigma = np.full(NUM_SHARED, np.inf)
    sigma[DELTA] = np.repeat([np.radians(priors.depth_to_color_deg), priors.depth_to_color_mm * 1e-3], 3)
    sigma[BIAS] = priors.bias_offset_mm * 1e-3, priors.bias_slope
    sigma[FOCAL] = priors.focal_percent / 100.0, priors.aspect_percent / 100.0
    sigma[CENTER] = priors.center_px * color.width / COLOR_REFERENCE_WIDTH_PX
    depth_center = priors.depth_center_px * depth.width / DEPTH_REFERENCE_WIDTH_PX
    sigma[DEPTH_LENS] = priors.depth_focal_percent / 100.0, depth_center, depth_center
    sigma[CURVE] = wave_sigma_m(priors.depth_curve_mm * 1e-3, priors.depth_curve_m)
    tilt, turn, shift = priors.depth_tilt_mm * 1e-3, np.radians(priors.scan_turn_deg), priors.scan_shift_mm * 1e-3
    local = np.r_[priors.depth_ripple_mm * 1e-3, np.full(3, tilt), np.full(3, turn), np.full(3, shift)]
    return np.concatenate([sigma, np.tile(local, num_placements)])
