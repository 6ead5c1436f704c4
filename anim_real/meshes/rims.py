"""The rims of a scan, and the caps that close it in the sense of winding numbers.

The boundary of any set of oriented triangles is a sum of directed edges that closes on itself; a cone from each
connected rim to its centroid therefore makes the whole closed, whatever the faults. Every winding number of the
whole is an integer, which the crossings along a lattice line count exactly; the caps' own winding number is what
the holes take away from it. Away from holes that is little, and the integer alone tells the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.meshes.connectivity import compact, linked

Array = NDArray[np.float64]
Faces = NDArray[np.int64]
_LANES = 8
_FAR, _BENT, _FARTHEST = 3.0, 4.0, 9.0  # radii from which a cone is a dipole, to 1e-3: flat, by its bend, at most


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
        moment: (N, 3) sum of the faces' normals, which are as long as the faces are large.
        middle: (N, 3) centre of each cone's area as seen along its normal.
        far: (N,) farther from the apex than this, a cone is seen as a dipole.
    """

    vertices: Array
    cones: Faces
    first_cone: Faces
    center: Array
    radius: Array
    normal: Array
    height: Array
    area: Array
    moment: Array
    middle: Array
    far: Array

    def __len__(self) -> int:
        return len(self.radius)

    def may_fill(self, points: Array, reach: float, limit: float) -> NDArray[np.bool_]:
        """(P,) whether the cones may fill more than a share of the view from within ``reach`` of points (P, 3)."""
        return _may_fill(points, reach, self.center, self.radius, self.normal, self.height, self.area, limit)

    def winding(self, points: Array) -> Array:
        """(P,) winding number of the cones at points (P, 3), off by some 1e-3 at most; exact near them."""
        ends, first_cone, center, _, moment, middle, far = self.parts
        return _winding(points, ends, first_cone, center, moment, middle, far)

    @cached_property
    def parts(self) -> tuple[Array, Faces, Array, Array, Array, Array, Array]:
        """What compiled code asks for: both ends (6, R) of the edges along the rims, then attributes as they are."""
        ends = np.ascontiguousarray(self.vertices[self.cones[:, :2]].reshape(-1, 6).T)
        return ends, self.first_cone, self.center, self.radius, self.moment, self.middle, self.far


