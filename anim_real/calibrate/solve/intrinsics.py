"""How pixels and rays move with camera points, focal length and centre; analytic derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]


def lens_with_jacobian(camera: Camera, normalized: Array) -> tuple[Array, Array]:
    """Bent coordinates (N, 2) of undistorted x/z, y/z (N, 2), and the derivative (N, 2, 2); OpenCV's model."""
    k1, k2, p1, p2, k3, k4, k5, k6 = camera.distortion
    x, y = normalized[:, 0], normalized[:, 1]
    r2 = x * x + y * y
    top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = top / bottom
    slope = ((k1 + r2 * (2 * k2 + 3 * k3 * r2)) * bottom - top * (k4 + r2 * (2 * k5 + 3 * k6 * r2))) / bottom**2
    jacobian = np.empty((len(normalized), 2, 2))
    jacobian[:, 0, 0] = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    jacobian[:, 0, 1] = jacobian[:, 1, 0] = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    jacobian[:, 1, 1] = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    return camera.distort(normalized), jacobian


def project_with_jacobian(camera: Camera, points: Array) -> tuple[Array, Array]:
    """Pixels (N, 2) of camera points (N, 3) in metres, and their derivative (N, 2, 3) by the points.

    There is no check of the valid radius, so that the solver sees a smooth function.
    """
    z = points[:, 2]
    normalized = points[:, :2] / z[:, None]
    bent, lens = lens_with_jacobian(camera, normalized)
    focal = np.array([camera.fx, camera.fy])
    perspective = np.zeros((len(points), 2, 3))
    perspective[:, 0, 0] = perspective[:, 1, 1] = 1.0 / z
    perspective[:, :, 2] = -normalized / z[:, None]
    return bent * focal + (camera.cx, camera.cy), lens * focal[None, :, None] @ perspective


def rays_with_jacobian(camera: Camera) -> tuple[Array, Array]:
    """Undistorted x/z, y/z (H, W, 2) of every pixel, and its derivative (H, W, 2, 3) as of ``rays_by_lens``.

    NaN outside the lens' valid radius.
    """
    rays = camera.rays()
    return rays, rays_by_lens(camera, rays.reshape(-1, 2)).reshape(*rays.shape, 3)


def rays_by_lens(camera: Camera, rays: Array) -> Array:
    """Derivative (N, 2, 3) of pixels' rays x/z, y/z (N, 2) by relative focal length and centre (px)."""
    bent, lens = lens_with_jacobian(camera, rays)
    by_bent = np.zeros((len(rays), 2, 3))
    by_bent[:, :, 0] = -bent  # bent = (pixel - centre) / focal
    by_bent[:, 0, 1], by_bent[:, 1, 2] = -1.0 / camera.fx, -1.0 / camera.fy
    determinant = lens[:, 0, 0] * lens[:, 1, 1] - lens[:, 0, 1] * lens[:, 1, 0]
    inverse = np.stack([np.stack([lens[:, 1, 1], -lens[:, 0, 1]], 1), np.stack([-lens[:, 1, 0], lens[:, 0, 0]], 1)], 1)
    return inverse / determinant[:, None, None] @ by_bent


def adjusted(camera: Camera, relative_focal: Array, center_px: Array) -> Camera:
    """Return a camera whose focal lengths and centre are changed.

    Args:
        camera: the factory's.
        relative_focal: (2,) common relative change of fx and fy, and a further one of fy.
        center_px: (2,) shift of the centre.
    """
    return replace(
        camera,
        fx=camera.fx * (1.0 + relative_focal[0]),
        fy=camera.fy * (1.0 + relative_focal[0] + relative_focal[1]),
        cx=camera.cx + center_px[0],
        cy=camera.cy + center_px[1],
    )
