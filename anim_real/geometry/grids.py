"""Cubic lattices that are never stored densely: keys of lattice points, cells and neighbours.

Rule: lattice point (i, j, k) lies at ``origin + cell_m * (i, j, k)``; cell (i, j, k) is the cube between
lattice points (i, j, k) and (i+1, j+1, k+1). Values live on lattice points (corners), never on cell centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
_AXIS_BITS = 21  # three axes fit in 63 bits
_LIMIT = 1 << _AXIS_BITS
CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], dtype=np.int64)  # corner c = x + 2 y + 4 z
_MORTON_BITS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """A cubic lattice whose points are addressed by one integer key.

    Attributes:
        origin: (3,) position of lattice point (0, 0, 0).
        cell_m: edge length of a cell, in the unit of the points.
        shape: number of lattice points along x, y, z; at most 2^21 each.
    """

    origin: Array
    cell_m: float
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        assert self.cell_m > 0
        assert all(2 <= size <= _LIMIT for size in self.shape)

    @classmethod
    def around(cls, low: ArrayLike, high: ArrayLike, *, cell_m: float, padding_cells: int) -> Lattice:
        """Lattice that covers the box low..high (3,) with at least ``padding_cells`` cells around it.

        The box is centred, so that the result moves with the box (translation invariance).
        """
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        num_cells = np.ceil((high - low) / cell_m).astype(int) + 2 * padding_cells
        origin = (low + high) / 2 - num_cells * cell_m / 2
        shape = (int(num_cells[0]) + 1, int(num_cells[1]) + 1, int(num_cells[2]) + 1)
        return cls(origin=origin, cell_m=float(cell_m), shape=shape)

    @property
    def strides(self) -> Keys:
        """(3,) what one step along x, y, z adds to a key."""
        return np.array([1, self.shape[0], self.shape[0] * self.shape[1]], dtype=np.int64)

    @property
    def corner_offsets(self) -> Keys:
        """(8,) what to add to a cell's key to get its corners' keys, corner c = x + 2 y + 4 z."""
        return CORNERS @ self.strides

    def keys(self, index: NDArray[np.int64]) -> Keys:
        """(...) keys of lattice indices (..., 3)."""
        return index @ self.strides

    def index(self, keys: Keys) -> NDArray[np.int64]:
        """(..., 3) lattice indices of keys (...)."""
        plane, x = np.divmod(keys, self.shape[0])
        z, y = np.divmod(plane, self.shape[1])
        return np.stack([x, y, z], -1)

    def points(self, keys: Keys) -> Array:
        """(..., 3) positions of lattice points."""
        return self.origin + self.cell_m * self.index(keys)

    def cells_of(self, points: ArrayLike) -> Keys:
        """(...) key of the cell that holds each of points (..., 3); points must lie on the lattice."""
        index = np.floor((np.asarray(points) - self.origin) / self.cell_m).astype(np.int64)
        return self.keys(np.clip(index, 0, np.array(self.shape) - 2))

    def touches_border(self, cell_keys: Keys) -> bool:
        """Whether any of the cells lies at the outer layer of the lattice."""
        index = self.index(cell_keys)
        return bool(((index <= 0) | (index >= np.array(self.shape) - 2)).any())


@numba.njit(cache=True)
def bounding_box(points: Array) -> tuple[Array, Array]:
    """Lowest and highest coordinates (3,) of points (P, 3); many times faster than reducing along the first axis."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(len(points)):
        for axis in range(3):
            low[axis], high[axis] = min(low[axis], points[i, axis]), max(high[axis], points[i, axis])
    return low, high