def close_with_cones(vertices: Array, edges: Faces) -> Rims:
    """Close the boundary of faces with vertices (V, 3), given as a chain of directed edges (R, 2)."""
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
    moment = np.stack([np.bincount(rim, vector[:, k], count) for k in range(3)], 1).astype(np.float64)
    normal = moment / np.maximum(np.linalg.norm(moment, axis=1, keepdims=True), 1e-300)
    height = np.zeros(count)
    np.maximum.at(height, rim, np.abs(np.einsum("ij,ij->i", start - center[rim], normal[rim])))
    along = np.einsum("ij,ij->i", vector, normal[rim])
    across = np.linalg.norm(vector - along[:, None] * normal[rim], axis=1)
    area = np.stack([np.bincount(rim, np.abs(along), count), np.bincount(rim, across, count)], 1).astype(np.float64)
    weighted = along[:, None] * (start + end - 2.0 * center[rim]) / 3.0
    offset = np.stack([np.bincount(rim, weighted[:, k], count) for k in range(3)], 1)
    flat = np.maximum(np.linalg.norm(moment, axis=1), 1e-300)
    bend = area.sum(1) / flat - 1.0  # what folds and slopes add to the area that the cone shows as a whole
    middle = center + offset / flat[:, None] * (bend < 1.0)[:, None]
    return Rims(
        vertices=np.concatenate([vertices, center]),
        cones=np.stack([edges[:, 1], edges[:, 0], len(vertices) + rim], 1),
        first_cone=np.searchsorted(rim, np.arange(count + 1)),
        center=center,
        radius=radius,
        normal=normal,
        height=height,
        area=area,
        moment=moment,
        middle=middle,
        far=radius * np.minimum(_FAR + _BENT * bend, _FARTHEST),
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


@numba.njit(cache=True, error_model="numpy")
def _winding(
    points: Array,
    ends: Array,
    first_cone: Faces,
    center: Array,
    moment: Array,
    middle: Array,
    far: Array,
) -> Array:
    """Far cones as dipoles, near ones face by face.

    Half of a face's solid angle is that of a complex number (van Oosterom and Strackee 1983): these are multiplied, and
    the turns of the product counted, instead of adding up angles.
    """
    winding = np.zeros(len(points))
    every, factors = np.arange(len(far)), np.empty((2, ends.shape[1] + _LANES))
    for i in range(len(points)):
        winding[i] = cones_at(points[i], every, ends, first_cone, center, moment, middle, far, factors)
    return winding


@numba.njit(cache=True, error_model="numpy")
def cones_at(
    point: Array,
    rows: Faces,
    ends: Array,
    first_cone: Faces,
    center: Array,
    moment: Array,
    middle: Array,
    far: Array,
    factors: Array,
) -> float:
    """Winding number of cones ``rows`` at a point (3,); ``factors`` (2, R + 8) is overwritten."""
    winding, x, y, z = 0.0, point[0], point[1], point[2]
    for place in range(len(rows)):
        n = rows[place]
        cx, cy, cz = center[n, 0] - x, center[n, 1] - y, center[n, 2] - z
        if cx * cx + cy * cy + cz * cz < far[n] ** 2:
            first, last = int(first_cone[n]), int(first_cone[n + 1])
            _factors(x, y, z, cx, cy, cz, ends, first, last, factors)
            winding += _turn(factors, last - first)
            continue
        dx, dy, dz = middle[n, 0] - x, middle[n, 1] - y, middle[n, 2] - z
        squared = dx * dx + dy * dy + dz * dz
        flow = dx * moment[n, 0] + dy * moment[n, 1] + dz * moment[n, 2]
        winding += flow / (4.0 * np.pi * squared * np.sqrt(squared))
    return winding


@numba.njit(cache=True, error_model="numpy")
def _factors(
    x: float, y: float, z: float, cx: float, cy: float, cz: float, ends: Array, first: int, last: int, factors: Array
) -> None:
    """Complex numbers (2, R) of the faces first..last of a cone about a point, from which its apex lies at c."""
    lc = np.sqrt(cx * cx + cy * cy + cz * cz)
    for f in range(first, last):
        ax, ay, az = ends[0, f] - x, ends[1, f] - y, ends[2, f] - z
        bx, by, bz = ends[3, f] - x, ends[4, f] - y, ends[5, f] - z
        la, lb = np.sqrt(ax * ax + ay * ay + az * az), np.sqrt(bx * bx + by * by + bz * bz)
        ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
        volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        size = la * lb * lc
        scale = 1.0 / (size + 1e-300)
        factors[0, f - first] = (size + ab * lc + bc * la + ca * lb) * scale
        factors[1, f - first] = volume * scale
    factors[0, last - first : last - first + _LANES] = 1.0  # what is multiplied beyond the end
    factors[1, last - first : last - first + _LANES] = 0.0


@numba.njit(cache=True, error_model="numpy")
def _turn(factors: Array, count: int) -> float:
    """Angle of the product of complex numbers (2, count), each within half a turn, in turns.

    Several products side by side, which the compiler turns into vector instructions.
    """
    real, imaginary, turns = np.ones(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    for first in range(0, count, _LANES):
        for k in range(_LANES):
            base, volume = factors[0, first + k], factors[1, first + k]
            before = imaginary[k]
            after = real[k] * volume + before * base
            along = real[k] * base - before * volume
            is_up = (before >= 0.0) & (volume >= 0.0) & (after < 0.0)
            is_down = (before < 0.0) & (volume < 0.0) & (after >= 0.0)
            turns[k] += (1.0 if is_up else 0.0) - (1.0 if is_down else 0.0)
            scale = 1.0 / (abs(along) + abs(after) + 1e-300)
            real[k], imaginary[k] = along * scale, after * scale
    total = 0.0
    for k in range(_LANES):
        total += np.arctan2(imaginary[k], real[k]) / (2.0 * np.pi) + turns[k]
    return total
