"""Finding every lattice cell that a field's zero surface crosses, without evaluating the whole lattice.

Two means together (ANIM.md, Inference): Lipschitz pruning, which skips a block when the field at its
centre exceeds ``lipschitz`` half diagonals, and continuation along found cells, which follows the
surface wherever pruning was wrong and out of the start box. Sign-only refinement misses thin parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import CORNERS, Lattice

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
FieldFunction = Callable[[Array], Array]
_ZERO_NUDGE = 1e-9  # a value of exactly zero would put a vertex on a lattice point, where it belongs to no one edge


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceCells:
    """The cells with mixed signs.

    Attributes:
        cells: (C,) lattice keys, ascending.
        values: (C, 8) field at their corners (corner c = x + 2 y + 4 z), never zero.
        num_evaluations: field values computed.
    """

    cells: Keys
    values: Array
    num_evaluations: int


class _Samples:
    """Field values on lattice points, computed once each."""

    def __init__(self, field: FieldFunction, lattice: Lattice) -> None:
        self._field, self._lattice = field, lattice
        self._keys: Keys = np.zeros(0, dtype=np.int64)
        self._values: Array = np.zeros(0)

    def __len__(self) -> int:
        return len(self._keys)

    def at_corners(self, cells: Keys) -> Array:
        """(C, 8) values at the corners of cells (C,)."""
        corners = cells[:, None] + self._lattice.corner_offsets
        new = np.setdiff1d(corners.ravel(), self._keys)
        if len(new):
            values = evaluated(self._field, self._lattice.points(new))
            order = np.argsort(keys := np.concatenate([self._keys, new]), kind="stable")
            self._keys, self._values = keys[order], np.concatenate([self._values, values])[order]
        return self._values[np.searchsorted(self._keys, corners)]


def surface_cells(
    field: FieldFunction, lattice: Lattice, low: Array, high: Array, *, coarsest: int = 16, lipschitz: float = 1.0
) -> SurfaceCells:
    """Find the cells that the zero surface crosses.

    Args:
        field: values at points (P, 3); negative inside, growing by at most ``lipschitz`` per unit near the surface.
        lattice: where the cells live; the surface must not reach its border.
        low: (3,) lower corner of the box in which the search starts.
        high: (3,) its upper corner.
        coarsest: width of the first blocks in cells; a power of two.
        lipschitz: K of the pruning rule.
    """
    blocks, num_evaluations = _pruned_blocks(field, lattice, low, high, coarsest, lipschitz)
    samples = _Samples(field, lattice)
    pending = np.unique(lattice.keys(blocks))
    seen: Keys = np.zeros(0, dtype=np.int64)
    cells, values = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 8))]
    while len(pending):
        corners = samples.at_corners(pending)
        is_inside = corners < 0
        mixed = is_inside.any(1) & ~is_inside.all(1)
        cells.append(pending[mixed])
        values.append(corners[mixed])
        seen = np.union1d(seen, pending)
        pending = np.setdiff1d(_crossed_neighbours(lattice, pending[mixed], is_inside[mixed]), seen)
    all_cells, all_values = np.concatenate(cells), np.concatenate(values)
    order = np.argsort(all_cells)
    return SurfaceCells(
        cells=all_cells[order], values=all_values[order], num_evaluations=num_evaluations + len(samples)
    )


def evaluated(field: FieldFunction, points: Array) -> Array:
    """Field at points (P, 3), with exact zeros nudged outside."""
    values = np.asarray(field(points), dtype=np.float64)
    return np.where(values == 0.0, _ZERO_NUDGE, values)


def _pruned_blocks(
    field: FieldFunction, lattice: Lattice, low: Array, high: Array, coarsest: int, lipschitz: float
) -> tuple[NDArray[np.int64], int]:
    """Lattice indices (C, 3) of the cells that pruning leaves in the box, and the number of evaluations."""
    assert coarsest & (coarsest - 1) == 0
    last = np.array(lattice.shape) - 2
    first = np.clip(np.floor((np.asarray(low) - lattice.origin) / lattice.cell_m).astype(np.int64), 0, last)
    end = np.clip(np.floor((np.asarray(high) - lattice.origin) / lattice.cell_m).astype(np.int64), 0, last)
    axes = [np.arange(a, b + 1, coarsest) for a, b in zip(first, end, strict=True)]
    blocks = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    width, count = coarsest, 0
    while width > 1:
        values = field(lattice.origin + lattice.cell_m * (blocks + width / 2))
        count += len(blocks)
        blocks = blocks[np.abs(values) <= lipschitz * np.sqrt(3.0) / 2 * width * lattice.cell_m]
        width //= 2
        blocks = (blocks[:, None] + CORNERS * width).reshape(-1, 3)
    return blocks[(blocks <= last).all(1)], count


def _crossed_neighbours(lattice: Lattice, cells: Keys, is_inside: NDArray[np.bool_]) -> Keys:
    """Cells across those faces of ``cells`` whose corners (C, 8) have mixed signs: the surface goes on there."""
    found = [np.zeros(0, dtype=np.int64)]
    index = lattice.index(cells)
    for axis in range(3):
        for side, step in ((0, -1), (1, 1)):
            face = is_inside[:, CORNERS[:, axis] == side]
            stays = (index[:, axis] + step >= 0) & (index[:, axis] + step <= lattice.shape[axis] - 2)
            is_crossed = face.any(1) & ~face.all(1) & stays
            found.append(cells[is_crossed] + step * lattice.strides[axis])
    return np.unique(np.concatenate(found))
