"""Fits of a sphere of known radius: to depth pixels along their rays, and to a scanned surface. Metres.

A depth pixel errs along its ray, so what is fitted is the depth at which the ray meets the sphere, not a distance to
its surface. A second fit leaves the radius free: a sphere that comes out too large or too small is dented, hidden in
part, another one, or was blurred at its edge, and tells nothing of its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.spheres.robust_fit import Estimate, Rows, robust_fit

Array = NDArray[np.float64]
MIN_COSINE = 0.5  # beyond 60 degrees of incidence depth is noisy, and a pixel's footprint is curved
_NOISE_POWER = 1.5  # variance of depth by 1 / cosine (``studio.noise``: amplitude to the power of 0.75)
_MIN_PIXELS = 40
_MAX_PIXELS = 2500  # looked at: more only cost time
_MIN_POINTS = 60
_RANGE_BIN_M = 0.004  # over which no depth error that depends on range changes by more than its slope
_CELLS = 2.5  # per radius: neighbours within a cell may share their errors
_POST_COSINE = 0.85  # within 32 degrees of its post a sphere may be rounded into it


@dataclass(frozen=True, kw_only=True, eq=False)
class SphereFit:
    """A sphere found.

    Attributes:
        center: (3,) metres.
        covariance: (3, 3) of the centre at the known radius.
        radius_error_m, radius_sigma_m: radius found when it is free, minus the known one; its standard deviation.
        sigma_m: spread of the residuals.
        num_kept: observations used.
        share_kept: of those that could have been on the sphere.
    """

    center: Array
    covariance: Array
    radius_error_m: float
    radius_sigma_m: float
    sigma_m: float
    num_kept: int
    share_kept: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RangeFit(SphereFit):
    """A sphere found in a depth image, and how its centre follows errors that its pixels share.

    Attributes:
        by_error: (3, 4) derivative of the centre by errors of the measured z of 1, x, y, z: of each pixel's point as
            the factory's camera has it, metres.
        by_range: (3, M) derivative by an error along the rays of the pixels at every range, see ``ranges``.
        ranges, per_z: (M,) measured range (metres) of the pixels taken together, and their range per unit of z.
        by_lens: (3, 3) derivative of the centre by the depth lens parameters (``state.State.depth_lens``).
    """

    by_error: Array
    by_range: Array
    ranges: Array
    per_z: Array
    by_lens: Array


def fit_range_sphere(rays: Array, rays_by_lens: Array, z: Array, radius_m: float, start: Array) -> RangeFit | None:
    """Fit a sphere to depth pixels; None when too few of them are on it.

    Args:
        rays: (N, 3) x/z, y/z, 1 of every pixel near the sphere.
        rays_by_lens: (N, 2, 3) derivative of the rays by the lens parameters.
        z: (N,) measured depth along z, metres; NaN = none.
        radius_m: the sphere's radius.
        start: (3,) where its centre is expected, within a few centimetres.
    """
    seen = np.isfinite(z) & np.isfinite(rays).all(1)
    if seen.sum() > _MAX_PIXELS:
        seen[np.delete(np.flatnonzero(seen), np.linspace(0, seen.sum() - 1, _MAX_PIXELS).round().astype(int))] = False
    rays, rays_by_lens, z = rays[seen], rays_by_lens[seen], z[seen]

    def rows_at(parameters: Array) -> Rows:
        center = parameters[:3]
        radius = parameters[3] if len(parameters) == 4 else radius_m
        z_met, normals, towards = meet_sphere(rays, center, radius)
        cosine = -towards / np.linalg.norm(rays, axis=1)
        good = cosine > MIN_COSINE  # False for NaN
        slope = np.where(good, towards, -1.0)[:, None]
        jacobian = np.concatenate([normals, np.ones((len(z), 1))], 1)[:, : len(parameters)] / slope
        return Rows(
            residual=np.where(good, z - z_met, 0.0),
            jacobian=np.where(good[:, None], jacobian, 0.0),
            weight=np.where(good, cosine, 0.0) ** _NOISE_POWER,
            cell=_cells(rays * np.where(good, z_met, 1.0)[:, None] - center, radius),
        )

    found = robust_fit(rows_at, start, min_rows=_MIN_PIXELS)
    if found is None:
        return None
    free = robust_fit(rows_at, np.r_[found.parameters, radius_m], min_rows=_MIN_PIXELS)
    if free is None:
        return None
    kept = found.kept
    rays, z, response = rays[kept], z[kept], found.response[:, kept]
    z_met, normals, towards = meet_sphere(rays, found.parameters, radius_m)
    by_ray = -z_met[:, None] * normals[:, :2] / towards[:, None]
    per_z = np.linalg.norm(rays, axis=1)
    bins, bin_of = np.unique(np.floor(z * per_z / _RANGE_BIN_M), return_inverse=True)

    def binned(values: Array) -> Array:
        return np.bincount(bin_of.ravel(), values, len(bins)).astype(np.float64)

    count = binned(np.ones(len(z)))
    return RangeFit(
        **_values(found, free, radius_m),
        by_error=response @ np.c_[np.ones(len(z)), rays * z[:, None]],
        by_range=np.stack([binned(row / per_z) for row in response]),
        ranges=binned(z * per_z) / count,
        per_z=binned(per_z) / count,
        by_lens=response @ np.einsum("ni,nij->nj", by_ray, rays_by_lens[kept]),
    )


def meet_sphere(rays: Array, center: Array, radius: float) -> tuple[Array, Array, Array]:
    """True z (N,) at which rays (N, 3) with z = 1 first meet a sphere, its normals there (N, 3) and normal·ray (N,).

    NaN for rays that miss it.
    """
    along = rays @ center
    squared = (rays**2).sum(1)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(along**2 - squared * (center @ center - radius**2))
    z = (along - root) / squared
    normals = (rays * z[:, None] - center) / radius
    return z, normals, -root / radius


def fit_surface_sphere(points: Array, radius_m: float, start: Array, *, post: Array | None = None) -> SphereFit | None:
    """Fit a sphere to points of its surface by their distances; None when too few of them are on it.

    Args:
        points: (N, 3) points near the sphere.
        radius_m: the sphere's radius.
        start: (3,) where its centre is expected, within a few centimetres.
        post: (3,) unit vector from the centre to its post, which is left out; None = no post.
    """

    def rows_at(parameters: Array) -> Rows:
        radius = parameters[3] if len(parameters) == 4 else radius_m
        away = points - parameters[:3]
        distance = np.linalg.norm(away, axis=1)
        outward = away / np.maximum(distance, 1e-12)[:, None]
        is_free = np.ones(len(points), bool) if post is None else outward @ post < _POST_COSINE
        return Rows(
            residual=distance - radius,
            jacobian=np.c_[outward, np.ones(len(points))][:, : len(parameters)],
            weight=is_free.astype(np.float64),
            cell=_cells(away, radius),
        )

    found = robust_fit(rows_at, start, min_rows=_MIN_POINTS)
    if found is None:
        return None
    free = robust_fit(rows_at, np.r_[found.parameters, radius_m], min_rows=_MIN_POINTS)
    return None if free is None else SphereFit(**_values(found, free, radius_m))


def _values(found: Estimate, free: Estimate, radius_m: float) -> dict[str, Any]:
    """Fields of a fit, from the estimates with the radius held and free."""
    return {
        "center": found.parameters,
        "covariance": found.covariance,
        "radius_error_m": float(free.parameters[3] - radius_m),
        "radius_sigma_m": float(np.sqrt(free.covariance[3, 3])),
        "sigma_m": found.sigma_m,
        "num_kept": int(found.kept.sum()),
        "share_kept": float(found.kept.sum() / found.num_rows),
    }


def _cells(away: Array, radius: float) -> NDArray[np.int64]:
    """(N,) number of the cube in which each point (N, 3), from the centre, lies."""
    cube = np.floor(np.nan_to_num(away) * (_CELLS / radius)).astype(np.int64) + 512
    return (cube[:, 0] * 1024 + cube[:, 1]) * 1024 + cube[:, 2]
