"""The narrow band: only the lattice cells that the closed surface passes through are ever looked at.

Seeds are the cells at the lattice edges that the scan crosses, and those at its rims. Where the surface w = 0.5 leaves
a seed cell through a cell face (over a hole), the neighbour is added, until no mixed cell face is left unpaired.
Nothing is missed: away from the scan w is harmonic, so a closed piece of {w = 0.5} cannot hang free in empty
space (maximum principle); every piece touches the scan, hence a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.grids import CORNERS, KeyTable, Lattice

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
NOTHING_INSIDE = "The scan is flat, or smaller than a cell: raise the resolution"
_PATTERNS = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)  # (256, 8) bit c: corner c is inside
_CORNERS_PER_CELL = 2.2  # lattice points per cell of a band, about
_SEEDS_PER_CELL = 4  # a cell is a seed once for each of its edges that the scan crosses, about


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
        pattern: (C,) uint8: bit c is set where corner c is inside.
        corners: (C, 8) rows of ``keys``.
        keys: (K,) keys of all lattice points that were looked at.
        winding: (K,) winding number there.
    """

    cells: Keys
    pattern: NDArray[np.uint8]
    corners: NDArray[np.int64]
    keys: Keys
    winding: Array


def grow_band(lattice: Lattice, seeds: Keys, winding_at: Callable[[Keys], Array], inside: float) -> Band:
    """Evaluate the winding number at the seeds' corners and follow its level ``inside`` until it closes.

    Args:
        lattice: where cells and points live.
        seeds: (S,) cell keys.
        winding_at: maps distinct lattice point keys (K,) to winding numbers (K,).
        inside: the level.

    Raises:
        DataError: the surface reaches the lattice's border, or there is none.
    """
    num_cells = len(seeds) // _SEEDS_PER_CELL
    cells, points = KeyTable(num_cells), KeyTable(int(_CORNERS_PER_CELL * num_cells))
    known = _Growing()
    cells.add(seeds)
    found: list[tuple[Keys, NDArray[np.uint8], NDArray[np.int64]]] = []
    num_seen = 0
    while num_seen < len(cells):
        fresh = cells.keys[num_seen:].copy()
        num_seen = len(cells)
        corners = points.add(fresh[:, None] + lattice.corner_offsets)
        known.append(winding_at(points.keys[known.size :]))
        pattern = np.packbits(known.values[corners] > inside, axis=1, bitorder="little")[:, 0]
        mixed = (pattern != 0) & (pattern != 255)
        found.append((fresh[mixed], pattern[mixed], corners[mixed]))
        if lattice.touches_border(fresh[mixed]):
            raise DataError(
                "the surface does not close near the scan", where="mesh", fix="Less than half of the object was scanned"
            )
        for axis, side, is_mixed in _MIXED_FACES:
            cells.add(fresh[is_mixed[pattern]] + (1 if side else -1) * lattice.strides[axis])
    all_cells, pattern, corners = (np.concatenate(part) for part in zip(*found, strict=True))
    if len(all_cells) == 0:
        raise DataError("encloses nothing", where="mesh", fix=NOTHING_INSIDE)
    return Band(cells=all_cells, pattern=pattern, corners=corners, keys=points.keys, winding=known.values)


class _Growing:
    """An array that is appended to in many small steps."""

    def __init__(self) -> None:
        self._buffer, self.size = np.empty(1024), 0

    @property
    def values(self) -> Array:
        return self._buffer[: self.size]

    def append(self, values: Array) -> None:
        if self.size + len(values) > len(self._buffer):
            grown = np.empty(2 * (self.size + len(values)))
            grown[: self.size] = self.values
            self._buffer = grown
        self._buffer[self.size : self.size + len(values)] = values
        self.size += len(values)
