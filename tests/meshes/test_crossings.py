from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.grids import Lattice
from anim_real.mesh import Mesh
from anim_real.meshes.crossings import SnappedVertices, cross

from .shapes import box, inverted, joined, punched, sphere, torus


def around(mesh: Mesh, cells: int) -> Lattice:
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    cell = float((high - low).max()) / cells
    return Lattice.around(low + 0.21 * cell, high + 0.21 * cell, cell_m=cell, padding_cells=3)


def crossings(mesh, lattice, axis):
    return cross(lattice, SnappedVertices.of(lattice, mesh.vertices), mesh.faces, axis)


def line_of(lattice, edges, axis):
    return np.delete(lattice.index(edges), axis, axis=1) @ [1, 10_000]


@pytest.mark.parametrize("axis", range(3))
def test_crossings_of_a_sphere_are_where_they_should_be(axis):
    radius = 0.5
    mesh = sphere(radius, 5)
    lattice = around(mesh, 30)
    found = crossings(mesh, lattice, axis)
    places = lattice.points(found.edges)
    places[:, axis] += found.share * lattice.cell_m
    assert np.abs(np.linalg.norm(places, axis=1) - radius).max() < 5e-4, "facets lie 0.3 mm below the sphere"
    assert np.array_equal(found.step, -np.sign(places[:, axis])), "in where the sphere begins, out where it ends"
    assert ((found.share >= 0) & (found.share < 1)).all()
    distance = np.abs(np.einsum("ij,ij->i", places - mesh.corners[found.face, 0], normals(mesh)[found.face]))
    assert distance.max() < 1e-7, "on the plane of the face that is named"
    # every line through the ball, none beside it
    across = np.delete(lattice.points(np.arange(np.prod(lattice.shape))), axis, axis=1)
    num_lines = len(np.unique(np.round(across[np.linalg.norm(across, axis=1) < radius - 1e-3], 9), axis=0))
    assert len(np.unique(line_of(lattice, found.edges, axis))) == pytest.approx(num_lines, rel=0.01)


def normals(mesh):
    normal = np.cross(mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0])
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


@pytest.mark.parametrize("axis", range(3))
def test_lines_through_edges_and_vertices_cross_once(axis):
    """The worst case on purpose: all vertices and edges of the box lie on lattice lines."""
    lattice = Lattice(origin=np.zeros(3), cell_m=1.0, shape=(9, 9, 9))
    mesh = box((2, 2, 2), (6, 6, 6))
    found = crossings(mesh, lattice, axis)
    line = line_of(lattice, found.edges, axis)
    count = np.bincount(np.unique(line, return_inverse=True)[1], found.step)
    assert (count == 0).all()
    assert len(np.unique(line)) == 16, "4 x 4 lines: of those in the sides, the lower ones belong to the box"
    assert found.num_crossings == 2 * 16


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("seed", range(3))
def test_signed_crossings_of_closed_surfaces_add_up_to_nothing(axis, seed):
    """Coordinates on a coarse grid put thousands of vertices and edges exactly on lattice lines."""
    rng = np.random.default_rng(seed)
    mesh = joined(torus(around=40, across=20), sphere(0.3, 3), inverted(sphere(0.2, 2)))
    lattice = around(mesh, 24)
    steps = np.rint((mesh.vertices - lattice.origin) / lattice.cell_m * 2) / 2 * lattice.cell_m + lattice.origin
    mesh = mesh.moved(steps)
    found = crossings(mesh, lattice, axis)
    assert found.num_crossings > 100
    _, line = np.unique(line_of(lattice, found.edges, axis), return_inverse=True)
    assert (np.bincount(line, found.step) == 0).all()
    shuffled = Mesh(vertices=mesh.vertices, faces=np.roll(mesh.faces, 1, axis=1)[rng.permutation(len(mesh.faces))])
    again = crossings(shuffled, lattice, axis)
    assert np.array_equal(found.edges, again.edges)


def test_an_open_surface_is_crossed_where_it_is(rng):
    whole = sphere(subdivisions=4)
    raw = punched(whole, rng, 4, 0.15)
    lattice = around(whole, 40)
    full, part = crossings(whole, lattice, 0), crossings(raw, lattice, 0)
    assert 0.7 * full.num_crossings < part.num_crossings < full.num_crossings
    assert np.isin(part.edges, full.edges).all()


def test_order_along_a_line():
    mesh = joined(box((0.1, 0, 0), (0.3, 1, 1)), box((0.5, 0, 0), (0.7, 1, 1)))
    lattice = Lattice(origin=np.full(3, -1.05), cell_m=1.0, shape=(5, 5, 5))
    found = crossings(mesh, lattice, 0)
    assert (np.diff(found.edges) >= 0).all()
    assert found.share == pytest.approx([0.15, 0.35, 0.55, 0.75], abs=1e-5)
    assert found.step.tolist() == [1, -1, 1, -1]


def test_steps_until_a_place_on_an_edge():
    mesh = joined(box((0.1, 0, 0), (0.3, 1, 1)), box((0.5, 0, 0), (0.7, 1, 1)))
    lattice = Lattice(origin=np.full(3, -1.05), cell_m=1.0, shape=(5, 5, 5))
    found = crossings(mesh, lattice, 0)
    edges = np.repeat(found.edges[:1], 6)
    share = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.0])
    assert found.steps_until(edges, share).tolist() == [0, 1, 0, 1, 0, 0]
    assert found.num_until(edges, share).tolist() == [0, 1, 2, 3, 4, 0]
    assert found.steps_until(edges + 1, share).tolist() == [0] * 6, "another edge begins anew"
