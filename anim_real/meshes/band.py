"""The narrow band: only the lattice cells that the closed surface passes through are ever looked at.

Seeds are the cells that the scan's triangles pass through. Where the surface w = 0.5 leaves a seed cell
through a cell face (over a hole), the neighbour is added, until no mixed cell face is left unpaired. Nothing is
missed: away from the scan w is harmonic, so a closed piece of {w = 0.5} cannot hang free in empty
space (maximum principle); every piece touches the scan, hence a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.grids import CORNERS, Lattice, unique_keys

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
NOTHING_INSIDE = "The scan is flat, or smaller than a cell: raise the resolution"
_PATTERNS = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)  # (256, 8) bit c: corner c is inside


def _face_is_mixed() -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Axis, side and, per pattern, whether the cell's face there has inside and outside corners."""
    faces = []
    for axis in range(3):
        for side in (0, 1):
            corners = _PATTERNS[:, CORNERS[:, axis] == side]
            faces.append((axis, side, corners.any(1) & ~corners.all(1)))
    return faces


_MIXED_FACES = _face_is_mixed()


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Cells through which the surface w = 0.5 passes.

    Attributes:
        cells: (C,) keys of the mixed cells.
        corners: (C, 8) rows of ``keys``.
        keys: (K,) sorted keys of the lattice points at their corners.
        winding: (K,) winding number there.
        peak: largest winding number met on the way, inner shells included.
        num_evaluations: winding numbers evaluated in all.
    """

    cells: Keys
    corners: NDArray[np.int64]
    keys: Keys
    winding: Array
    peak: float
    num_evaluations: int


def grow_band(lattice: Lattice, seeds: Keys, winding_at: Callable[[Keys], Array], inside: float) -> Band:
    """Evaluate the winding number at the seeds' corners and follow its level ``inside`` until it closes.

    Args:
        lattice: where cells and points live.
        seeds: (S,) sorted unique cell keys.
        winding_at: maps sorted unique lattice point keys (K,) to winding numbers (K,).
        inside: the level.

    Raises:
        DataError: the surface reaches the lattice's border, or there is none.
    """
    known = _Table(np.zeros(0, dtype=np.int64), np.zeros(0))
    fresh, seen = seeds, seeds
    recent = np.zeros(0, dtype=np.int64)
    mixed_cells, peak = [], 0.0
    while len(fresh):
        wanted = unique_keys(fresh[:, None] + lattice.corner_offsets)
        wanted = wanted[~known.holds(wanted)]
        winding = winding_at(wanted)
        known.add(wanted, winding)
        peak = max(peak, float(winding.max(initial=0.0)))
        is_inside = known.get(fresh[:, None] + lattice.corner_offsets) > inside
        pattern = np.packbits(is_inside, axis=1, bitorder="little")[:, 0]
        mixed = (pattern != 0) & (pattern != 255)
        mixed_cells.append(fresh[mixed])
        if lattice.touches_border(fresh[mixed]):
            raise DataError(
                "the surface does not close near the scan", where="mesh", fix="Less than half of the object was scanned"
            )
        neighbours = _open_neighbours(lattice, fresh[mixed], pattern[mixed])
        neighbours = neighbours[~_member(neighbours, seen) & ~_member(neighbours, recent)]
        recent = unique_keys(np.concatenate([recent, neighbours]))
        fresh = neighbours
    cells = np.sort(np.concatenate(mixed_cells))
    if len(cells) == 0:
        raise DataError("encloses nothing", where="mesh", fix=NOTHING_INSIDE)
    keys = unique_keys(cells[:, None] + lattice.corner_offsets)
    return Band(
        cells=cells,
        corners=np.searchsorted(keys, cells[:, None] + lattice.corner_offsets),
        keys=keys,
        winding=known.get(keys),
        peak=peak,
        num_evaluations=known.size,
    )


def _open_neighbours(lattice: Lattice, cells: Keys, pattern: NDArray[np.uint8]) -> Keys:
    """Sorted keys of the cells on the other side of mixed cell faces."""
    found = [
        cells[is_mixed[pattern]] + (1 if side else -1) * lattice.strides[axis] for axis, side, is_mixed in _MIXED_FACES
    ]
    return unique_keys(np.concatenate(found))


def _member(keys: Keys, table: Keys) -> NDArray[np.bool_]:
    """(K,) whether each key is in the sorted table."""
    if len(table) == 0:
        return np.zeros(len(keys), dtype=bool)
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return table[place] == keys


class _Table:
    """Values by key in two sorted levels: a large one that rests, a small one that takes the new."""

    def __init__(self, keys: Keys, values: Array) -> None:
        self._levels = [(keys, values), (keys, values)]

    @property
    def size(self) -> int:
        return sum(len(keys) for keys, _ in self._levels)

    def holds(self, keys: Keys) -> NDArray[np.bool_]:
        return _member(keys, self._levels[0][0]) | _member(keys, self._levels[1][0])

    def add(self, keys: Keys, values: Array) -> None:
        level = 1 if len(self._levels[0][0]) > 8 * len(self._levels[1][0]) + 8 * len(keys) else 0
        parts = self._levels[level:]
        all_keys = np.concatenate([*(part[0] for part in parts), keys])
        all_values = np.concatenate([*(part[1] for part in parts), values])
        order = np.argsort(all_keys, kind="stable")
        self._levels[level] = (all_keys[order], all_values[order])
        if level == 0:
            self._levels[1] = (all_keys[:0], all_values[:0])

    def get(self, keys: Keys) -> Array:
        values = np.full(keys.shape, np.nan)
        for table, stored in self._levels:
            if len(table):
                place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
                found = table[place] == keys
                values[found] = stored[place[found]]
        assert not np.isnan(values).any()
        return values
