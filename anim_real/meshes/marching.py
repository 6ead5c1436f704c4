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

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import CORNERS, KeyTable, Lattice

Array = NDArray[np.float64]
# Cube edges as (axis, lower corner): edge e joins corner EDGES[e][1] to that corner + 1 along the axis.
EDGES = tuple((axis, corner) for axis in range(3) for corner in range(8) if not corner >> axis & 1)
_EDGE_AXIS = np.array([axis for axis, _ in EDGES])
_EDGE_LOW = np.array([corner for _, corner in EDGES])
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
        for loop in loops_of(pattern):
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


def loops_of(pattern: int) -> list[tuple[int, ...]]:
    """Trace the closed contours of a sign pattern on the cube's skin, as cube edges in order, outward-facing."""
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


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossedEdges:
    """The lattice edges whose ends lie on different sides: one vertex of the surface each.

    Attributes:
        ends: (E, 2) rows of the lattice points at the lower and the upper end.
        axis: (E,) int8: 0..2, along which the edge runs.
        of_cell: (C, 12) int32: number of each cube edge of each cell, -1 where it is not crossed.
    """

    ends: NDArray[np.int64]
    axis: NDArray[np.int8]
    of_cell: NDArray[np.int32]


def crossed_edges(pattern: NDArray[np.uint8], corners: NDArray[np.int64], num_points: int) -> CrossedEdges:
    """Number the crossed edges of cells with sign patterns (C,), whose corners (C, 8) are rows of lattice points."""
    of_point = np.full((num_points, 3), -1, dtype=np.int32)
    of_cell, ends, axis = _number(pattern, corners, of_point, _EDGE_AXIS, _EDGE_LOW)
    return CrossedEdges(ends=ends, axis=axis, of_cell=of_cell)


def polygons(pattern: NDArray[np.uint8], edges: CrossedEdges) -> NDArray[np.int64]:
    """(F, 3) triangles of cells with sign patterns (C,), whose corners are crossed edges; outward-facing."""
    table = case_table()
    first = np.concatenate([[0], np.cumsum(np.diff(table.start)[pattern])])
    return _triangles(pattern, edges.of_cell, first, table.triangles, table.start)


def march(lattice: Lattice, cells: NDArray[np.int64], values: Array) -> tuple[Array, NDArray[np.int64]]:
    """Extract the zero surface of a field, negative inside.

    Args:
        lattice: where the cells live.
        cells: (C,) keys of cells; all cells with mixed signs must be among them.
        values: (C, 8) field at their corners (corner c = x + 2 y + 4 z); equal at shared corners, never zero.

    Returns:
        (V, 3) vertices and (F, 3) faces, counter-clockwise seen from outside.
    """
    pattern = np.packbits(values < 0, axis=1, bitorder="little")[:, 0]
    mixed = (pattern != 0) & (pattern != 255)
    cells, values, pattern = cells[mixed], values[mixed], pattern[mixed]
    table = KeyTable(2 * len(cells))
    corners = table.add(cells[:, None] + lattice.corner_offsets)
    field = np.empty(len(table))
    field[corners] = values
    edges = crossed_edges(pattern, corners, len(table))
    low, high = field[edges.ends].T
    vertices = lattice.points(table.keys[edges.ends[:, 0]])
    vertices[np.arange(len(vertices)), edges.axis] += lattice.cell_m * low / (low - high)
    return vertices, polygons(pattern, edges)


@numba.njit(cache=True)
def _number(
    pattern: NDArray[np.uint8],
    corners: NDArray[np.int64],
    of_point: NDArray[np.int32],
    edge_axis: NDArray[np.int64],
    edge_low: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int8]]:
    """Numbers of the edges of every cell, and both ends and the axis of every edge; ``of_point`` must be -1."""
    of_cell = np.full((len(pattern), 12), -1, np.int32)
    ends, axis = np.empty((3 * len(of_point), 2), np.int64), np.empty(3 * len(of_point), np.int8)
    size = 0
    for cell in range(len(pattern)):
        for edge in range(12):
            low, along = edge_low[edge], edge_axis[edge]
            if (pattern[cell] >> low & 1) == (pattern[cell] >> (low | 1 << along) & 1):
                continue
            row = corners[cell, low]
            if of_point[row, along] < 0:
                of_point[row, along] = size
                ends[size, 0], ends[size, 1], axis[size] = row, corners[cell, low | 1 << along], along
                size += 1
            of_cell[cell, edge] = of_point[row, along]
    return of_cell, ends[:size].copy(), axis[:size].copy()


@numba.njit(cache=True)
def _triangles(
    pattern: NDArray[np.uint8],
    of_cell: NDArray[np.int32],
    first: NDArray[np.int64],
    triangles: NDArray[np.int64],
    start: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Faces (F, 3) of all cells; those of cell c begin at ``first[c]``."""
    faces = np.empty((first[-1], 3), np.int64)
    for cell in range(len(pattern)):
        row = first[cell]
        for triangle in range(start[pattern[cell]], start[pattern[cell] + 1]):
            for corner in range(3):
                faces[row, corner] = of_cell[cell, triangles[triangle, corner]]
            row += 1
    return faces
