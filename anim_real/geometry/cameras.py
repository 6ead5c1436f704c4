"""Cameras: perspective with the rational lens model, and orthographic.

Camera axes are OpenCV's: x right, y down, z forward, metres. Pixel centres are integers, so the
image covers [-0.5, width - 0.5] x [-0.5, height - 0.5]. Whatever changes an image changes its
camera in the same call: ``crop``, ``scale`` and ``flip`` return a new camera.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.errors import DataError

Array = NDArray[np.float64]
_NEWTON_STEPS = 20
_NEWTON_TOLERANCE = 1e-12  # normalised image units: below 1e-8 px for every k4a mode


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """Perspective camera with OpenCV's rational distortion.

    Attributes:
        width, height: image size in pixels.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels (integer pixel centres).
        distortion: (8,) ``k1 k2 p1 p2 k3 k4 k5 k6`` (OpenCV's order).
        max_radius: largest valid undistorted radius sqrt(x²+y²), normalised; ``inf`` = unchecked.
            k4a calls it the metric radius.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Array = field(default_factory=lambda: np.zeros(8))
    max_radius: float = np.inf

    def __post_init__(self) -> None:
        distortion = np.zeros(8)
        given = np.asarray(self.distortion, dtype=np.float64).ravel()
        if given.size > 8:
            raise DataError(f"distortion needs at most 8 values, got {given.size}", where="camera")
        distortion[: given.size] = given
        distortion.flags.writeable = False
        object.__setattr__(self, "distortion", distortion)
        numbers = (self.fx, self.fy, self.cx, self.cy, *distortion)
        if not np.isfinite(numbers).all() or min(self.fx, self.fy) <= 0 or min(self.width, self.height) < 1:
            raise DataError(
                f"impossible intrinsics: {self.width}x{self.height}, f {self.fx}, {self.fy}, c {self.cx}, {self.cy}",
                where="camera",
            )

    @property
    def matrix(self) -> Array:
        """(3, 3) intrinsic matrix K in pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points: ArrayLike) -> Array:
        """Project camera points (..., 3) in metres to pixels (..., 2).

        NaN where the point is not in front of the camera or beyond ``max_radius``.
        """
        points = np.asarray(points, dtype=np.float64)
        z = points[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            normalized = points[..., :2] / z[..., None]
            pixels = self.distort(normalized) * (self.fx, self.fy) + (self.cx, self.cy)
        radius = np.hypot(normalized[..., 0], normalized[..., 1])
        pixels[~((z > 0) & (radius <= self.max_radius))] = np.nan
        return pixels

    def unproject(self, pixels: ArrayLike, z: ArrayLike) -> Array:
        """Lift pixels (..., 2) at depth ``z`` (...) in metres to camera points (..., 3); NaN where invalid."""
        z = np.asarray(z, dtype=np.float64)
        normalized = self.normalize(pixels)
        return np.concatenate([normalized * z[..., None], np.broadcast_to(z, normalized.shape[:-1])[..., None]], -1)

    def distort(self, normalized: ArrayLike) -> Array:
        """Apply the lens to undistorted normalised coordinates (..., 2)."""
        return _distort(np.asarray(normalized, dtype=np.float64), self.distortion)

    def normalize(self, pixels: ArrayLike) -> Array:
        """Undo intrinsics and lens: pixels (..., 2) to undistorted x/z, y/z; NaN where Newton finds no root."""
        pixels = np.asarray(pixels, dtype=np.float64)
        target = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        estimate = _undistort(target, self.distortion) if self.distortion.any() else target.copy()
        estimate[~(np.hypot(estimate[..., 0], estimate[..., 1]) <= self.max_radius)] = np.nan
        return estimate

    def rays(self) -> Array:
        """(H, W, 2) undistorted x/z, y/z of every pixel; NaN outside the valid radius."""
        return self.normalize(np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1))

    def crop(self, left: int, top: int, width: int, height: int) -> Camera:
        """Camera of the window that starts at pixel (left, top)."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def scale(self, factor_x: float, factor_y: float | None = None) -> Camera:
        """Camera of the image resized by the factors; the image corners stay where they are."""
        factor_y = factor_x if factor_y is None else factor_y
        return replace(
            self,
            width=round(self.width * factor_x),
            height=round(self.height * factor_y),
            fx=self.fx * factor_x,
            fy=self.fy * factor_y,
            cx=(self.cx + 0.5) * factor_x - 0.5,
            cy=(self.cy + 0.5) * factor_y - 0.5,
        )

    def flip(self) -> Camera:
        """Camera that sees the mirrored scene (x -> -x) in the horizontally flipped image."""
        distortion = self.distortion.copy()
        distortion[3] = -distortion[3]
        return replace(self, cx=self.width - 1 - self.cx, distortion=distortion)

    def pinhole(self) -> Camera:
        """Return the same camera without lens distortion and radius limit."""
        return replace(self, distortion=np.zeros(8), max_radius=np.inf)


@dataclass(frozen=True, kw_only=True, eq=False)
class OrthographicCamera:
    """Parallel projection along z: ``u = cx + px_per_m * x``, ``v = cy + px_per_m * y``.

    Attributes:
        width, height: image size in pixels.
        px_per_m: pixels per metre.
        cx, cy: pixel that the camera origin projects to (integer pixel centres).
    """

    width: int
    height: int
    px_per_m: float
    cx: float
    cy: float

    def project(self, points: ArrayLike) -> Array:
        """Project camera points (..., 3) in metres to pixels (..., 2)."""
        return np.asarray(points, dtype=np.float64)[..., :2] * self.px_per_m + (self.cx, self.cy)

    def unproject(self, pixels: ArrayLike, z: ArrayLike) -> Array:
        """Lift pixels (..., 2) at depth ``z`` (...) in metres to camera points (..., 3)."""
        plane = (np.asarray(pixels, dtype=np.float64) - (self.cx, self.cy)) / self.px_per_m
        return np.concatenate(
            [plane, np.broadcast_to(np.asarray(z, dtype=np.float64), plane.shape[:-1])[..., None]], -1
        )

    def crop(self, left: int, top: int, width: int, height: int) -> OrthographicCamera:
        """Camera of the window that starts at pixel (left, top)."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def scale(self, factor: float) -> OrthographicCamera:
        """Camera of the image resized by ``factor``."""
        return replace(
            self,
            width=round(self.width * factor),
            height=round(self.height * factor),
            px_per_m=self.px_per_m * factor,
            cx=(self.cx + 0.5) * factor - 0.5,
            cy=(self.cy + 0.5) * factor - 0.5,
        )

    def flip(self) -> OrthographicCamera:
        """Camera that sees the mirrored scene (x -> -x) in the horizontally flipped image."""
        return replace(self, cx=self.width - 1 - self.cx)


def _distort(xy: Array, distortion: Array) -> Array:
    """Rational model of OpenCV (calib3d documentation) and k4a (SDK ``intrinsic_transformation.c``)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([xd, yd], -1)


def _undistort(target: Array, distortion: Array) -> Array:
    """Invert ``_distort`` by Newton steps with the analytic Jacobian; NaN where it does not converge."""
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    estimate = target.copy()
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            x, y = estimate[..., 0], estimate[..., 1]
            r2 = x * x + y * y
            top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
            slope = ((k1 + r2 * (2 * k2 + 3 * k3 * r2)) * bottom - top * (k4 + r2 * (2 * k5 + 3 * k6 * r2))) / bottom**2
            radial = top / bottom
            j00 = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
            j01 = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
            j11 = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
            residual = _distort(estimate, distortion) - target
            determinant = j00 * j11 - j01 * j01
            step_x = (j11 * residual[..., 0] - j01 * residual[..., 1]) / determinant
            step_y = (j00 * residual[..., 1] - j01 * residual[..., 0]) / determinant
            estimate[..., 0] -= step_x
            estimate[..., 1] -= step_y
            if np.nanmax(np.abs(np.stack([step_x, step_y])), initial=0.0) < _NEWTON_TOLERANCE:
                break
        error = np.abs(_distort(estimate, distortion) - target).max(-1)
    estimate[~(error < 1e-7)] = np.nan
    return estimate
