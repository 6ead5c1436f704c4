"""On which side of a scan lattice points lie: counted along lattice lines, asked only near holes.

The scan and the cones over its rims (``rims``) together have integer winding numbers: the sum of the signed crossings
of the line from far away to the point. The winding number of the scan alone is that integer less what the cones add,
and where these are too far to add much (a bound, not an estimate), the integer decides. Only elsewhere is the
winding number asked: at every 3rd to 25th point of a usual scan, and at all points of a soup of triangles.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import KeyTable, Lattice
from anim_real.meshes.crossings import Crossings, SnappedVertices, cross
from anim_real.meshes.inspect import MendedScan

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
_HOLES_DECIDE = 0.3  # bound on the cones' winding number: 0.2 short of what could change the side
_SMALL_BLOCK = 4
_BLOCK = 8  # lattice points along a block that is cleared as a whole
_MAX_RIMS = 4096  # with more of them, as in a soup of triangles, every point is asked
_FEW_RIMS = 1024  # bounded point by point as well
_TOUCH = 1e-3  # of a cell: a crossing this close to a lattice point may belong to either edge there


class ScanSides:
    """The winding number of a scan at the points of a lattice, and where the lattice's edges cross it.

    Attributes:
        num_asked: points at which the scan's own winding number was evaluated.
    """

    def __init__(self, lattice: Lattice, scan: MendedScan) -> None:
        self.num_asked = 0
        self._lattice, self._scan = lattice, scan
        rims = scan.rims
        snapped = SnappedVertices.of(lattice, rims.vertices)
        self._crossings = tuple(cross(lattice, snapped, scan.faces, axis) for axis in range(3))
        self._edges, steps = self._crossings[0].edges, self._crossings[0].step
        self._rims = rims
        if len(rims.cones):
            caps = cross(lattice, snapped, rims.cones, 0)
            edges = np.concatenate([self._edges, caps.edges])
            order = np.argsort(edges)
            self._edges, steps = edges[order], np.concatenate([steps, caps.step])[order]
        self._count = np.concatenate([[0], np.cumsum(steps, dtype=np.int64)])
        assert self._count[-1] == 0, "the signed crossings of a closed surface add up to nothing"

    def crossed_cells(self) -> Keys:
        """Keys of the cells around the lattice edges that the scan crosses, repeated."""
        strides = self._lattice.strides
        found = []
        for axis, crossings in enumerate(self._crossings):
            one, other = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
            found.append((crossings.edges[:, None] - np.array([0, one, other, one + other])).ravel())
        return np.concatenate(found)

    def winding_at(self, keys: Keys) -> Array:
        """(K,) winding number at lattice points: on the right side of 0.5, within 0.3 elsewhere."""
        winding = self._count[np.searchsorted(self._edges, keys)].astype(np.float64)
        unsure = self._near_holes(keys)
        self.num_asked += len(unsure)
        if len(unsure):
            winding[unsure] = self._scan.winding.near_levels(self._lattice.points(keys[unsure]), is_sorted=True)
        return winding

    def _near_holes(self, keys: Keys) -> NDArray[np.int64]:
        """Rows of lattice points at which the cones' winding number may count; whole blocks of points are cleared."""
        rims = self._rims
        if len(rims) == 0 or len(rims) > _MAX_RIMS:
            return np.arange(len(keys) if len(rims) else 0)
        rows = self._in_blocks(keys, np.arange(len(keys)), _BLOCK, rims.may_fill)
        if len(rims) <= _FEW_RIMS:
            rows = rows[rims.may_fill(self._lattice.points(keys[rows]), 0.0, _HOLES_DECIDE)]
            rows = self._in_blocks(keys, rows, _SMALL_BLOCK, rims.decide)
        return rows

    def _in_blocks(
        self, keys: Keys, rows: NDArray[np.int64], size: int, test: Callable[[Array, float, float], NDArray[np.bool_]]
    ) -> NDArray[np.int64]:
        """Those of ``rows`` that lie in blocks of lattice points which a test of ``Rims`` does not clear."""
        lattice = self._lattice
        blocks = KeyTable(len(rows) // 16)
        block = blocks.add(lattice.keys(lattice.index(keys[rows]) // size))
        center = lattice.origin + lattice.cell_m * (lattice.index(blocks.keys) * size + (size - 1) / 2)
        reach = lattice.cell_m * (size - 1) / 2 * np.sqrt(3.0)
        return rows[test(center, reach, _HOLES_DECIDE)[block]]

    def scan_on(self, low: Keys, axis: NDArray[np.int8], ends: Array) -> tuple[Array, NDArray[np.int64]]:
        """Where lattice edges cross the scan at its level 0.5.

        Args:
            low: (E,) keys of the lower ends.
            axis: (E,) direction of each.
            ends: (E, 2) winding number at the lower and the upper end, on different sides of 0.5.

        Returns:
            (E,) place on the edge, 0..1, and (E,) face that is crossed; -1 where the level is met off the scan.
        """
        share, face = np.full(len(low), np.nan), np.full(len(low), -1, dtype=np.int64)
        for along, crossings in enumerate(self._crossings):
            rows = np.flatnonzero(axis == along)
            keys = low[rows]
            first, last = (np.searchsorted(crossings.edges, keys, side) for side in ("left", "right"))
            chosen = _level_crossing(first, last, crossings.step, ends[rows])
            is_met = chosen >= 0
            share[rows[is_met]] = crossings.share[chosen[is_met]]
            face[rows[is_met]] = crossings.face[chosen[is_met]]
            self._touching(crossings, int(self._lattice.strides[along]), low, rows[~is_met], share, face)
        return share, face

    @staticmethod
    def _touching(
        crossings: Crossings, stride: int, low: Keys, rows: NDArray[np.int64], share: Array, face: NDArray[np.int64]
    ) -> None:
        """Fill in edges whose crossing rounding has put just beyond one of their ends."""
        if len(crossings.edges) == 0:
            return
        before = np.searchsorted(crossings.edges, low[rows] - stride, "right") - 1
        after = np.searchsorted(crossings.edges, low[rows] + stride, "left")
        for nearest, key, place in ((before, low[rows] - stride, 0.0), (after, low[rows] + stride, 1.0)):
            nearest = np.clip(nearest, 0, len(crossings.edges) - 1)
            gap = 1.0 - crossings.share[nearest] if place == 0.0 else crossings.share[nearest]
            is_met = (crossings.edges[nearest] == key) & (gap < _TOUCH)
            share[rows[is_met]] = place
            face[rows[is_met]] = crossings.face[nearest[is_met]]


@numba.njit(cache=True)
def _level_crossing(
    first: NDArray[np.int64], last: NDArray[np.int64], step: NDArray[np.int8], ends: Array
) -> NDArray[np.int64]:
    """Of the crossings first..last of each edge, the one at which the winding number passes 0.5, or -1."""
    chosen = np.full(len(first), -1, np.int64)
    for i in range(len(first)):
        is_rising = ends[i, 1] > 0.5
        level = ends[i, 0]
        for j in range(first[i], last[i]):
            after = level + step[j]
            if (step[j] > 0) == is_rising:
                if chosen[i] < 0:
                    chosen[i] = j  # good enough where the holes' part changes along the edge
                if (level > 0.5) != (after > 0.5):
                    chosen[i] = j
                    break
            level = after
    return chosen
