from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.edges import count_faulty_edges, directed_edges, edge_order, unmatched

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def boundary(faces, num_vertices):
    return unmatched(*directed_edges(faces), num_vertices)


def test_a_closed_mesh_has_no_faulty_edge():
    assert count_faulty_edges(TETRAHEDRON, 4) == (0, 0)
    assert len(boundary(TETRAHEDRON, 4)) == 0


def test_open_flipped_and_repeated_faces_are_counted():
    assert count_faulty_edges(TETRAHEDRON[1:], 4) == (0, 3)
    flipped = np.concatenate([TETRAHEDRON[:1, ::-1], TETRAHEDRON[1:]])
    assert count_faulty_edges(flipped, 4) == (3, 3), "its three edges run one way, twice"
    assert count_faulty_edges(np.concatenate([TETRAHEDRON, TETRAHEDRON[:1]]), 4) == (3, 0)


def test_the_boundary_runs_as_the_faces_do():
    edges = {tuple(edge) for edge in boundary(TETRAHEDRON[1:], 4).tolist()}
    assert edges == {(0, 1), (1, 2), (2, 0)}, "against the missing face 0, 2, 1"
    flipped = np.concatenate([TETRAHEDRON[:1, ::-1], TETRAHEDRON[1:]])
    assert len(boundary(flipped, 4)) == 6, "each of three edges is left over twice"


@pytest.mark.parametrize("num_vertices", [3, 40, 5000])
def test_the_order_is_lexicographic_and_stable(rng, num_vertices):
    """With few vertices the buckets are large and sorted by the library, with many they are small."""
    start, end = rng.integers(0, num_vertices, (2, 3000))
    low, high = np.minimum(start, end), np.maximum(start, end)
    assert np.array_equal(edge_order(start, end, num_vertices), np.lexsort((high, low)))


def test_boundaries_have_no_boundary(rng):
    faces = rng.integers(0, 30, (200, 3))
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    edges = boundary(faces, 30)
    assert len(edges) > 100
    assert np.array_equal(np.bincount(edges[:, 0], minlength=30), np.bincount(edges[:, 1], minlength=30))
