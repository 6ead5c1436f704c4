from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.grids import CORNERS, KeyTable, Lattice, bounding_box, morton_keys, morton_order


@pytest.fixture
def lattice():
    return Lattice(origin=np.array([1.0, -2.0, 0.5]), cell_m=0.25, shape=(7, 5, 9))


def test_keys_and_indices_are_inverse(lattice):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in lattice.shape), indexing="ij"), -1)
    keys = lattice.keys(index)
    assert np.array_equal(np.sort(keys.ravel()), np.arange(7 * 5 * 9))
    assert np.array_equal(lattice.index(keys), index)


def test_points_are_corners_not_centres(lattice):
    assert np.allclose(lattice.points(lattice.keys(np.array([0, 0, 0]))), lattice.origin)
    assert np.allclose(lattice.points(lattice.keys(np.array([2, 1, 4]))), (1.5, -1.75, 1.5))


def test_a_point_is_between_the_corners_of_its_cell(lattice, rng):
    points = lattice.origin + rng.uniform(0, 1, (500, 3)) * (np.array(lattice.shape) - 1) * lattice.cell_m
    corners = lattice.points(lattice.cells_of(points)[:, None] + lattice.corner_offsets)
    assert (points >= corners.min(1) - 1e-12).all()
    assert (points <= corners.max(1) + 1e-12).all()
    assert np.allclose(corners[:, 7] - corners[:, 0], lattice.cell_m)


def test_corner_order_is_x_2y_4z(lattice):
    cell = lattice.keys(np.array([1, 1, 1]))
    offset = (lattice.points(cell + lattice.corner_offsets) - lattice.points(cell)) / lattice.cell_m
    assert np.allclose(offset, CORNERS)


def test_a_lattice_around_a_box_is_centred_and_padded():
    lattice = Lattice.around([-1.0, 0.0, 2.0], [1.0, 1.05, 2.3], cell_m=0.1, padding_cells=3)
    far = lattice.points(lattice.keys(np.array(lattice.shape) - 1))
    assert np.allclose((lattice.origin + far) / 2, (0.0, 0.525, 2.15))
    assert (lattice.origin <= np.array([-1.0, 0.0, 2.0]) - 0.3 + 1e-9).all()
    assert (far >= np.array([1.0, 1.05, 2.3]) + 0.3 - 1e-9).all()


def test_the_border_is_known(lattice):
    assert lattice.touches_border(lattice.keys(np.array([[0, 2, 2]])))
    assert lattice.touches_border(lattice.keys(np.array([[3, 3, 2]])))
    assert not lattice.touches_border(lattice.keys(np.array([[3, 2, 2], [1, 1, 1]])))


def test_large_lattices_do_not_overflow():
    lattice = Lattice(origin=np.zeros(3), cell_m=1.0, shape=(2_000_000, 2_000_000, 2_000_000))
    index = np.array([[1_999_999, 1_999_999, 1_999_999], [0, 1, 1_234_567]])
    assert np.array_equal(lattice.index(lattice.keys(index)), index)


@pytest.mark.parametrize("expected", [1, 100_000])
def test_a_key_table_numbers_keys_as_they_come(rng, expected):
    table = KeyTable(expected)
    keys = np.concatenate([rng.integers(0, 2**62, 3000), np.arange(5000), rng.integers(0, 300, 4000) * 2**31])
    keys = rng.permutation(np.concatenate([keys, keys])).reshape(-1, 8)
    numbers = table.add(keys)
    assert numbers.shape == keys.shape
    _, first = np.unique(keys, return_index=True)
    assert np.array_equal(table.keys, keys.ravel()[np.sort(first)])
    assert np.array_equal(table.keys[numbers], keys)
    assert np.array_equal(table.add(keys), numbers), "nothing new"
    assert table.add(np.array([2**62 + 1])).tolist() == [len(table) - 1]


def test_morton_order_is_a_permutation_that_keeps_neighbours_together(rng):
    points = rng.uniform(-3, 5, (4000, 3))
    order = morton_order(points)
    assert np.array_equal(np.sort(order), np.arange(4000))
    step = np.linalg.norm(np.diff(points[order], axis=0), axis=1).mean()
    assert step < 0.25 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()


def test_morton_order_of_a_cube_is_the_z_curve():
    assert morton_order(CORNERS[[5, 0, 7, 2, 1, 4, 3, 6]].astype(float)).tolist() == [1, 4, 3, 6, 5, 0, 7, 2]


def test_morton_order_of_one_place():
    assert morton_order(np.ones((3, 3))).tolist() == [0, 1, 2]


def test_the_box_of_points(rng):
    points = rng.normal(0, 3, (500, 3))
    low, high = bounding_box(points)
    assert np.array_equal(low, points.min(0))
    assert np.array_equal(high, points.max(0))


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_morton_keys_hold_the_rows(rng, count):
    """However many points there are, key and row fit in one positive integer."""
    keys, index_mask = morton_keys(rng.normal(0, 3, (count, 3)))
    assert np.array_equal(np.sort(keys & index_mask), np.arange(count))
    assert (keys >= 0).all()