class KeyTable:
    """Numbers keys >= 0 as 0, 1, 2, ... in the order in which they first appear (hashing with open addressing)."""

    def __init__(self, expected: int = 1024) -> None:
        self._slots = _empty_slots(1 << max(10, (2 * expected - 1).bit_length()))
        self._keys = np.empty(len(self._slots) // 2, dtype=np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> Keys:
        """(N,) the keys, in the order of their numbers."""
        return self._keys[: self._count]

    def add(self, keys: Keys) -> NDArray[np.int64]:
        """Numbers of keys of any shape; unknown ones are appended."""
        flat = np.ascontiguousarray(keys).ravel()
        numbers = np.empty(len(flat), dtype=np.int64)
        done = 0
        while True:
            done, self._count = _add_keys(self._slots, self._keys, self._count, flat, numbers, done)
            if done == len(flat):
                return numbers.reshape(keys.shape)
            self._grow()

    def _grow(self) -> None:
        known = self.keys
        self._slots = _empty_slots(2 * len(self._slots))
        self._keys = np.empty(len(self._slots) // 2, dtype=np.int64)
        _add_keys(self._slots, self._keys, 0, known, np.empty(len(known), dtype=np.int64), 0)


def _empty_slots(count: int) -> NDArray[np.int64]:
    """(count, 2) slots of key and number; count is a power of 2."""
    return np.full((count, 2), -1, dtype=np.int64)


@numba.njit(cache=True)
def _add_keys(
    slots: NDArray[np.int64], table: Keys, count: int, keys: Keys, numbers: NDArray[np.int64], start: int
) -> tuple[int, int]:
    """Number keys from ``start`` on; stops early when the table is full. Returns how far it came and the count."""
    mask = len(slots) - 1
    for i in range(start, len(keys)):
        key = keys[i]
        # the multiplier is 2^64 / the golden ratio; runs of four neighbours share a cache line
        mixed = (np.uint64(key >> 2) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)
        slot = (np.int64(mixed << np.uint64(2)) | (key & 3)) & mask
        while slots[slot, 0] >= 0 and slots[slot, 0] != key:
            slot = (slot + 1) & mask
        if slots[slot, 0] < 0:
            if count == len(table):
                return i, count
            slots[slot, 0] = key
            slots[slot, 1] = count
            table[count] = key
            count += 1
        numbers[i] = slots[slot, 1]
    return len(keys), count


def morton_order(points: ArrayLike) -> NDArray[np.int64]:
    """(P,) order that visits points (P, 3) along a Z-curve, so that neighbours in it are neighbours in space."""
    keys, index_mask = morton_keys(np.ascontiguousarray(points, dtype=np.float64))
    keys.sort()
    return keys & index_mask


def morton_keys(points: Array) -> tuple[Keys, int]:
    """Integers (P,) that sort points (P, 3) along a Z-curve; their low bits, under the mask, are the points' rows."""
    index_bits = (len(points) - 1).bit_length()
    bits = min(_MORTON_BITS, (63 - index_bits) // 3)
    low, high = bounding_box(points)
    scale = (2**bits - 1) / max(float((high - low).max()), 1e-300)
    return _morton_keys(points, low, scale, index_bits), (1 << index_bits) - 1


@numba.njit(cache=True)
def _morton_keys(points: Array, low: Array, scale: float, index_bits: int) -> Keys:
    keys = np.empty(len(points), np.int64)
    for i in range(len(points)):
        code = np.uint64(0)
        for axis in range(3):
            code |= _spread(np.uint64((points[i, axis] - low[axis]) * scale)) << np.uint64(axis)
        keys[i] = np.int64(code) << index_bits | i
    return keys


@numba.njit(cache=True)
def _spread(value: np.uint64) -> np.uint64:
    """Put two zero bits between the 21 low bits (the usual magic numbers of Morton codes)."""
    value = (value | value << np.uint64(32)) & np.uint64(0x1F00000000FFFF)
    value = (value | value << np.uint64(16)) & np.uint64(0x1F0000FF0000FF)
    value = (value | value << np.uint64(8)) & np.uint64(0x100F00F00F00F00F)
    value = (value | value << np.uint64(4)) & np.uint64(0x10C30C30C30C30C3)
    return (value | value << np.uint64(2)) & np.uint64(0x1249249249249249)
