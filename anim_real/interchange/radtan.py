"""The nearest radial-tangential lens: four coefficients k1 k2 p1 p2 for a lens that has eight.

The rational lens of an Azure Kinect has no exact equal among them. Focal lengths, principal point and the four
coefficients are fitted together, to the pixels of an even grid over the whole image; what remains is stated in
pixels. The corners of a wide image remain worst.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
MAX_RMS_RAD = 2e-3  # 2 mm at 1 m; in pixels times the focal length, so that a mode's resolution does not count
_COLUMNS, _ROWS = 61, 46  # of the grid; from pixel to pixel of the border


@dataclass(frozen=True, kw_only=True, eq=False)
class LensFit:
    """A camera with the nearest lens of four coefficients, and what it misses.

    Attributes:
        camera: distortion k1 k2 p1 p2 0 0 0 0.
        rms_px, max_px: distance between the pixels of the same rays in both cameras, over the image.
    """

    camera: Camera
    rms_px: float
    max_px: float


def nearest_radtan(camera: Camera, *, name: str) -> LensFit:
    """Fit; a lens that has only the four coefficients is returned as it is, with residual 0.

    Raises:
        DataError: the residual exceeds ``MAX_RMS_RAD``, or the fitted lens folds over inside the image.
    """
    if not camera.distortion[4:].any():
        return LensFit(camera=replace(camera, max_radius=np.inf), rms_px=0.0, max_px=0.0)
    pixels, rays = _grid(camera)
    fitted = _fit(camera, pixels, rays)
    error = np.linalg.norm(_project(fitted, rays) - pixels, axis=-1)
    found = LensFit(camera=fitted, rms_px=float(np.sqrt(np.mean(error**2))), max_px=float(error.max()))
    limit_px = MAX_RMS_RAD * (camera.fx + camera.fy) / 2
    if found.rms_px > limit_px or fitted.valid_radius < np.hypot(*rays.T).max():
        raise DataError(
            f"the nearest lens of four coefficients misses by {found.rms_px:.2f} px rms, {found.max_px:.1f} px at most "
            f"(limit {limit_px:.2f} px rms, 2 mm at 1 m), or folds over inside the image", where=f"camera {name}",
            fix="Use a format with eight coefficients, or undistort the images and export pinhole cameras",
        )  # fmt: skip
    return found


def _grid(camera: Camera) -> tuple[Array, Array]:
    """Pixels (N, 2) of the grid that have a ray, and the rays' x/z, y/z (N, 2)."""
    columns = np.linspace(0.0, camera.width - 1.0, _COLUMNS)
    rows = np.linspace(0.0, camera.height - 1.0, _ROWS)
    pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    rays = camera.normalize(pixels)
    is_seen = np.isfinite(rays).all(-1)
    return pixels[is_seen], rays[is_seen]


def _fit(camera: Camera, pixels: Array, rays: Array) -> Camera:
    from scipy.optimize import least_squares

    start = np.array([camera.fx, camera.fy, camera.cx, camera.cy, 0.0, 0.0, 0.0, 0.0])
    solved = least_squares(
        lambda values: (_project(_camera(camera, values), rays) - pixels).ravel(), start, x_scale="jac", ftol=1e-14,
        xtol=1e-14, gtol=1e-14,
    )  # fmt: skip
    return _camera(camera, solved.x)


def _camera(camera: Camera, values: Array) -> Camera:
    fx, fy, cx, cy, *lens = (float(value) for value in values)
    return replace(camera, fx=fx, fy=fy, cx=cx, cy=cy, distortion=np.array(lens), max_radius=np.inf)


def _project(camera: Camera, rays: Array) -> Array:
    return camera.distort(rays) * (camera.fx, camera.fy) + (camera.cx, camera.cy)
