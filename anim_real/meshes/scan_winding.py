"""The winding number of a mended scan: that of the scan closed by cones over its rims, less what the cones add.

The first is a whole number, counted exactly; the second is summed over the cones near by, in double precision. So it is
cheaper than a tree of the whole scan, which takes longer to build than to ask, and nearer to the exact number. A soup
of triangles has as many rims as faces: there a tree is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.geometry.grids import morton_order
from anim_real.meshes.columns import Columns
from anim_real.meshes.cone_blocks import less_cones_near
from anim_real.meshes.rims import Rims
from anim_real.meshes.winding import INSIDE, WindingNumber

Array = NDArray[np.float64]
_MAX_RIMS = 4096
_MAX_CONES = 0.25  # faces of cones per face of the scan,
_FEW_CONES = 2000  # unless there are few
_FEW_RIMS = 1024  # that are bounded point by point
_FEW_POINTS = 32  # for which summing up all faces is cheaper than building a tree
HOLES_DECIDE = 0.3  # bound on the cones' winding number: 0.2 short of what could change the side


class ScanWinding:
    """Winding-number queries of a scan's faces (F, 3) with vertices (V, 3)."""

    def __init__(self, vertices: Array, faces: NDArray[np.int64], rims: Rims) -> None:
        self._vertices, self._faces, self._rims = vertices, faces, rims
        self.is_soup = len(rims) > _MAX_RIMS or len(rims.cones) > max(_MAX_CONES * len(faces), _FEW_CONES)

    @cached_property
    def tree(self) -> WindingNumber:
        """Of the scan's own faces."""
        return WindingNumber(self._vertices, self._faces)

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self._rims.vertices, np.concatenate([self._faces, self._rims.cones]))

    def at(self, points: ArrayLike, *, holes_below: float = 0.0, is_sorted: bool = False) -> Array:
        """(P,) winding number at points (P, 3).

        Args:
            points: (P, 3) queries.
            holes_below: where holes fill less of the view than this, the nearest whole number will do.
            is_sorted: the points are already near each other in memory.
        """
        queries = np.asarray(points, dtype=np.float64)
        if self.is_soup:
            return self.tree.at(queries, is_sorted=is_sorted)
        return self._visit(queries, holes_below, None, is_sorted)

    def near_levels(self, points: ArrayLike, levels: Sequence[float] = (INSIDE,), *, is_sorted: bool = False) -> Array:
        """(P,) winding number, exact only where it decides on which side of each of ``levels`` a point is.

        Levels are 0.5 off a whole number.
        """
        if self.is_soup:
            return self.tree.near_levels(points, levels, is_sorted=is_sorted)
        return self._visit(np.asarray(points, dtype=np.float64), HOLES_DECIDE, levels, is_sorted)

    def less_cones(
        self, count: NDArray[Any], points: Array, is_near: NDArray[np.bool_], levels: Sequence[float] | None = None
    ) -> Array:
        """(P,) winding number at points (P, 3) where that of the scan and the cones is ``count`` (P,).

        Args:
            count: what is known.
            points: near each other in memory.
            is_near: (P,) points that snapped positions may have put on the other side of a cone.
            levels: if given, the number is exact only where it decides on which side of these a point is.
        """
        if self.is_soup:
            return self.tree.near_levels(points, is_sorted=True)
        winding = None if levels is None else less_cones_near(levels, self._rims, count, points)
        if winding is None:
            winding = count - self._rims.winding(points)
        if is_near.any():
            few, doubtful = int(is_near.sum()) <= _FEW_POINTS, points[is_near]
            winding[is_near] = summed(self._vertices, self._faces, doubtful) if few else self.tree.at(doubtful)
        return winding

    def _visit(self, points: Array, holes_below: float, levels: Sequence[float] | None, is_sorted: bool) -> Array:
        """What ``at`` and ``near_levels`` answer where rims are few, in Morton order."""
        if is_sorted or len(points) == 0:
            return self._counted(points, holes_below, levels)
        order = morton_order(points)
        winding = np.empty(len(points))
        winding[order] = self._counted(points[order], holes_below, levels)
        return winding

    def _counted(self, points: Array, holes_below: float, levels: Sequence[float] | None) -> Array:
        """The same for points near each other in memory."""
        if len(points) == 0:
            return np.zeros(0)
        count, is_near = self._columns.count(points, len(self._faces))
        winding = count.astype(np.float64)
        rims = self._rims
        rows = np.arange(len(points) if len(rims) else 0)
        if holes_below > 0.0 and 0 < len(rims) <= _FEW_RIMS:
            rows = np.flatnonzero(rims.may_fill(points, 0.0, holes_below))
        winding[rows] = self.less_cones(winding[rows], points[rows], is_near[rows], levels)
        return winding


@numba.njit(cache=True)
def summed(vertices: Array, faces: NDArray[np.int64], points: Array) -> Array:
    """(P,) winding number of faces (F, 3) at points (P, 3), the sum of solid angles (van Oosterom, Strackee 1983)."""
    winding = np.zeros(len(points))
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = vertices[a, 0] - x, vertices[a, 1] - y, vertices[a, 2] - z
            bx, by, bz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
            cx, cy, cz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
            la, lb = np.sqrt(ax * ax + ay * ay + az * az), np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
            winding[i] += np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb) / (2.0 * np.pi)
    return winding
