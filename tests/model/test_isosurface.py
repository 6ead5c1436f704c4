"""Coarse-to-fine search against evaluating every lattice point."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.grids import Lattice
from anim_real.model.isosurface import SurfaceCells, evaluated, surface_cells

LATTICE = Lattice.around([-20, -32, -12], [20, 32, 12], cell_m=0.8, padding_cells=2)
LOW, HIGH = np.array([-20.0, -32.0, -12.0]), np.array([20.0, 32.0, 12.0])


def body(points: np.ndarray) -> np.ndarray:
    """Two balls joined by a thin bar, exact distance."""
    along = np.clip(points[:, 1] / 20, -1, 1)[:, None] * (0.0, 20.0, 0.0)
    bar = np.linalg.norm(points - along, axis=1) - 1.0
    balls = [np.linalg.norm(points - (0, y, 0), axis=1) - radius for y, radius in ((20.0, 7.0), (-20.0, 5.0))]
    return np.minimum(bar, np.minimum(*balls))


def rippled(points: np.ndarray) -> np.ndarray:
    """As a network leaves it: ripples and floaters, steeper than a distance in places."""
    ripples = 0.4 * np.sin(points[:, 0] * 1.3) * np.cos(points[:, 1] * 0.9) * np.sin(points[:, 2] * 1.1)
    floater = np.linalg.norm(points - (14.0, 5.0, 2.0), axis=1) - 1.5
    return np.minimum(body(points) + ripples, floater)


def dense(field, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    index = np.stack(np.meshgrid(*(np.arange(n - 1) for n in lattice.shape), indexing="ij"), -1).reshape(-1, 3)
    keys = np.sort(lattice.keys(index))
    corners = keys[:, None] + lattice.corner_offsets
    unique, inverse = np.unique(corners, return_inverse=True)
    values = evaluated(field, lattice.points(unique))[inverse].reshape(-1, 8)
    mixed = (values < 0).any(1) & ~(values < 0).all(1)
    return keys[mixed], values[mixed]


@pytest.mark.parametrize("field", [body, rippled])
@pytest.mark.parametrize("coarsest", [2, 16])
def test_finds_exactly_the_cells_of_the_dense_lattice(field, coarsest: int) -> None:
    found = surface_cells(field, LATTICE, LOW, HIGH, coarsest=coarsest)
    keys, values = dense(field, LATTICE)
    assert np.array_equal(found.cells, keys)
    assert np.array_equal(found.values, values)


def test_evaluates_a_small_part() -> None:
    found = surface_cells(body, LATTICE, LOW, HIGH)
    assert found.num_evaluations < np.prod(LATTICE.shape) / 8


def test_follows_the_surface_out_of_the_start_box() -> None:
    found = surface_cells(body, LATTICE, np.array([-8.0, 12.0, -8.0]), np.array([8.0, 28.0, 8.0]))
    assert np.array_equal(found.cells, dense(body, LATTICE)[0])


def test_continuation_mends_pruning_that_was_too_bold() -> None:
    found = surface_cells(body, LATTICE, LOW, HIGH, lipschitz=0.6)
    assert np.array_equal(found.cells, dense(body, LATTICE)[0])


def test_a_field_without_surface_gives_nothing() -> None:
    found: SurfaceCells = surface_cells(lambda points: np.full(len(points), 3.0), LATTICE, LOW, HIGH)
    assert len(found.cells) == 0


def test_exact_zeros_are_outside() -> None:
    assert (evaluated(lambda points: np.zeros(len(points)), np.zeros((4, 3))) > 0).all()
