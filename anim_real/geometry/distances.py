"""Exact distances from points to triangles, and from surface to surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.geometry.bvh import BATCH, Tree, nearest
from anim_real.geometry.grids import morton_order
from anim_real.geometry.stripes import even_stripes, run_stripes

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Closest:
    """Nearest surface points of N queries.

    Attributes:
        distance: (N,) unsigned distance in metres.
        point: (N, 3) nearest point on the surface.
        face: (N,) int64 face it lies on.
    """

    distance: Array
    point: Array
    face: NDArray[np.int64]


class SurfaceDistance:
    """Triangles (V, 3) metres and (F, 3), prepared for nearest-point queries that are exact in double precision."""

    def __init__(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        positions = np.asarray(vertices, dtype=np.float64)
        self._tree = Tree.of(positions, np.ascontiguousarray(faces, dtype=np.int64))

    def closest(self, points: ArrayLike, *, is_sorted: bool = False) -> Closest:
        """Nearest surface point of each of points (N, 3) in the mesh's frame.

        Args:
            points: (N, 3) queries.
            is_sorted: the points are already near each other in memory; else they are visited in Morton order.
        """
        queries = np.ascontiguousarray(points, dtype=np.float64)
        place, row = np.empty((len(queries), 3)), np.empty(len(queries), dtype=np.int64)
        order = None if is_sorted or len(queries) == 0 else morton_order(queries)
        nearby = queries if order is None else queries[order]
        tree = self._tree
        run_stripes(
            lambda begin, end: nearest(nearby, begin, end, tree.corners, tree.boxes, tree.level, place, row),
            [min(BATCH * stripe, len(queries)) for stripe in even_stripes(-(-len(queries) // BATCH), min_rows=1)],
        )
        if order is not None:
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            place, row = place[back], row[back]
        return Closest(distance=np.linalg.norm(queries - place, axis=-1), point=place, face=tree.face[row])


def sample_surface(
    vertices: Array, faces: NDArray[np.int64], num_points: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Draw points uniformly by area: (P, 3) positions and the (P,) face each lies on."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(areas), size=num_points, p=areas / areas.sum())
    first, second = np.sqrt(rng.random(num_points)), rng.random(num_points)
    weights = np.stack([1.0 - first, first * (1.0 - second), first * second], 1)
    return np.einsum("pk,pkd->pd", weights, corners[face]), face
