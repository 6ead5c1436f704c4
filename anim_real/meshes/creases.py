"""Vertices on creases, which marching cubes alone cuts off by up to a third of a cell.

Where the scan's normals on the sides of a cell differ, the cell's polygon gets a vertex in its middle, where the
tangent planes meet (Kobbelt et al. 2001, Extended Marching Cubes; the planes' meeting point in least squares), drawn to
the nearest point of the scan; then edges between two such cells are turned so that they run along the crease.
A polygon becomes a fan and pairs of its triangles swap their diagonal: so the surface stays a closed manifold.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.distances import SurfaceDistance
from anim_real.meshes.marching import CrossedEdges, loops_of, polygons

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_MAX_COSINE = 0.88  # of normals on one polygon: 28 degrees; less is a bend that flat faces follow
_MIN_STIFFNESS = 0.05  # of the largest eigenvalue: planes that differ less do not say where they meet
_REACH_CELLS = 0.4  # new vertices lie at most this far outside their cell
_MIN_AREA_CELLS = 1e-3  # of new faces, in squared cells
_MIN_FACING = 0.1  # cosine between a new face and the scan's normal at its corners
_MAX_LOOP = 7


def sharpen(
    corner: Array,
    cell_m: float,
    pattern: NDArray[np.uint8],
    edges: CrossedEdges,
    vertices: Array,
    normals: Array,
    surface: SurfaceDistance,
) -> tuple[Array, Indices, Indices]:
    """Make the faces of cells, with new vertices in those that a crease runs through.

    Args:
        corner: (C, 3) lower corners of the cells.
        cell_m: their edge length.
        pattern: (C,) sign patterns.
        edges: the E crossed edges of the cells.
        vertices: (E, 3) one vertex per crossed edge.
        normals: (E, 3) unit normals of the scan there; zero over holes.
        surface: the scan.

    Returns:
        (E + N, 3) vertices, (F, 3) faces, and for each vertex (E + N,) a crossed edge on the same part of the scan.
    """
    loops, lengths = _single_loops()
    cells = _creased(pattern, edges.of_cell, normals, loops, lengths, _MAX_COSINE)
    loop = loops[pattern[cells]]
    polygon = np.where(loop >= 0, np.take_along_axis(edges.of_cell[cells], np.maximum(loop, 0), 1), -1).astype(np.int64)
    middle = surface.closest(_meeting_points(polygon, vertices, normals)).point
    fits = _fits(middle, polygon, corner[cells], cell_m, vertices, normals)
    cells, polygon, middle = cells[fits], polygon[fits], middle[fits]
    plain = np.ones(len(pattern), dtype=bool)
    plain[cells] = False
    faces = polygons(pattern[plain], CrossedEdges(ends=edges.ends, axis=edges.axis, of_cell=edges.of_cell[plain]))
    places = np.concatenate([vertices, middle])
    fans = _turned(_fans(polygon, len(vertices)), places, normals, cell_m)
    return places, np.concatenate([faces, fans]), np.concatenate([np.arange(len(vertices)), polygon[:, 0]])


@lru_cache(maxsize=1)
def _single_loops() -> tuple[Indices, Indices]:
    """(256, 7) cube edges of the one loop of each pattern, padded with -1, and its length; 0 for several loops."""
    loops, lengths = np.full((256, _MAX_LOOP), -1, dtype=np.int64), np.zeros(256, dtype=np.int64)
    for pattern in range(256):
        found = loops_of(pattern)
        if len(found) == 1:
            loops[pattern, : len(found[0])] = found[0]
            lengths[pattern] = len(found[0])
    return loops, lengths


@numba.njit(cache=True)
def _creased(
    pattern: NDArray[np.uint8],
    of_cell: NDArray[np.int32],
    normals: Array,
    loops: Indices,
    lengths: Indices,
    max_cosine: float,
) -> Indices:
    """Rows of the cells whose polygon has two normals that differ, and none over a hole."""
    rows = np.empty(len(pattern), np.int64)
    size = 0
    for cell in range(len(pattern)):
        length = lengths[pattern[cell]]
        is_creased = False
        for i in range(length):
            a = of_cell[cell, loops[pattern[cell], i]]
            if normals[a, 0] == 0.0 and normals[a, 1] == 0.0 and normals[a, 2] == 0.0:
                is_creased = False
                break
            for j in range(i):
                b = of_cell[cell, loops[pattern[cell], j]]
                cosine = normals[a, 0] * normals[b, 0] + normals[a, 1] * normals[b, 1] + normals[a, 2] * normals[b, 2]
                is_creased |= cosine < max_cosine
        if is_creased:
            rows[size] = cell
            size += 1
    return rows[:size].copy()


def _meeting_points(polygon: Indices, vertices: Array, normals: Array) -> Array:
    """(N, 3) points nearest to the tangent planes of polygons (N, 7), and to their middle where these leave it open."""
    is_used = (polygon >= 0)[..., None]
    place, normal = vertices[polygon] * is_used, normals[polygon] * is_used
    center = place.sum(1) / is_used.sum(1)
    offset = np.einsum("nkd,nkd->nk", normal, place - center[:, None] * is_used)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", normal, normal))
    pull = np.einsum("nij,ni->nj", vectors, np.einsum("nki,nk->ni", normal, offset))
    is_stiff = values > _MIN_STIFFNESS * values[:, 2:]
    step = np.where(is_stiff, pull / np.where(is_stiff, values, 1.0), 0.0)
    return center + np.einsum("nij,nj->ni", vectors, step)


def _fits(
    middle: Array, polygon: Indices, corner: Array, cell_m: float, vertices: Array, normals: Array
) -> NDArray[np.bool_]:
    """(N,) whether a new vertex lies about its cell and its fan has sane faces that look where the scan does."""
    local = (middle - corner) / cell_m
    fits = ((local > -_REACH_CELLS) & (local < 1.0 + _REACH_CELLS)).all(1)
    following = _following(polygon)
    for k in range(_MAX_LOOP):
        a, b = polygon[:, k], following[:, k]
        facing, area = _facing(middle, vertices[a], vertices[b], normals[a] + normals[b])
        fits &= (a < 0) | ((area > _MIN_AREA_CELLS * cell_m**2) & (facing > _MIN_FACING))
    return np.asarray(fits)


def _facing(a: Array, b: Array, c: Array, normal: Array) -> tuple[Array, Array]:
    """Cosine (N,) between triangles and directions (N, 3), and the triangles' areas (N,)."""
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    scale = np.maximum(length * np.linalg.norm(normal, axis=1), 1e-300)
    return np.einsum("ij,ij->i", cross, normal) / scale, length / 2


