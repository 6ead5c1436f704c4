"""Cameras: perspective with the rational lens model, and orthographic.

Camera axes are OpenCV's: x right, y down, z forward, metres. Pixel centres are integers, so the
image covers [-0.5, width - 0.5] x [-0.5, height - 0.5]. Whatever changes an image changes its
camera in the same call: ``crop``, ``scale`` and ``flip`` return a new camera. The lens itself is
in ``lens``; beyond its valid radius there is neither ray nor pixel, only NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.errors import DataError
from anim_real.geometry.frames import Rigid
from anim_real.geometry.lens import distort, one_to_one_radius, undistort

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """Perspective camera with OpenCV's rational distortion.

    Attributes:
        width, height: image size in pixels.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels (integer pixel centres).
        distortion: (8,) ``k1 k2 p1 p2 k3 k4 k5 k6`` (OpenCV's order).
        max_radius: largest valid undistorted radius sqrt(x²+y²), normalised; ``inf`` = unchecked.
            k4a calls it the metric radius. ``valid_radius`` is what limits.
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

    @property
    def valid_radius(self) -> float:
        """The radius that holds: ``max_radius``, or where the lens model folds over if that comes first."""
        return min(self.max_radius, one_to_one_radius(tuple(self.distortion.tolist())))

    def project(self, points: ArrayLike) -> Array:
        """Project camera points (..., 3) in metres to pixels (..., 2).

        NaN where the point is not in front of the camera or beyond ``valid_radius``. The pixel may lie
        outside the image.
        """
        points = np.asarray(points, dtype=np.float64)
        z = points[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            normalized = points[..., :2] / z[..., None]
            pixels = self.distort(normalized) * (self.fx, self.fy) + (self.cx, self.cy)
        radius = np.hypot(normalized[..., 0], normalized[..., 1])
        pixels[~((z > 0) & (radius <= self.valid_radius))] = np.nan
        return pixels

    def unproject(self, pixels: ArrayLike, z: ArrayLike) -> Array:
        """Lift pixels (..., 2) at depth ``z`` (...) in metres to camera points (..., 3).

        All three coordinates are NaN where the pixel has no ray (see ``normalize``) or ``z`` is not positive.
        """
        normalized = self.normalize(pixels)
        z = np.broadcast_to(np.asarray(z, dtype=np.float64), normalized.shape[:-1])
        points = np.concatenate([normalized * z[..., None], z[..., None]], -1)
        points[~((z > 0) & np.isfinite(normalized[..., 0]))] = np.nan
        return points

    def distort(self, normalized: ArrayLike) -> Array:
        """Apply the lens to undistorted normalised coordinates (..., 2)."""
        return distort(np.asarray(normalized, dtype=np.float64), self.distortion)

    def normalize(self, pixels: ArrayLike) -> Array:
        """Undo intrinsics and lens: pixels (..., 2) to undistorted x/z, y/z.

        NaN where no ray within ``valid_radius`` is imaged.
        """
        target = (np.asarray(pixels, dtype=np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        return self._undistorted(np.ascontiguousarray(target))

    def rays(self) -> Array:
        """(H, W, 2) undistorted x/z, y/z of every pixel; NaN outside the valid radius."""
        target = np.empty((self.height, self.width, 2))
        target[..., 0] = (np.arange(self.width) - self.cx) / self.fx
        target[..., 1] = ((np.arange(self.height) - self.cy) / self.fy)[:, None]
        return self._undistorted(target)

    def _undistorted(self, target: Array) -> Array:
        """Undo the lens in ``target`` (..., 2), which becomes the answer."""
        if self.distortion.any():
            undistort(target, self.distortion, self.valid_radius)
        else:
            target[~(np.hypot(target[..., 0], target[..., 1]) <= self.max_radius)] = np.nan
        return target

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


def transfer_pixels(pixels: ArrayLike, z: ArrayLike, source: Camera, target: Camera, T_target_source: Rigid) -> Array:
    """Where another camera sees what a camera sees.

    Args:
        pixels: (..., 2) in the source camera's image.
        z: (...) depth in metres along the source camera's z axis.
        source: the camera of ``pixels``.
        target: the other one.
        T_target_source: source camera frame to target camera frame, metres.

    Returns:
        (..., 3): the target's pixel u, v, and the depth in metres along the target's z axis. NaN where the
        pixel has no ray, or the point lies behind the target camera or outside its lens.
    """
    points = T_target_source.apply(source.unproject(pixels, z))
    found = np.concatenate([target.project(points), points[..., 2:]], -1)
    found[np.isnan(found[..., 0])] = np.nan
    return found
