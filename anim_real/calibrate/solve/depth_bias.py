"""Depth pixels on the scanned object: which face each looks at, and how its depth follows the pose and the bias.

The depth error is along the viewing ray, so the residual is measured z against the z at which the ray
meets the face's plane; the bias model is ``z_measured = z (1 + slope) + offset``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anim_real.calibrate.observations import Placement
from anim_real.calibrate.solve.intrinsics import rays_with_jacobian
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_MIN_COSINE = 0.4  # beyond 66 degrees of incidence depth is too noisy, and the hit too uncertain
_EDGE_STEP_M = 0.02  # predicted depth over 3 px; a surface inclined by 68 degrees at 2 m reaches it too
_EDGE_PX = 3  # flying pixels reach this far from an edge
_MARGIN_PX = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthPoints:
    """Depth pixels of one placement, each with the plane of the face it looks at.

    Attributes:
        factory_rays: (N, 3) x/z, y/z, 1 in the depth camera as the factory has it.
        rays_by_lens: (N, 2, 3) derivative of x/z, y/z by the depth lens parameters (``state.State.depth_lens``).
        z_measured: (N,) metres.
        anchors_scan, normals_scan: (N, 3) a point and the unit normal of the plane, frame scan.
    """

    factory_rays: Array
    rays_by_lens: Array
    z_measured: Array
    anchors_scan: Array
    normals_scan: Array

    def __len__(self) -> int:
        return len(self.z_measured)

    def rays(self, lens: Array) -> Array:
        """(N, 3) rays under lens parameters (3,)."""
        rays = self.factory_rays.copy()
        rays[:, :2] += self.rays_by_lens @ lens
        return rays


@dataclass(frozen=True, kw_only=True, eq=False)
class RayImage:
    """Rays of every pixel of a depth camera, and how they follow its focal length and centre.

    Attributes:
        rays: (h, w, 2) x/z, y/z; NaN outside the lens' valid radius.
        by_lens: (h, w, 2, 3) derivative by relative focal length and centre (px).
    """

    rays: Array
    by_lens: Array

    @classmethod
    def of(cls, camera: Camera) -> RayImage:
        """Compute both."""
        rays, by_lens = rays_with_jacobian(camera)
        return cls(rays=rays, by_lens=by_lens)


def predict_depth(points: DepthPoints, rays: Array, T_depth_scan: Rigid) -> tuple[Array, Array, Array]:
    """True z (N,) at which rays meet their planes, plane normals (N, 3) in the depth frame and n·ray (N,)."""
    normals = T_depth_scan.rotate(points.normals_scan)
    anchors = T_depth_scan.apply(points.anchors_scan)
    towards = np.einsum("ni,ni->n", normals, rays)
    return np.einsum("ni,ni->n", normals, anchors) / towards, normals, towards


def associate(
    placement: Placement,
    camera: Camera,
    image: RayImage,
    lens: Array,
    T_depth_scan: Rigid,
    *,
    max_points: int,
    max_error_m: float,
) -> DepthPoints:
    """Find the depth pixels that show the object under a pose.

    Args:
        placement: its scan and depth image.
        camera: the depth camera.
        image: its rays.
        lens: (3,) current lens parameters.
        T_depth_scan: current pose.
        max_points: at most so many, spread evenly.
        max_error_m: pixels whose depth is further from the prediction show something else.

    Pixels near edges of the object and at grazing incidence are left out.
    """
    rows, columns = _window(camera, T_depth_scan.apply(placement.surface.vertices))
    factory_rays = image.rays[rows, columns].reshape(-1, 2)
    by_lens = image.by_lens[rows, columns].reshape(-1, 2, 3)
    local_rays = factory_rays + by_lens @ lens
    valid = np.isfinite(local_rays).all(1)
    directions = np.concatenate([np.nan_to_num(local_rays), np.ones((len(local_rays), 1))], 1)
    T_scan_depth = T_depth_scan.inverse()
    hits = placement.surface.scene.cast(T_scan_depth.translation, T_scan_depth.rotate(directions))
    z_scene = np.where(hits.is_hit & valid, hits.distance, np.nan)
    shape = image.rays[rows, columns].shape[:2]
    inner = _inner(z_scene.reshape(shape)).ravel()
    measured = placement.depth_m[rows, columns].ravel()
    keep = np.flatnonzero(inner & np.isfinite(measured))
    keep = keep[np.abs(measured[keep] - z_scene[keep]) < max_error_m]
    corners = placement.surface.vertices[placement.surface.faces[hits.face[keep]]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-30)[:, None]
    view = T_scan_depth.rotate(directions[keep])
    cosine = np.abs(np.einsum("ni,ni->n", normals, view)) / np.linalg.norm(view, axis=1)
    good = np.flatnonzero((cosine > _MIN_COSINE) & (length > 0))
    if len(good) > max_points:
        good = good[np.linspace(0, len(good) - 1, max_points).round().astype(int)]
    chosen = keep[good]
    return DepthPoints(
        factory_rays=np.concatenate([factory_rays[chosen], np.ones((len(chosen), 1))], 1),
        rays_by_lens=by_lens[chosen],
        z_measured=measured[chosen],
        anchors_scan=corners[good, 0],
        normals_scan=normals[good],
    )


def _window(camera: Camera, points_depth: Array) -> tuple[slice, slice]:
    """Rows and columns of the image that the points cover."""
    ahead = points_depth[points_depth[:, 2] > 0.1]
    if len(ahead) == 0:
        return slice(0, 0), slice(0, 0)
    pixels = ahead[:, :2] / ahead[:, 2:] * (camera.fx, camera.fy) + (
        camera.cx,
        camera.cy,
    )  # the lens moves it by the margin only
    low = np.clip(np.floor(pixels.min(0)).astype(int) - 4 * _MARGIN_PX, 0, (camera.width, camera.height))
    high = np.clip(np.ceil(pixels.max(0)).astype(int) + 4 * _MARGIN_PX, 0, (camera.width, camera.height))
    return slice(low[1], high[1]), slice(low[0], high[0])


def _inner(z: Array) -> NDArray[np.bool_]:
    """Pixels whose whole neighbourhood lies on one smooth part of the object."""
    if z.size == 0:
        return np.zeros(z.shape, bool)
    filled = np.where(np.isfinite(z), z, 100.0)
    size = 2 * _EDGE_PX + 1
    spread = ndimage.maximum_filter(filled, 3) - ndimage.minimum_filter(filled, 3)
    rough = (spread > _EDGE_STEP_M) | ~np.isfinite(z)
    return np.logical_not(ndimage.binary_dilation(rough, np.ones((size, size), bool)))
