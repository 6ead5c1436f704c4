"""Where the lines of a lattice cross a triangle mesh: every crossing once, exactly consistent.

Positions are snapped to a fixed-point grid (2^-18 of a cell or finer, nanometres for a person), so that the side of a
line on which an edge lies is an exact integer. A line that meets an edge or a vertex is moved aside by an
infinitesimal step, the same one for all faces (simulation of simplicity, Edelsbrunner and Muecke 1990): so it
crosses exactly one of the faces around them, and along any line the signed crossings of a closed surface add up to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import Lattice, bounding_box

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
_PRODUCT_BITS = 30  # differences below 2^30: the sum of two products fits in 63 bits
_ORDER_BITS = 20  # crossings of one lattice edge are ordered to 2^-20 of a cell


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossings:
    """Crossings of triangles with the lattice lines along one axis, in order along the lines.

    Attributes:
        edges: (N,) sorted keys of the lower end of the lattice edge that is crossed.
        share: (N,) where on that edge, 0..1.
        step: (N,) int8: +1 where the line goes in through a face (against its normal), -1 where it comes out.
        face: (N,) int64 face that is crossed.
    """

    edges: Keys
    share: Array
    step: NDArray[np.int8]
    face: NDArray[np.int64]

    @property
    def num_crossings(self) -> int:
        """How many there are."""
        return len(self.edges)

    def steps_until(self, edges: Keys, share: Array) -> NDArray[np.int64]:
        """(N,) sum of the steps on lattice edges (N,) before a place (N,) on each, 0..1."""
        total = np.concatenate([[0], np.cumsum(self.step, dtype=np.int64)])
        return total[self.num_until(edges, share)] - total[self.num_until(edges, np.zeros(len(edges)))]

    def num_until(self, edges: Keys, share: Array) -> NDArray[np.int64]:
        """(N,) how many crossings come before a place (N,) on lattice edges (N,), all other edges included."""
        places = self.edges << _ORDER_BITS | (self.share * (1 << _ORDER_BITS)).astype(np.int64)
        ticks = np.clip(share * (1 << _ORDER_BITS), 0, (1 << _ORDER_BITS) - 1).astype(np.int64)
        return np.searchsorted(places, edges << _ORDER_BITS | ticks)


@dataclass(frozen=True, kw_only=True, eq=False)
class SnappedVertices:
    """Vertices in fixed-point lattice coordinates.

    Attributes:
        steps: (V, 3) int64, in 2^-bits of a cell.
        bits: binary places of a cell.
    """

    steps: NDArray[np.int64]
    bits: int

    @classmethod
    def of(cls, lattice: Lattice, vertices: Array) -> SnappedVertices:
        """Snap vertices (V, 3)."""
        local = (vertices - lattice.origin) / lattice.cell_m
        low, high = bounding_box(local)
        reach = int(np.ceil((high - low).max())) + 2
        bits = _PRODUCT_BITS - reach.bit_length()
        return cls(steps=np.rint(local * 2.0**bits).astype(np.int64), bits=bits)


def cross(lattice: Lattice, vertices: SnappedVertices, faces: NDArray[np.int64], axis: int) -> Crossings:
    """Cross triangles (F, 3) with all lattice lines along ``axis``."""
    places, face, step = _cross(vertices.steps, vertices.bits, faces, axis, lattice.strides)
    order = np.argsort(places)
    places = places[order]
    return Crossings(
        edges=places >> _ORDER_BITS,
        share=(places & (1 << _ORDER_BITS) - 1).astype(np.float64) / (1 << _ORDER_BITS),
        step=step[order],
        face=face[order],
    )


@numba.njit(cache=True)
def side_of(ay: int, az: int, by: int, bz: int, y: int, z: int) -> int:
    """Twice the signed area of a, b and the line at (y, z)."""
    return (by - ay) * (z - az) - (bz - az) * (y - ay)


@numba.njit(cache=True)
def is_left(side: int, ay: int, az: int, by: int, bz: int) -> bool:
    """Whether the line, moved by an infinitesimal (e, e^2), lies left of a to b."""
    if side != 0:
        return side > 0
    if az != bz:
        return az > bz
    return by > ay


@numba.njit(cache=True)
def _cross(
    vertices: NDArray[np.int64], bits: int, faces: NDArray[np.int64], axis: int, strides: Keys
) -> tuple[Keys, NDArray[np.int64], NDArray[np.int8]]:
    """Unordered crossings: place (edge key and share in one integer), face and step of each."""
    along, across = (axis + 1) % 3, (axis + 2) % 3
    unit = 1 << bits
    size, capacity = 0, max(1024, len(faces))
    places, face, step = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity, np.int8)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ay, by, cy = vertices[a, along], vertices[b, along], vertices[c, along]
        first, last = (min(ay, by, cy) + unit - 1) >> bits, max(ay, by, cy) >> bits
        if first > last:
            continue
        az, bz, cz = vertices[a, across], vertices[b, across], vertices[c, across]
        low, high = (min(az, bz, cz) + unit - 1) >> bits, max(az, bz, cz) >> bits
        if low > high:
            continue
        area = side_of(ay, az, by, bz, cy, cz)
        if area == 0:
            continue
        ax, bx, cx = vertices[a, axis], vertices[b, axis], vertices[c, axis]
        for j in range(first, last + 1):
            for k in range(low, high + 1):
                y, z = j << bits, k << bits
                ab = side_of(ay, az, by, bz, y, z)
                if is_left(ab, ay, az, by, bz) != (area > 0):
                    continue
                bc = side_of(by, bz, cy, cz, y, z)
                if is_left(bc, by, bz, cy, cz) != (area > 0):
                    continue
                ca = side_of(cy, cz, ay, az, y, z)
                if is_left(ca, cy, cz, ay, az) != (area > 0):
                    continue
                if size == capacity:
                    capacity *= 2
                    places = np.concatenate((places, places))
                    face = np.concatenate((face, face))
                    step = np.concatenate((step, step))
                x = ax + (float(ca) * (bx - ax) + float(ab) * (cx - ax)) / float(area)
                edge_key = j * strides[along] + k * strides[across]
                ticks = int(np.floor(x * (float(1 << _ORDER_BITS) / unit)))
                cell = ticks >> _ORDER_BITS
                edge_key += cell * strides[axis]
                places[size] = edge_key << _ORDER_BITS | ticks - (cell << _ORDER_BITS)
                face[size] = f
                step[size] = -1 if area > 0 else 1
                size += 1
    return places[:size].copy(), face[:size].copy(), step[:size].copy()
