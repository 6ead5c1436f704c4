"""The rational lens model of OpenCV and of the Azure Kinect, both ways, and how far it can be trusted.

Coordinates are undistorted or distorted x/z, y/z (no unit). Parameters are ``k1 k2 p1 p2 k3 k4 k5 k6``.
Far from the axis the model folds over: two rays would then share a pixel, and Newton's steps would
find either. The Jacobian of the model is symmetric, so on a disc where it is positive definite the
model is one-to-one; ``one_to_one_radius`` is the largest such disc, and nothing is inverted beyond it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Array = NDArray[np.float64]
_TABLE_RADIUS = 4.0  # of the table of first guesses: 76 degrees off the axis
_TABLE_SIZE = 1024


def distort(xy: Array, distortion: Array) -> Array:
    """Rational model of OpenCV (calib3d documentation) and k4a (SDK ``intrinsic_transformation.c``), (..., 2)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([xd, yd], -1)


@lru_cache(maxsize=256)
def one_to_one_radius(distortion: tuple[float, ...]) -> float:
    """Undistorted radius up to which no two rays share a pixel; ``inf`` if the lens never folds.

    With the radial factor f(r) the Jacobian's eigenvalues are f and (r f)', each moved by at most 6 |p| r
    by the tangential part (its spectral norm); the radius is the first at which one of them could be zero.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    r = Polynomial([0.0, 1.0])
    top, bottom = Polynomial([1.0, 0.0, k1, 0.0, k2, 0.0, k3]), Polynomial([1.0, 0.0, k4, 0.0, k5, 0.0, k6])
    moved = 6.0 * float(np.hypot(p1, p2)) * r
    slope = (r * top).deriv() * bottom - r * top * bottom.deriv()
    limits = (bottom, top - moved * bottom, slope - moved * bottom * bottom)
    return min(_least_positive_root(limit) for limit in limits)


def undistort(target: Array, distortion: Array, max_radius: float) -> None:
    """Invert ``distort`` in place by Newton's steps; NaN where no ray is within ``max_radius``.

    Args:
        target: (..., 2) distorted coordinates, contiguous; they become the undistorted ones.
        distortion: (8,) parameters.
        max_radius: undistorted; the lens must be one-to-one up to it.
    """
    from anim_real.geometry.lens_newton import newton  # numba takes most of a second to import

    assert target.flags.c_contiguous  # else reshape would copy
    flat = target.reshape(-1, 2)
    if len(flat) == 0:
        return
    largest = float(np.sqrt(np.nanmax((flat**2).sum(-1), initial=0.0)))
    radii = np.linspace(0.0, min(max_radius, _TABLE_RADIUS), 4 * _TABLE_SIZE, endpoint=False)
    distorted = distort(np.stack([radii, np.zeros_like(radii)], -1), np.where([1, 1, 0, 0, 1, 1, 1, 1], distortion, 0))
    reach = min(largest, float(distorted[-1, 0])) or 1.0
    guesses = np.interp(np.linspace(0.0, reach, _TABLE_SIZE), distorted[:, 0], radii)
    newton(flat, distortion, max_radius, guesses, (_TABLE_SIZE - 1) / reach)


def _least_positive_root(polynomial: Polynomial) -> float:
    roots = polynomial.trim().roots()
    real = roots.real[(np.abs(roots.imag) <= 1e-7 * np.abs(roots)) & (roots.real > 0)]
    return float(real.min(initial=np.inf))
