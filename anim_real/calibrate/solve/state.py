"""The unknowns of one sensor: their order, their values, and how a parameter step moves them.

Transforms are perturbed on the left, ``T <- exp([w, t]) T``: w a rotation vector in radians, t in metres, both
in the axes of frame ``color``. Every step, Jacobian and covariance of the package has the order of the slices
below. After the sensor's own parameters come those of every placement: what its depth errs by beyond the bias
model, and how far its scan is from where the target stood. Both are small, and held by priors: they make the
errors that all observations of a placement share part of the solution's uncertainty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.solve.depth_curve import NUM_WAVES
from anim_real.calibrate.solve.intrinsics import adjusted
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
POSE, DELTA, BIAS, FOCAL, CENTER = slice(0, 6), slice(6, 12), slice(12, 14), slice(14, 16), slice(16, 18)
DEPTH_LENS, CURVE = slice(18, 21), slice(21, 21 + NUM_WAVES)
PARAMETER_NAMES = (
    *(f"T_color_scan {axis}" for axis in ("wx", "wy", "wz", "tx", "ty", "tz")),
    *(f"T_color_depth {axis}" for axis in ("wx", "wy", "wz", "tx", "ty", "tz")),
    "depth offset",
    "depth slope",
    "color focal",
    "color aspect",
    "color cx",
    "color cy",
    "depth focal",
    "depth cx",
    "depth cy",
    *(f"depth curve {number}" for number in range(1, NUM_WAVES + 1)),
)
NUM_SHARED = len(PARAMETER_NAMES)  # parameters of the sensor
RIPPLE, WOBBLE = slice(0, 4), slice(4, 10)  # of a placement
NUM_LOCAL = 10
OWN_GROUPS = (slice(0, 1), slice(1, 4), slice(4, 7), slice(7, 10))  # of one unit and size: offset, tilts, turn, shift
_NO_LOCAL = np.zeros(NUM_LOCAL)


def local_slice(number: int) -> slice:
    """Parameters of the placement that is the ``number``-th of its problem."""
    return slice(NUM_SHARED + number * NUM_LOCAL, NUM_SHARED + (number + 1) * NUM_LOCAL)


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """The unknowns of one sensor.

    Attributes:
        T_color_scan, T_color_depth: transforms.
        offset_m, slope: depth bias.
        relative_focal: (2,) common change of both colour focal lengths relative to the factory, and of fy alone on top.
        center_px: (2,) change of the colour centre.
        depth_lens: (3,) relative change of the depth focal lengths, change of the depth centre (px).
        curve: (16,) amplitudes (m) of the depth error over range beyond offset and slope (``calibrate.depth_curve``).
        local: (10,) by placement: depth offset, and its change over ``RIPPLE_REACH_M`` to the right, down and away (m),
            which the bias model cannot follow; then the small motion [w, t] (rad, m; axes of ``scan``, about the middle
            of the placement's target) that takes the scan to where the target stood.
    """

    T_color_scan: Rigid
    T_color_depth: Rigid
    offset_m: float = 0.0
    slope: float = 0.0
    relative_focal: Array
    center_px: Array
    depth_lens: Array
    local: Mapping[int, Array]
    curve: Array = field(default_factory=lambda: np.zeros(NUM_WAVES))

    @classmethod
    def factory(cls, T_color_scan: Rigid, T_color_depth: Rigid) -> State:
        """Start: a pose, and the factory's values for the rest."""
        return cls(
            T_color_scan=T_color_scan,
            T_color_depth=T_color_depth,
            relative_focal=np.zeros(2),
            center_px=np.zeros(2),
            depth_lens=np.zeros(3),
            local={},
        )

    @cached_property
    def T_depth_scan(self) -> Rigid:
        """Pose of the scanner in the depth camera."""
        return self.T_depth_color @ self.T_color_scan

    @cached_property
    def T_depth_color(self) -> Rigid:
        """Colour camera to depth camera."""
        return self.T_color_depth.inverse()

    @cached_property
    def T_scan_color(self) -> Rigid:
        """Pose of the colour camera in the scan frame."""
        return self.T_color_scan.inverse()

    def local_of(self, placement: int) -> Array:
        """(10,) parameters of a placement; zero where it has none yet."""
        return self.local.get(placement, _NO_LOCAL)

    def moved(self, step: Array, placements: tuple[int, ...]) -> State:
        """Apply a parameter step: the shared ones, then those of every one of ``placements``."""
        return State(
            T_color_scan=perturbed(self.T_color_scan, step[POSE]),
            T_color_depth=perturbed(self.T_color_depth, step[DELTA]),
            offset_m=self.offset_m + float(step[BIAS][0]),
            slope=self.slope + float(step[BIAS][1]),
            relative_focal=self.relative_focal + step[FOCAL],
            center_px=self.center_px + step[CENTER],
            depth_lens=self.depth_lens + step[DEPTH_LENS],
            local={index: self.local_of(index) + step[local_slice(number)] for number, index in enumerate(placements)},
            curve=self.curve + step[CURVE],
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


def skew_jacobian(points: Array) -> Array:
    """(N, 3, 6) derivative of points (N, 3) by a left perturbation [w, t]: ``-[p]x, I``."""
    jacobian = np.zeros((len(points), 3, 6))
    x, y, z = points.T
    jacobian[:, 0, 1], jacobian[:, 0, 2] = z, -y
    jacobian[:, 1, 0], jacobian[:, 1, 2] = -z, x
    jacobian[:, 2, 0], jacobian[:, 2, 1] = y, -x
    jacobian[:, :, 3:] = np.eye(3)
    return jacobian
