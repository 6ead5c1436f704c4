"""Casting rays at triangle meshes (Embree, through open3d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """First hits of N rays.

    Attributes:
        distance: (N,) ray parameter of the hit, in lengths of the given direction; inf = no hit.
        face: (N,) int64 face index, -1 = no hit.
        barycentric: (N, 3) float64 weights of the face's three vertices.
    """

    distance: NDArray[np.float64]
    face: NDArray[np.int64]
    barycentric: NDArray[np.float64]

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """(N,) whether the ray met a face."""
        return self.face >= 0


class RayScene:
    """Triangles (V, 3) metres and (F, 3), prepared for ray queries."""

    def __init__(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        import open3d as o3d

        tensor: Any = o3d.core.Tensor
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            tensor(np.asarray(vertices, dtype=np.float32)), tensor(np.asarray(faces, dtype=np.uint32))
        )
        self._tensor = tensor

    def cast(self, origins: ArrayLike, directions: ArrayLike) -> Hits:
        """Cast rays: origins (N, 3) or (3,) metres, directions (N, 3), not necessarily of unit length."""
        directions = np.asarray(directions, dtype=np.float32)
        origins = np.broadcast_to(np.asarray(origins, dtype=np.float32), directions.shape)
        answer = self._scene.cast_rays(self._tensor(np.concatenate([origins, directions], -1)))
        face = answer["primitive_ids"].numpy().astype(np.int64)
        distance = answer["t_hit"].numpy().astype(np.float64)
        face[~np.isfinite(distance)] = -1
        uv = answer["primitive_uvs"].numpy().astype(np.float64)
        barycentric = np.concatenate([1.0 - uv.sum(-1, keepdims=True), uv], -1)
        return Hits(distance=distance, face=face, barycentric=barycentric)

    def occluded(self, origins: ArrayLike, targets: ArrayLike, margin: float = 1e-4) -> NDArray[np.bool_]:
        """(N,) whether something blocks the segments from origins (N, 3) to targets (N, 3).

        Both ends are shortened by ``margin`` metres.
        """
        origins = np.asarray(origins, dtype=np.float64)
        targets = np.asarray(targets, dtype=np.float64)
        direction = targets - origins
        length = np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-12)
        unit = direction / length
        rays = np.concatenate([origins + margin * unit, unit], -1).astype(np.float32)
        far = (length[..., 0] - 2 * margin).astype(np.float32)
        hit = self._scene.cast_rays(self._tensor(rays))["t_hit"].numpy()
        return hit < far
