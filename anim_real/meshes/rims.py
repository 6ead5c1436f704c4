"""The rims of a scan, and the caps that close it in the sense of winding numbers.

The boundary of any set of oriented triangles is a sum of directed edges that closes on itself; a cone from each
connected rim to its centroid therefore makes the whole closed, whatever the faults. Every winding number of the
whole is an integer, which the crossings along a lattice line count exactly; the caps' own winding number is what
the holes take away from it. Away from holes that is little, and the integer alone tells the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.edges import unmatched_edges
from anim_real.meshes.connectivity import compact, linked

Array = NDArray[np.float64]
Faces = NDArray[np.int64]
_LITTLE_VIEW = 0.2  # of the limit, for all cones together


@dataclass(frozen=True, kw_only=True, eq=False)
class Rims:
    """The N connected rims of a scan, each closed by a cone to its centroid.

    Attributes:
        vertices: (V + N, 3) the scan's vertices, then the apexes.
        cones: (R, 3) faces of the cones, rim by rim, each with its apex last: together with the scan's faces they
            have no boundary.
        first_cone: (N + 1,) the faces of cone n are first_cone[n]..first_cone[n + 1].
        center: (N, 3) apexes.
        radius: (N,) of the sphere around an apex that holds its rim.
        normal: (N, 3) unit mean normal of each cone.
        height: (N,) farthest that a rim leaves the plane through its apex across that normal.
        area: (N, 2) each cone's area as seen along its normal and, summed over its faces, across it.
    """

    vertices: Array
    cones: Faces
    first_cone: Faces
    center: Array
    radius: Array
    normal: Array
    height: Array
    area: Array

    def __len__(self) -> int:
        return len(self.radius)

    def may_fill(self, points: Array, reach: float, limit: float) -> NDArray[np.bool_]:
        """(P,) whether the cones may fill more than a share of the view from within ``reach`` of points (P, 3)."""
        return _may_fill(points, reach, self.center, self.radius, self.normal, self.height, self.area, limit)

    def decide(self, points: Array, reach: float, limit: float) -> NDArray[np.bool_]:
        """(P,) whether the cones' winding number may exceed a limit within ``reach`` of points (P, 3).

        Tighter than ``may_fill``, and slower: the number is computed at the points, and what it may change on the way.
        """
        far = self.center, self.radius, self.normal, self.height, self.area
        return _decide(points, reach, self.vertices, self.cones, self.first_cone, *far, limit)


def close_with_cones(vertices: Array, faces: Faces) -> Rims:
    """Find the rims of oriented faces (F, 3) with vertices (V, 3), and close them."""
    edges = unmatched_edges(faces, len(vertices))
    used, local = compact(edges, len(vertices))
    count, rim_of_vertex = linked(local, len(used))
    rim = rim_of_vertex[local[:, 0]]
    order = np.argsort(rim, kind="stable")
    edges, rim = edges[order], rim[order]
    start, end = vertices[edges[:, 0]], vertices[edges[:, 1]]
    weight = np.maximum(np.bincount(rim, minlength=count), 1)[:, None]
    center = np.stack([np.bincount(rim, start[:, k], count) for k in range(3)], 1) / weight
    radius = np.zeros(count)
    np.maximum.at(radius, rim, np.linalg.norm(start - center[rim], axis=1))
    vector = np.cross(end - center[rim], start - center[rim]) / 2
    normal = np.stack([np.bincount(rim, vector[:, k], count) for k in range(3)], 1).astype(np.float64)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    height = np.zeros(count)
    np.maximum.at(height, rim, np.abs(np.einsum("ij,ij->i", start - center[rim], normal[rim])))
    along = np.einsum("ij,ij->i", vector, normal[rim])
    across = np.linalg.norm(vector - along[:, None] * normal[rim], axis=1)
    return Rims(
        vertices=np.concatenate([vertices, center]),
        cones=np.stack([edges[:, 1], edges[:, 0], len(vertices) + rim], 1),
        first_cone=np.searchsorted(rim, np.arange(count + 1)),
        center=center,
        radius=radius,
        normal=normal,
        height=height,
        area=np.stack([np.bincount(rim, np.abs(along), count), np.bincount(rim, across, count)], 1).astype(np.float64),
    )


@numba.njit(cache=True)
def _may_fill(
    points: Array,
    reach: float,
    center: Array,
    radius: Array,
    normal: Array,
    height: Array,
    area: Array,
    limit: float,
) -> NDArray[np.bool_]:
    """A face of area A and normal n, seen along unit u from distance d, fills at most A |n.u| / (4 pi d^2)."""
    may_fill = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        view = 0.0
        for n in range(len(radius)):
            view += _view_bound(points[i], reach, center[n], radius[n], normal[n], height[n], area[n])
            if view > limit:
                break
        may_fill[i] = view > limit
    return may_fill


@numba.njit(cache=True)
def _view_bound(
    point: Array, reach: float, center: Array, radius: float, normal: Array, height: float, area: Array
) -> float:
    """Share of the view that one cone fills at most, within ``reach`` of a point; infinite beside the cone."""
    x, y, z = point[0] - center[0], point[1] - center[1], point[2] - center[2]
    gap = np.sqrt(x * x + y * y + z * z) - radius - reach
    if gap <= 0.0:
        return np.inf
    off_plane = abs(x * normal[0] + y * normal[1] + z * normal[2]) + height + reach
    return (area[0] * min(off_plane / gap, 1.0) + area[1]) / (4.0 * np.pi * gap * gap)


@numba.njit(cache=True)
def _decide(
    points: Array,
    reach: float,
    vertices: Array,
    cones: Faces,
    first_cone: Faces,
    center: Array,
    radius: Array,
    normal: Array,
    height: Array,
    area: Array,
    limit: float,
) -> NDArray[np.bool_]:
    """Cones that fill little by their bound count by it; the others are summed up face by face."""
    may_decide = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        view, spread = 0.0, 0.0
        for n in range(len(radius)):
            bound = _view_bound(points[i], reach, center[n], radius[n], normal[n], height[n], area[n])
            if bound * len(radius) < _LITTLE_VIEW * limit:
                spread += bound
                continue
            for f in range(first_cone[n], first_cone[n + 1]):
                one, other, apex = vertices[cones[f, 0]], vertices[cones[f, 1]], vertices[cones[f, 2]]
                share, change = _face_view(points[i], one, other, apex, reach)
                view += share
                spread += change
                if spread > limit:
                    break
            if spread > limit:
                break
        may_decide[i] = abs(view) + spread > limit
    return may_decide


@numba.njit(cache=True)
def _face_view(point: Array, one: Array, other: Array, apex: Array, reach: float) -> tuple[float, float]:
    """Winding number of a cone's face about a point, and its rim edge's part in how much that may change on a way.

    The gradient of a surface's solid angle is its rim's field (Biot and Savart): at most the length over the squared
    distance. That holds off the surface only: where the way may meet the face, the change is infinite.
    """
    ax, ay, az = one[0] - point[0], one[1] - point[1], one[2] - point[2]
    bx, by, bz = other[0] - point[0], other[1] - point[1], other[2] - point[2]
    cx, cy, cz = apex[0] - point[0], apex[1] - point[1], apex[2] - point[2]
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    uu = ux * ux + uy * uy + uz * uz
    la, lb, lc = (
        np.sqrt(ax * ax + ay * ay + az * az),
        np.sqrt(bx * bx + by * by + bz * bz),
        np.sqrt(cx * cx + cy * cy + cz * cz),
    )
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    volume, size = ax * nx + ay * ny + az * nz, np.sqrt(nx * nx + ny * ny + nz * nz)
    off_plane = abs(volume) / size if size > 0.0 else 0.0
    off_corner = max(la - np.sqrt(max(uu, vx * vx + vy * vy + vz * vz)), 0.0)
    along = min(max(-(ax * ux + ay * uy + az * uz) / max(uu, 1e-300), 0.0), 1.0)
    x, y, z = ax + along * ux, ay + along * uy, az + along * uz
    gap = np.sqrt(x * x + y * y + z * z) - reach
    if max(off_plane, off_corner) <= reach or gap <= 0.0:
        return 0.0, np.inf
    ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
    share = np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb) / (2.0 * np.pi)
    return share, reach * np.sqrt(uu) / (4.0 * np.pi * gap * gap)
