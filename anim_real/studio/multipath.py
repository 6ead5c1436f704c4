"""Light that reaches a pixel by way of other surfaces: patches of a few decimetres measure too far by up to 2 mm.

Where the light goes is not traced. Patches are drawn on what stands in the studio, mostly where it is hollow as the
camera sees it; their size and smoothness are those of such errors. Frame ``depth``, metres; errors along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
Image = NDArray[np.float32]
_RADIUS_M = 0.10
_NUM_PATCHES = 2
_HOLLOW_M = 0.05  # scale over which a surface is called hollow
_NEIGHBOUR_M = 0.15  # a surface further behind or before is another one
_FLAT_SHARE = 0.002  # weight of a surface that is not hollow at all, metres of hollowness


@dataclass(frozen=True, kw_only=True, eq=False)
class MultipathPatch:
    """One patch: the error is ``amplitude_m * exp(-distance² / (2 radius_m²))`` about ``center_depth`` (3,)."""

    center_depth: Array
    amplitude_m: float
    radius_m: float = _RADIUS_M


def draw_patches(
    z: Image, is_object: NDArray[np.bool_], rays: Image, largest_m: float, rng: np.random.Generator
) -> tuple[MultipathPatch, ...]:
    """Draw the patches of one scene.

    Args:
        z: (h, w) true depth.
        is_object: (h, w) pixels that show what stands in the studio; none leads to no patches.
        rays: (h, w, 3) directions of the pixels, z = 1.
        largest_m: amplitudes lie between 0 and this.
        rng: random numbers; equally many are drawn whatever is seen.
    """
    places, amplitudes = rng.random(_NUM_PATCHES), rng.uniform(0.0, largest_m, _NUM_PATCHES)
    if largest_m == 0 or not is_object.any():
        return ()
    rows, columns = np.nonzero(is_object)
    share = np.cumsum(_hollowness(z, is_object, rays)[rows, columns] + _FLAT_SHARE)
    chosen = np.minimum(np.searchsorted(share, places * share[-1]), len(rows) - 1)
    points = rays[rows[chosen], columns[chosen]].astype(np.float64) * z[rows[chosen], columns[chosen], None]
    return tuple(
        MultipathPatch(center_depth=point, amplitude_m=float(amplitude))
        for point, amplitude in zip(points, amplitudes, strict=True)
    )


def multipath_error(points_depth: Array, patches: tuple[MultipathPatch, ...]) -> Array:
    """(...,) error in metres along the ray at points (..., 3) of the depth camera: the largest of all patches'."""
    error = np.zeros(points_depth.shape[:-1])
    for patch in patches:
        squared = ((points_depth - patch.center_depth) ** 2).sum(-1)
        np.maximum(error, patch.amplitude_m * np.exp(-0.5 * squared / patch.radius_m**2), out=error)
    return error


def _hollowness(z: Image, is_object: NDArray[np.bool_], rays: Image) -> Array:
    """(h, w) by how much the object's surface around a pixel is nearer than there, metres; 0 where it is not."""
    middle = float(np.median(z[is_object]))
    pixel_m = middle * float(np.median(np.abs(np.diff(rays[..., 0], axis=1))))
    weight = is_object.astype(np.float64)
    sigma = _HOLLOW_M / pixel_m
    depth = np.where(is_object, z, 0.0)
    around = gaussian_filter(depth, sigma) / np.maximum(gaussian_filter(weight, sigma), 1e-6)
    hollow = np.clip(depth - around, 0.0, _NEIGHBOUR_M)
    return np.where(is_object, hollow, 0.0)
