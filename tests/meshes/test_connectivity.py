"""Edges by how many faces have them, against counting them one by one."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from anim_real.geometry.edges import directed_edges, unmatched
from anim_real.meshes.connectivity import EdgeTable

from .shapes import punched, sphere, turned


def random_faces(rng, num_vertices, count):
    faces = rng.integers(0, num_vertices, (count, 3))
    return faces[(faces != np.roll(faces, 1, axis=1)).all(1)]


def by_edge(faces):
    """Faces' edges (as 3 f + k, opposite to corner k) by their two vertices."""
    found = defaultdict(list)
    for f, face in enumerate(faces.tolist()):
        for k in range(3):
            start, end = face[(k + 1) % 3], face[(k + 2) % 3]
            found[min(start, end), max(start, end)].append((3 * f + k, start))
    return found


@pytest.mark.parametrize("num_vertices", [6, 25, 400])
def test_the_table_is_what_counting_finds(rng, num_vertices):
    faces = random_faces(rng, num_vertices, 300)
    table, found = EdgeTable.of(faces, num_vertices), by_edge(faces)
    pairs = {
        tuple(sorted(e for e, _ in edges)): edges[0][1] != edges[1][1] for edges in found.values() if len(edges) == 2
    }
    assert {
        tuple(sorted(pair)): agrees for pair, agrees in zip(table.pairs.tolist(), table.agrees.tolist(), strict=True)
    } == pairs
    assert sorted(table.single.tolist()) == sorted(edges[0][0] for edges in found.values() if len(edges) == 1)
    crowded = [edges for edges in found.values() if len(edges) > 2]
    assert sorted(table.crowded.tolist()) == sorted(e for edges in crowded for e, _ in edges)
    assert table.num_nonmanifold == len(crowded)
    assert table.has_twins == (len(np.unique(np.sort(faces, axis=1), axis=0)) < len(faces))
    assert np.array_equal(np.flatnonzero(table.is_rim(len(faces)).ravel()), np.sort(table.single))


def test_twins_are_found_in_either_orientation(rng):
    mesh = punched(sphere(subdivisions=3), rng, 3, 0.1)
    assert not EdgeTable.of(mesh.faces, len(mesh.vertices)).has_twins
    for twin in (mesh.faces[70], mesh.faces[70][[1, 2, 0]], mesh.faces[70][::-1]):
        assert EdgeTable.of(np.concatenate([mesh.faces, twin[None]]), len(mesh.vertices)).has_twins


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_what_is_unpaired_holds_the_boundary_of_the_turned_faces(rng, share):
    mesh = punched(sphere(subdivisions=3), rng, 3, 0.2)
    fins = random_faces(rng, len(mesh.vertices), 30)  # some stand on edges that have two faces
    fins[:10, :2] = mesh.faces[:10, :2]
    faces = np.concatenate([turned(mesh, rng.random(len(mesh.faces)) < 0.1).faces, fins])
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    is_turned = rng.random(len(faces)) < share
    ends, face = EdgeTable.of(faces, len(mesh.vertices)).unpaired(faces, is_turned)
    after = np.where(is_turned[:, None], faces[:, ::-1], faces)
    expected = unmatched(*directed_edges(after), len(mesh.vertices))
    assert np.array_equal(unmatched(*ends.T, len(mesh.vertices)), expected)
    assert len(expected) > 50
    sides = np.stack([after[face], np.roll(after[face], -1, axis=1)], -1)
    assert (sides == ends[:, None]).all(2).any(1).all(), "each is an edge of its face, in its direction"
