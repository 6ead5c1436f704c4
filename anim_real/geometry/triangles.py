"""Triangles by themselves, without a mesh."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@numba.njit(cache=True)
def area_vectors(vertices: Array, faces: NDArray[np.int64]) -> tuple[Array, Array]:
    """(F, 3) normals of faces (F, 3), as long as the faces are large, and these areas (F,)."""
    vectors, areas = np.empty((len(faces), 3)), np.empty(len(faces))
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = 0.5 * (uy * vz - uz * vy), 0.5 * (uz * vx - ux * vz), 0.5 * (ux * vy - uy * vx)
        vectors[f, 0], vectors[f, 1], vectors[f, 2] = x, y, z
        areas[f] = np.sqrt(x * x + y * y + z * z)
    return vectors, areas


@numba.njit(cache=True)
def enclosed_volume(vertices: Array, faces: NDArray[np.int64], about: Array) -> float:
    """Signed volume of the cones from a point (3,) to faces (F, 3); of a closed surface, its volume (Gauss)."""
    total = 0.0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[a, 0] - about[0], vertices[a, 1] - about[1], vertices[a, 2] - about[2]
        bx, by, bz = vertices[b, 0] - about[0], vertices[b, 1] - about[1], vertices[b, 2] - about[2]
        cx, cy, cz = vertices[c, 0] - about[0], vertices[c, 1] - about[1], vertices[c, 2] - about[2]
        total += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return total / 6.0


def cut_fine(triangles: Array, longest: float) -> Array:
    """Halve triangles (T, 3, 3) at their longest edge until no edge is longer than ``longest``."""
    return cut_with_source(triangles, longest)[0]


def cut_with_source(triangles: Array, longest: float) -> tuple[Array, NDArray[np.int64]]:
    """The same, and the triangle (N,) that each of the N pieces is of."""
    pending, source = triangles, np.arange(len(triangles))
    done, sources = [], []
    while len(pending):
        sides = pending[:, (1, 2, 0)] - pending
        edges = np.einsum("fkd,fkd->fk", sides, sides)  # squared lengths
        long = np.maximum(np.maximum(edges[:, 0], edges[:, 1]), edges[:, 2]) > longest**2
        done.append(pending[~long])
        sources.append(source[~long])
        pending, source, edges = pending[long], source[long], edges[long]
        if len(pending):
            turn = (edges.argmax(1)[:, None] + np.arange(3)) % 3
            a, b, c = np.moveaxis(np.take_along_axis(pending, turn[..., None], 1), 1, 0)
            middle = (a + b) / 2
            pending = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
            source = np.concatenate([source, source])
    if not done:
        return triangles, source
    return np.concatenate(done), np.concatenate(sources)
