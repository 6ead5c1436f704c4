"""The part of a scan that bounds its inside: what distances and labels are measured to.

Where shells overlap, as trunk and arm or body and clothes do, a piece of one lies inside the other: there w > 0.5 on
both sides of it. The same holds for a wall that two solids share. A face that only partly does is cut into pieces of
a cell, and each piece is judged by itself. Which faces those are is known from the crossings with the lattice; what
no lattice line meets is smaller than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import Lattice
from anim_real.geometry.triangles import cut_with_source
from anim_real.meshes.band import Band
from anim_real.meshes.crossings import Crossings
from anim_real.meshes.inspect import MendedScan
from anim_real.meshes.winding import INSIDE

Array = NDArray[np.float64]
_OVERLAP = 1.3  # winding numbers above this mean that shells overlap
_COINCIDENT = 2.0**-14  # of a cell: nearer crossings of one line count as one; some 16 steps of the fixed-point grid
_PIECE_CELLS = 1.5  # longest edge: no corner is farther than a cell from the middle that is judged
_MAX_PIECES = 2_000_000  # of all cut faces; their pieces grow beyond a cell where that would not do


@dataclass(frozen=True, kw_only=True, eq=False)
class OuterScan:
    """The faces, and the parts of faces, of a scan that have inside on one side only.

    Attributes:
        vertices: (V, 3) the scan's vertices, then those of the parts.
        faces: (O, 3) int64.
        source: (O,) face of the scan that each is, or is a part of.
    """

    vertices: Array
    faces: NDArray[np.int64]
    source: NDArray[np.int64]


def outer_scan(scan: MendedScan, lattice: Lattice, crossings: Sequence[Crossings], band: Band) -> OuterScan:
    """Find what bounds the inside; all faces unless shells overlap or touch.

    Args:
        scan: the mended scan.
        lattice: where ``band`` lives.
        crossings: of the scan's faces with the lattice lines, along each axis.
        band: cells and winding numbers around all of them.
    """
    every, cell_m = np.arange(len(scan.faces)), lattice.cell_m
    touches = any(_has_coincident(along) for along in crossings)
    if band.winding.max() < _OVERLAP and not touches:
        return OuterScan(vertices=scan.vertices, faces=scan.faces, source=every)
    bounding, met = _count(len(scan.faces), lattice, crossings, band)
    is_outer = (met > 0) & (bounding == met)
    unmet = np.flatnonzero(met == 0)
    is_outer[unmet] = _bounds(scan, scan.vertices[scan.faces[unmet]], cell_m, touches)
    partly = np.flatnonzero((bounding > 0) & (bounding < met))
    pieces, source = _cut(scan.vertices[scan.faces[partly]], cell_m)
    kept = _bounds(scan, pieces, cell_m, touches)
    pieces, source = pieces[kept], partly[source[kept]]
    if not is_outer.any() and len(pieces) == 0:
        return OuterScan(vertices=scan.vertices, faces=scan.faces, source=every)
    own = len(scan.vertices) + np.arange(3 * len(pieces)).reshape(-1, 3)
    return OuterScan(
        vertices=np.concatenate([scan.vertices, pieces.reshape(-1, 3)]),
        faces=np.concatenate([scan.faces[is_outer], own]),
        source=np.concatenate([np.flatnonzero(is_outer), source]),
    )


def _has_coincident(crossings: Crossings) -> bool:
    """Whether a lattice line crosses two faces at one place."""
    return bool(((np.diff(crossings.edges) == 0) & (np.diff(crossings.share) < _COINCIDENT)).any())


def _count(
    num_faces: int, lattice: Lattice, crossings: Sequence[Crossings], band: Band
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often lattice edges cross each face (F,) where it bounds the inside, and how often at all."""
    bounding, met = np.zeros((2, num_faces), dtype=np.int64)
    order = np.argsort(band.keys)
    known, winding = band.keys[order], band.winding[order]
    for along, stride in zip(crossings, lattice.strides, strict=True):
        low, high = (np.searchsorted(known, along.edges + step) for step in (0, stride))
        assert np.array_equal(known[low], along.edges), "the band starts at the crossed edges"
        places = along.edges, along.share, along.step, along.face
        _add_levels(*places, winding[low], winding[high], _COINCIDENT, bounding, met)
    return bounding, met


@numba.njit(cache=True)
def _add_levels(
    edges: NDArray[np.int64],
    share: Array,
    step: NDArray[np.int8],
    face: NDArray[np.int64],
    low: Array,
    high: Array,
    coincident: float,
    bounding: NDArray[np.int64],
    met: NDArray[np.int64],
) -> None:
    """Follow the winding number along each crossed edge, given its values ``low`` and ``high`` (N,) at the ends.

    Those are on the right side of 0.5, but exact near it only: so what lies between is counted from the nearer one.
    """
    first = 0
    while first < len(edges):
        last = first + 1
        while last < len(edges) and edges[last] == edges[first]:
            last += 1
        level = low[first]
        if abs(high[first] - 0.5) < abs(level - 0.5):
            level = high[first]
            for i in range(first, last):
                level -= step[i]
        begin = first
        while begin < last:
            before, end = level, begin
            while end < last and share[end] - share[begin] < coincident:
                level += step[end]
                end += 1
            was_inside = (low[first] if begin == first else before) > 0.5
            is_inside = (high[first] if end == last else level) > 0.5
            for i in range(begin, end):
                met[face[i]] += 1
                bounding[face[i]] += was_inside != is_inside
            begin = end
        first = last


def _cut(triangles: Array, cell_m: float) -> tuple[Array, NDArray[np.int64]]:
    """Pieces (N, 3, 3) of triangles, of a cell or so, and which triangle each is of."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = float(np.linalg.norm(normal, axis=1).sum()) / 2
    return cut_with_source(triangles, max(_PIECE_CELLS * cell_m, 2.0 * float(np.sqrt(area / _MAX_PIECES))))


def _bounds(scan: MendedScan, triangles: Array, cell_m: float, touches: bool) -> NDArray[np.bool_]:
    """(T,) whether the middles of pieces (T, 3, 3) of the scan have inside behind them and none in front.

    The winding number behind a face is one more than in front, unless it ``touches`` another face: then both are asked.
    """
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(normal, axis=1)
    step = np.minimum(1e-3 * np.sqrt(length), 1e-2 * cell_m)
    step = normal * (step / np.maximum(length, 1e-300))[:, None]
    middle = triangles.mean(1)
    front = scan.winding.near_levels(middle + step, (INSIDE, INSIDE - 1.0))
    bounds = np.asarray((front <= INSIDE) & (front > INSIDE - 1.0))
    if touches:
        rows = np.flatnonzero(front <= INSIDE)
        bounds[rows] = scan.winding.near_levels(middle[rows] - step[rows]) > INSIDE
    return bounds
