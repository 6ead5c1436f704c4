"""A textured scan seen in parallel projections: grey images with the surface point of every pixel.

Nothing is assumed of the scanner's texture layout. Frame ``scan``, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.raycast import Hits, RayScene
from anim_real.mesh import Mesh

Array = NDArray[np.float64]
_MAX_VIEW_PX = 1500
_ELEVATIONS_DEG = (8.0, 40.0)
NUM_AZIMUTHS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class ParallelView:
    """A parallel projection: pixel (u, v) looks along ``-out`` from ``center + px_m*((u-cu) right - (v-cv) up)``."""

    center: Array
    right: Array
    up: Array
    px_m: float
    width: int
    height: int

    @property
    def out(self) -> Array:
        """(3,) direction towards the viewer."""
        return np.cross(self.right, self.up)

    def origins(self, pixels: Array, distance: float) -> Array:
        """(..., 3) ray starts of pixels (..., 2), ``distance`` metres before the centre."""
        u = (pixels[..., 0:1] - (self.width - 1) / 2) * self.px_m
        v = (pixels[..., 1:2] - (self.height - 1) / 2) * self.px_m
        return self.center + distance * self.out + u * self.right - v * self.up

    def pixels(self) -> Array:
        """(H, W, 2) all pixel positions."""
        return np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1).astype(np.float64)


class TexturedScan:
    """A scan prepared for ray casting, with its grey texture or vertex colours."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.scene = RayScene(mesh.vertices, mesh.faces)
        corners = mesh.corners
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.face_normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        self.center = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
        self.radius = float(np.linalg.norm(mesh.vertices - self.center, axis=1).max())
        self._grey = (
            None if mesh.texture is None else np.asarray(cv2.cvtColor(mesh.texture, cv2.COLOR_RGB2GRAY), np.uint8)
        )
        self._vertex_grey = None if mesh.colors is None else mesh.colors.astype(np.float64).mean(1)

    @property
    def has_texture(self) -> bool:
        """Whether corners can be looked for at all."""
        return (self._grey is not None and self.mesh.uv is not None) or self._vertex_grey is not None

    def hits(self, view: ParallelView, pixels: Array) -> tuple[Hits, Array]:
        """Cast the rays of pixels (N, 2); return hits and (N, 3) float64 positions (NaN = none)."""
        distance = 2 * self.radius + float(np.linalg.norm(view.center - self.center))
        origins = view.origins(pixels, distance)
        hits = self.scene.cast(origins, np.broadcast_to(-view.out, origins.shape))
        return hits, origins - np.where(hits.is_hit, hits.distance, np.nan)[:, None] * view.out

    def grey(self, hits: Hits) -> NDArray[np.uint8]:
        """(N,) grey value at hits; 128 where nothing was hit."""
        values = np.full(len(hits.face), 128.0)
        found = hits.is_hit
        faces, weights = self.mesh.faces[hits.face[found]], hits.barycentric[found]
        if self._grey is not None and self.mesh.uv is not None:
            uv = np.einsum("nk,nkc->nc", weights, self.mesh.uv[faces])
            height, width = self._grey.shape
            x = (uv[:, 0] * width - 0.5).astype(np.float32)
            y = ((1.0 - uv[:, 1]) * height - 0.5).astype(np.float32)
            values[found] = _sample(self._grey, x, y)
        elif self._vertex_grey is not None:
            values[found] = np.einsum("nk,nk->n", weights, self._vertex_grey[faces])
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def render(self, view: ParallelView) -> tuple[NDArray[np.uint8], Array]:
        """Grey image (H, W) and positions (H, W, 3) of a view."""
        hits, points = self.hits(view, view.pixels().reshape(-1, 2))
        shape = (view.height, view.width)
        return self.grey(hits).reshape(shape), points.reshape(*shape, 3)


def views_around(scan: TexturedScan, px_m: float, up: Array) -> list[ParallelView]:
    """Views of the whole scan from all sides, ``NUM_AZIMUTHS`` low ones first, then as many from above.

    Args:
        scan: what is looked at.
        px_m: metres per pixel; larger where the image would get too large.
        up: (3,) upward direction in the scan frame.
    """
    up = up / np.linalg.norm(up)
    side = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    side /= np.linalg.norm(side)
    px_m = max(px_m, 2 * scan.radius / _MAX_VIEW_PX)
    views = []
    relative = scan.mesh.vertices - scan.center
    for elevation in np.radians(_ELEVATIONS_DEG):
        for azimuth in np.arange(NUM_AZIMUTHS) * 2 * np.pi / NUM_AZIMUTHS:
            flat = np.cos(azimuth) * side + np.sin(azimuth) * np.cross(up, side)
            out = np.cos(elevation) * flat + np.sin(elevation) * up
            right = np.asarray(np.cross(up, out) / np.linalg.norm(np.cross(up, out)), dtype=np.float64)
            view_up = np.cross(out, right)
            half_x, half_y = np.abs(relative @ right).max(), np.abs(relative @ view_up).max()
            width, height = (int(np.ceil(2 * half / px_m)) + 8 for half in (half_x, half_y))
            views.append(
                ParallelView(center=scan.center, right=right, up=view_up, px_m=px_m, width=width, height=height)
            )
    return views


def _sample(image: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> Array:
    """Bilinear look-up at N positions; ``cv2.remap`` wants fewer than 32768 rows and columns."""
    columns = 1024
    padding = -len(x) % columns
    grid_x, grid_y = (np.pad(values, (0, padding)).reshape(-1, columns) for values in (x, y))
    rows = [
        cv2.remap(
            image,
            grid_x[start : start + 16384],
            grid_y[start : start + 16384],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for start in range(0, len(grid_x), 16384)
    ]
    return np.concatenate(rows).ravel()[: len(x)].astype(np.float64) if rows else np.zeros(0)
