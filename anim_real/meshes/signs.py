"""On which side of a scan lattice points lie: counted along lattice lines, asked only near holes.

The scan and the cones over its rims (``rims``) together have integer winding numbers: the sum of the signed crossings
of the line from far away to the point. The winding number of the scan alone is that integer less what the cones add,
and where these are too far to add much (a bound, not an estimate), the integer decides. Only elsewhere are the cones
asked: at every 3rd to 25th point of a usual scan; and at all points of a soup of triangles, its tree.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import KeyTable, Lattice
from anim_real.meshes.crossings import Crossings, SnappedVertices, cross
from anim_real.meshes.inspect import MendedScan
from anim_real.meshes.scan_winding import HOLES_DECIDE
from anim_real.meshes.winding import INSIDE

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
_BLOCK = 8  # lattice points along a block that is cleared as a whole
_FEW_RIMS = 1024  # bounded point by point as well
_NEAR_CONE = 2e-5  # of a cell: nearer to a cone than this, snapping may have changed sides
_TOUCH = 1e-3  # of a cell: a crossing this close to a lattice point may belong to either edge there


class ScanSides:
    """The winding number of a scan at the points of a lattice, and where the lattice's edges cross it.

    Attributes:
        num_asked: points at which the winding number was evaluated, the scan's own or what its rims lack of it.
    """

    def __init__(self, lattice: Lattice, scan: MendedScan) -> None:
        self.num_asked = 0
        self._lattice, self._scan = lattice, scan
        rims = scan.rims
        snapped = SnappedVertices.of(lattice, rims.vertices)
        self._crossings = tuple(cross(lattice, snapped, scan.faces, axis) for axis in range(3))
        self._edges, steps = self._crossings[0].edges, self._crossings[0].step
        self._rims = rims
        self._caps = tuple(cross(lattice, snapped, rims.cones, axis) for axis in range(3))
        if len(rims.cones):
            edges = np.concatenate([self._edges, self._caps[0].edges])
            order = np.argsort(edges)
            self._edges, steps = edges[order], np.concatenate([steps, self._caps[0].step])[order]
        self._on_cones = self._touched()
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
        winding = self._counted(keys).astype(np.float64)
        unsure = self._near_holes(keys)
        self.num_asked += len(unsure)
        if len(unsure):
            points, is_near = self._lattice.points(keys[unsure]), np.isin(keys[unsure], self._on_cones)
            winding[unsure] = self._scan.winding.less_cones(winding[unsure], points, is_near, (INSIDE,))
        return winding

    def winding_on(self, low: Keys, axis: NDArray[np.int8], share: Array) -> Array:
        """(E,) winding number at places (E,), 0..1, on lattice edges with lower ends and directions (E,)."""
        points = self._lattice.points(low)
        points[np.arange(len(low)), axis] += self._lattice.cell_m * share
        if self._scan.winding.is_soup:
            return self._scan.winding.at(points)
        count, is_near = self._counted(low), np.zeros(len(low), dtype=bool)
        for along in range(3):
            rows = np.flatnonzero(axis == along)
            caps, (before, here, after) = self._caps[along], share[rows] + _NEAR_CONE * np.array([[-1], [0], [1]])
            count[rows] += self._crossings[along].steps_until(low[rows], here) + caps.steps_until(low[rows], here)
            is_near[rows] = caps.num_until(low[rows], before) != caps.num_until(low[rows], after)
        return self._scan.winding.less_cones(count, points, is_near)

    def _counted(self, keys: Keys) -> NDArray[np.int64]:
        """(K,) winding number of the scan and the cones at lattice points."""
        return self._count[np.searchsorted(self._edges, keys)]

    def _touched(self) -> Keys:
        """Lattice points so near to a cone that their side of it is not sure."""
        found = []
        for caps, stride in zip(self._caps, self._lattice.strides, strict=True):
            found += [caps.edges[caps.share < _NEAR_CONE], caps.edges[caps.share > 1.0 - _NEAR_CONE] + stride]
        return np.concatenate(found)

    def _near_holes(self, keys: Keys) -> NDArray[np.int64]:
        """Rows of lattice points at which the cones' winding number may count; whole blocks of points are cleared."""
        rims = self._rims
        if len(rims) == 0 or self._scan.winding.is_soup:
            return np.arange(len(keys) if len(rims) else 0)
        rows = self._in_open_blocks(keys)
        if len(rims) <= _FEW_RIMS:
            rows = rows[rims.may_fill(self._lattice.points(keys[rows]), 0.0, HOLES_DECIDE)]
        return rows

    def _in_open_blocks(self, keys: Keys) -> NDArray[np.int64]:
        """Rows of lattice points in blocks of which no bound says that holes do not count there."""
        lattice = self._lattice
        blocks = KeyTable(len(keys) // 16)
        block = blocks.add(lattice.keys(lattice.index(keys) // _BLOCK))
        center = lattice.origin + lattice.cell_m * (lattice.index(blocks.keys) * _BLOCK + (_BLOCK - 1) / 2)
        reach = lattice.cell_m * (_BLOCK - 1) / 2 * np.sqrt(3.0)
        return np.flatnonzero(self._rims.may_fill(center, reach, HOLES_DECIDE)[block])

    @property
    def crossings(self) -> tuple[Crossings, ...]:
        """Of the scan's faces with the lattice lines along each axis."""
        return self._crossings

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