def _following(polygon: Indices) -> Indices:
    """(N, 7) the corner after each corner of polygons (N, 7), which are padded with -1."""
    following = np.roll(polygon, -1, axis=1)
    following[:, -1] = polygon[:, 0]
    return np.where(following >= 0, following, polygon[:, :1])


def _fans(polygon: Indices, first_middle: int) -> Indices:
    """(T, 3) faces from each polygon's middle, the first corner, to each of its sides."""
    following = _following(polygon)
    row, side = np.nonzero(polygon >= 0)
    return np.stack([first_middle + row, polygon[row, side], following[row, side]], 1)


def _turned(fans: Indices, vertices: Array, normals: Array, cell_m: float) -> Indices:
    """The fans' faces, where two meet at a side that a crease crosses with their common diagonal along the crease."""
    low, high = fans[:, 1:].min(1), fans[:, 1:].max(1)
    order = np.lexsort((high, low))
    is_pair = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    one, other = order[:-1][is_pair], order[1:][is_pair]
    (x, a, b), y = fans[one].T, fans[other, 0]
    key = np.minimum(x, y) * len(vertices) + np.maximum(x, y)
    _, place, count = np.unique(key, return_inverse=True, return_counts=True)
    before = np.min(
        [
            _facing(vertices[m], vertices[p], vertices[q], normals[n])[0]
            for m, p, q in ((x, a, b), (y, b, a))
            for n in (a, b)
        ],
        axis=0,
    )
    first, first_area = _facing(vertices[x], vertices[a], vertices[y], normals[a])
    second, second_area = _facing(vertices[y], vertices[b], vertices[x], normals[b])
    after, area = np.minimum(first, second), np.minimum(first_area, second_area)
    turn = (count[place] == 1) & (after > before) & (after > _MIN_FACING) & (area > _MIN_AREA_CELLS * cell_m**2)
    fans = fans.copy()
    fans[one[turn]] = np.stack([x, a, y], 1)[turn]
    fans[other[turn]] = np.stack([y, b, x], 1)[turn]
    return fans
