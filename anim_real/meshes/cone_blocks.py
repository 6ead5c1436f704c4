"""The winding number of a scan at many points close together: what far cones add, once for a block of points.

The cones' winding number is harmonic off the cones, and its gradient is the Biot-Savart integral along their rims. In a
block of points, cones far from it are therefore a linear function, off by less than a bound on its second derivative;
near ones are summed point by point, and all of them where that leaves open on which side of 0.5 a point is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import KeyTable, Lattice, bounding_box
from anim_real.meshes.rims import Rims, cones_at

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_BLOCKS_ACROSS = 96
_MIN_POINTS = 2000
_POINTS_PER_BLOCK = 4.0  # fewer do not pay for it
_MAX_OFF = 0.02  # bound on what a cone's linear function may be off
_MAX_ALL_OFF = 0.2  # bound on their sum
_MAX_FLAT_OFF = 1e-3  # the same for a cone seen as a dipole
_MARGIN = 0.1  # nearer to a side than this, and than the bounds, all cones are summed


def less_cones_near(levels: Sequence[float], rims: Rims, count: NDArray[Any], points: Array) -> Array | None:
    """(P,) ``count`` (P,) less the cones' winding number at points (P, 3), exact only near ``levels``.

    Elsewhere it is on the right side of each level, and within 0.2. None where points are so few or so scattered that
    blocks do not pay.
    """
    if len(points) < _MIN_POINTS:
        return None
    low, high = bounding_box(points)
    size = float((high - low).max()) / _BLOCKS_ACROSS
    if size == 0.0:
        return None
    lattice = Lattice.around(low, high, cell_m=size, padding_cells=1)
    blocks = KeyTable(len(points) // 32)
    block = blocks.add(lattice.cells_of(points))
    if len(points) < _POINTS_PER_BLOCK * len(blocks):
        return None
    order = np.argsort(block, kind="stable")
    first = np.searchsorted(block[order], np.arange(len(blocks) + 1))
    center = lattice.points(blocks.keys) + size / 2
    reach = size / 2 * np.sqrt(3.0)
    at = np.asarray(levels, dtype=np.float64)
    return _winding(at, count.astype(np.float64), points, order, first, center, reach, rims.area.sum(1), *rims.parts)


@numba.njit(cache=True, error_model="numpy")
def _winding(
    levels: Array,
    count: Array,
    points: Array,
    order: Indices,
    first: Indices,
    block_center: Array,
    reach: float,
    area: Array,
    ends: Array,
    first_cone: Indices,
    center: Array,
    radius: Array,
    moment: Array,
    middle: Array,
    far: Array,
) -> Array:
    """Block by block: what is linear there, then its points."""
    winding = np.empty(len(points))
    near, every = np.empty(len(far), np.int64), np.arange(len(far))
    factors = np.empty((2, ends.shape[1] + 8))
    gradient = np.empty(3)
    for b in range(len(block_center)):
        place = block_center[b]
        value, off, num_near = 0.0, 0.0, 0
        gradient[:] = 0.0
        for n in range(len(far)):
            x, y, z = center[n, 0] - place[0], center[n, 1] - place[1], center[n, 2] - place[2]
            distance = np.sqrt(x * x + y * y + z * z)
            gap = distance - radius[n] - reach
            bound = 3.0 * reach * reach * area[n] / (4.0 * np.pi * gap**4) if gap > 0.0 else np.inf
            if distance >= far[n] and bound < _MAX_FLAT_OFF:
                value += _add_dipole(place, middle[n], moment[n], gradient)
                off += bound
                continue
            bound = _bend(place, reach, x, y, z, ends, first_cone[n], first_cone[n + 1])
            if bound < _MAX_OFF:
                _add_gradient(place, ends, first_cone[n], first_cone[n + 1], gradient)
                one = every[n : n + 1]
                value += cones_at(place, one, ends, first_cone, center, moment, middle, far, factors)
                off += bound
            else:
                near[num_near] = n
                num_near += 1
        if off > _MAX_ALL_OFF:
            num_near, value, off = len(far), 0.0, 0.0
            near[:], gradient[:] = every, 0.0
        for row in range(first[b], first[b + 1]):
            p = order[row]
            point = points[p]
            cones = value + cones_at(point, near[:num_near], ends, first_cone, center, moment, middle, far, factors)
            for k in range(3):
                cones += gradient[k] * (point[k] - place[k])
            winding[p] = count[p] - cones
            if num_near < len(far) and np.abs(levels - winding[p]).min() < off + _MARGIN:
                cones = cones_at(point, every, ends, first_cone, center, moment, middle, far, factors)
                winding[p] = count[p] - cones
    return winding


@numba.njit(cache=True, error_model="numpy")
def _add_dipole(place: Array, middle: Array, moment: Array, gradient: Array) -> float:
    """Winding number of a dipole at a place; adds its gradient there."""
    x, y, z = middle[0] - place[0], middle[1] - place[1], middle[2] - place[2]
    squared = x * x + y * y + z * z
    scale = 1.0 / (4.0 * np.pi * squared * np.sqrt(squared))
    flow = x * moment[0] + y * moment[1] + z * moment[2]
    gradient[0] += scale * (3.0 * flow * x / squared - moment[0])
    gradient[1] += scale * (3.0 * flow * y / squared - moment[1])
    gradient[2] += scale * (3.0 * flow * z / squared - moment[2])
    return flow * scale


@numba.njit(cache=True, error_model="numpy")
def _bend(place: Array, reach: float, cx: float, cy: float, cz: float, ends: Array, first: int, last: int) -> float:
    """How far faces first..last of a cone may be off their linear function within ``reach`` of a place.

    Their apex lies at c from there. The second derivative of what an edge of length l along the rim adds is at most
    2 l / (4 pi d^3) at distance d. Infinite where a face, within half that length of its middle line, is in reach.
    """
    total, far_enough = 0.0, (4.0 * np.pi * _MAX_OFF) / (reach * reach)
    for e in range(first, last):
        ax, ay, az = ends[0, e] - place[0], ends[1, e] - place[1], ends[2, e] - place[2]
        bx, by, bz = ends[3, e] - place[0], ends[4, e] - place[1], ends[5, e] - place[2]
        length = np.sqrt((bx - ax) ** 2 + (by - ay) ** 2 + (bz - az) ** 2)
        gap = np.sqrt(_squared_gap(ax, ay, az, bx, by, bz)) - reach
        if gap <= 0.0:
            return np.inf
        total += length / gap**3
        if total > far_enough:
            return np.inf
        middle = _squared_gap(cx, cy, cz, 0.5 * (ax + bx), 0.5 * (ay + by), 0.5 * (az + bz))
        if middle <= (reach + 0.5 * length) ** 2:
            return np.inf
    return total * reach * reach / (4.0 * np.pi)


@numba.njit(cache=True, error_model="numpy")
def _squared_gap(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> float:
    """Squared distance of the origin from a segment."""
    ux, uy, uz = bx - ax, by - ay, bz - az
    share = min(max(-(ax * ux + ay * uy + az * uz) / (ux * ux + uy * uy + uz * uz + 1e-300), 0.0), 1.0)
    x, y, z = ax + share * ux, ay + share * uy, az + share * uz
    return x * x + y * y + z * z


@numba.njit(cache=True, error_model="numpy")
def _add_gradient(place: Array, ends: Array, first: int, last: int, gradient: Array) -> None:
    """Add the gradient of the winding number of a surface with given edges: Biot and Savart's integral along them."""
    for e in range(first, last):
        ax, ay, az = ends[0, e] - place[0], ends[1, e] - place[1], ends[2, e] - place[2]
        bx, by, bz = ends[3, e] - place[0], ends[4, e] - place[1], ends[5, e] - place[2]
        la, lb = np.sqrt(ax * ax + ay * ay + az * az), np.sqrt(bx * bx + by * by + bz * bz)
        scale = (la + lb) / (4.0 * np.pi * la * lb * (la * lb + ax * bx + ay * by + az * bz))
        gradient[0] += scale * (ay * bz - az * by)
        gradient[1] += scale * (az * bx - ax * bz)
        gradient[2] += scale * (ax * by - ay * bx)
