"""Marching cubes over a sparse set of cells: always closed, manifold and consistently oriented.

The case table is generated, not typed in. Why the surface is a closed manifold, whatever the signs:
the contour on a cell face depends on the signs of that face alone (inside corners of an ambiguous face
are kept apart), so both cells of a face agree; every crossed lattice edge is passed by exactly one loop
in each of its four cells, so the faces around a vertex form one fan; and no loop is cut by a diagonal
that lies in a cell face, where the neighbour might use the same diagonal (such a cut exists for every
loop of every pattern). The one condition: all cells with mixed signs must be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import CORNERS, Lattice, unique_keys

Array = NDArray[np.float64]
# Cube edges as (axis, lower corner): edge e joins corner EDGES[e][1] to that corner + 1 along the axis.
EDGES = tuple((axis, corner) for axis in range(3) for corner in range(8) if not corner >> axis & 1)
_EDGE_OF_CORNERS = {frozenset((corner, corner | 1 << axis)): e for e, (axis, corner) in enumerate(EDGES)}


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseTable:
    """Triangles of each of the 256 sign patterns.

    Attributes:
        triangles: (T, 3) cube edge 0..11 that each corner lies on.
        start: (257,) pattern c owns rows start[c]..start[c+1].
    """

    triangles: NDArray[np.int64]
    start: NDArray[np.int64]


@lru_cache(maxsize=1)
def case_table() -> CaseTable:
    """Generate the case table; bit c of a pattern is set where corner c is inside."""
    triangles: list[tuple[int, int, int]] = []
    start = [0]
    for pattern in range(256):
        for loop in _loops(pattern):
            cut = _cut(loop)
            assert cut is not None, f"pattern {pattern} has a loop that cannot be cut"
            triangles += cut
        start.append(len(triangles))
    return CaseTable(triangles=np.array(triangles, dtype=np.int64), start=np.array(start))


def _cube_faces() -> list[tuple[int, int, int, int]]:
    """The six faces, corners counter-clockwise seen from outside the cube."""
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        low = (0, 1 << u, 1 << u | 1 << v, 1 << v)  # counter-clockwise seen from +axis
        faces.append(tuple(corner | 1 << axis for corner in low))
        faces.append(low[::-1])
    return faces  # type: ignore[return-value]


def _loops(pattern: int) -> list[tuple[int, ...]]:
    """Trace the closed contours on the cube's skin, as cube edges in order, outward-facing."""
    follow: dict[int, int] = {}
    for face in _cube_faces():
        inside = [bool(pattern >> corner & 1) for corner in face]
        edge = [_EDGE_OF_CORNERS[frozenset((face[i], face[(i + 1) % 4]))] for i in range(4)]
        for i in range(4):
            if not inside[i - 1] and inside[i]:  # a run of inside corners starts at i; it ends before j
                j = i
                while inside[(j + 1) % 4]:
                    j += 1
                follow[edge[i - 1]] = edge[j % 4]
    loops = []
    while follow:
        first = min(follow)
        loop = [first]
        while (nxt := follow.pop(loop[-1])) != first:
            loop.append(nxt)
        loops.append(tuple(loop))
    return loops


def _share_face(first: int, second: int) -> bool:
    """Whether two cube edges lie in one cube face."""
    corners = []
    for edge in (first, second):
        axis, corner = EDGES[edge]
        corners += [CORNERS[corner], CORNERS[corner | 1 << axis]]
    return bool((np.ptp(np.array(corners), axis=0) == 0).any())


def _cut(loop: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    """Triangulate a loop without a diagonal in a cube face; None if there is no such triangulation."""
    if len(loop) < 3:
        return []
    if len(loop) == 3:
        return [loop]  # type: ignore[list-item]
    first, last = loop[0], loop[-1]
    for apex in range(1, len(loop) - 1):
        left, right = loop[: apex + 1], loop[apex:]
        if any(len(part) > 2 and _share_face(part[0], part[-1]) for part in (left, right)):
            continue
        cuts = [_cut(part) for part in (left, right)]
        if cuts[0] is not None and cuts[1] is not None:
            return [*cuts[0], (first, loop[apex], last), *cuts[1]]
    return None


def march(lattice: Lattice, cells: NDArray[np.int64], values: Array) -> tuple[Array, NDArray[np.int64]]:
    """Extract the zero surface of a field, negative inside.

    Args:
        lattice: where the cells live.
        cells: (C,) keys of cells; all cells with mixed signs must be among them.
        values: (C, 8) field at their corners (corner c = x + 2 y + 4 z); equal at shared corners, never zero.

    Returns:
        (V, 3) vertices and (F, 3) faces, counter-clockwise seen from outside.
    """
    table = case_table()
    pattern = np.packbits(values < 0, axis=1, bitorder="little")[:, 0].astype(np.int64)
    mixed = (pattern != 0) & (pattern != 255)
    cells, values, pattern = cells[mixed], values[mixed], pattern[mixed]
    edge_vertex, vertices = _edge_vertices(lattice, cells, values, pattern)
    num_triangles = np.diff(table.start)[pattern]
    cell = np.repeat(np.arange(len(cells)), num_triangles)
    first = np.repeat(table.start[pattern] - np.concatenate([[0], np.cumsum(num_triangles)[:-1]]), num_triangles)
    local = table.triangles[first + np.arange(len(cell))]
    return vertices, edge_vertex[cell[:, None], local]


def _edge_vertices(
    lattice: Lattice, cells: NDArray[np.int64], values: Array, pattern: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array]:
    """One vertex per crossed lattice edge: its (C, 12) number for every cell (-1 = not crossed), and positions."""
    axis = np.array([edge[0] for edge in EDGES])
    low = np.array([edge[1] for edge in EDGES])
    high = low | 1 << axis
    crossed = (pattern[:, None] >> low & 1) != (pattern[:, None] >> high & 1)
    row, edge = np.nonzero(crossed)
    keys = (cells[row] + lattice.corner_offsets[low[edge]]) * 3 + axis[edge]
    unique = unique_keys(keys)
    inverse = np.searchsorted(unique, keys)
    start, end = values[row, low[edge]], values[row, high[edge]]
    share = np.empty(len(unique))
    share[inverse] = start / (start - end)  # every cell of an edge writes the same number
    point, along = np.divmod(unique, 3)
    vertices = lattice.points(point)
    vertices[np.arange(len(unique)), along] += lattice.cell_m * share
    numbers = np.full(crossed.shape, -1, dtype=np.int64)
    numbers[row, edge] = inverse
    return numbers, vertices
