from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError
from anim_real.geometry.grids import Lattice
from anim_real.meshes.band import grow_band
from anim_real.meshes.winding import INSIDE, WindingNumber

from .shapes import punched, sphere


def all_cells(lattice):
    index = np.stack(np.meshgrid(*(np.arange(n - 1) for n in lattice.shape), indexing="ij"), -1).reshape(-1, 3)
    return np.sort(lattice.keys(index))


def band_of(mesh, cells, num_seeds=None):
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    lattice = Lattice.around(low, high, cell_m=float((high - low).max()) / cells, padding_cells=6)
    winding = WindingNumber(mesh.vertices, mesh.faces)
    seeds = np.unique(lattice.cells_of(mesh.corners.mean(1)))[:num_seeds]
    return lattice, winding, grow_band(lattice, seeds, lambda keys: winding.at(lattice.points(keys)), INSIDE)


@pytest.mark.parametrize("num_holes", [0, 5])
def test_the_band_is_every_mixed_cell_of_the_dense_grid(rng, num_holes):
    mesh = punched(sphere(subdivisions=3), rng, num_holes, 0.25)
    lattice, winding, band = band_of(mesh, 24)
    cells = all_cells(lattice)
    inside = winding.at(lattice.points(cells[:, None] + lattice.corner_offsets).reshape(-1, 3)).reshape(-1, 8) > INSIDE
    mixed = inside.any(1) & ~inside.all(1)
    assert np.array_equal(np.sort(band.cells), cells[mixed])
    assert len(band.keys) < 0.4 * len(cells)


def test_one_seed_is_enough(rng):
    mesh = punched(sphere(subdivisions=3), rng, 3, 0.2)
    _, _, full = band_of(mesh, 20)
    _, _, grown = band_of(mesh, 20, num_seeds=30)
    full_order, grown_order = np.argsort(full.cells), np.argsort(grown.cells)
    assert np.array_equal(full.cells[full_order], grown.cells[grown_order])
    assert np.array_equal(full.pattern[full_order], grown.pattern[grown_order])
    assert np.array_equal(full.winding[full.corners[full_order]], grown.winding[grown.corners[grown_order]])
    assert np.array_equal(full.keys[full.corners], full.cells[:, None] + band_of(mesh, 20)[0].corner_offsets)


def test_a_surface_that_runs_away_is_refused():
    lattice = Lattice(origin=np.zeros(3), cell_m=1.0, shape=(12, 12, 12))
    with pytest.raises(DataError, match="does not close"):
        grow_band(
            lattice, lattice.keys(np.array([[5, 5, 5]])), lambda keys: lattice.points(keys)[:, 0] / 5.5 * 0.5, 0.5
        )


def test_nothing_inside_is_refused():
    lattice = Lattice(origin=np.zeros(3), cell_m=1.0, shape=(12, 12, 12))
    with pytest.raises(DataError, match="encloses nothing"):
        grow_band(lattice, lattice.keys(np.array([[5, 5, 5]])), lambda keys: np.zeros(len(keys)), 0.5)
