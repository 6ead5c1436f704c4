"""Whole winding numbers by counting crossings, against libigl's sum over the triangles."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import Mesh
from anim_real.meshes.columns import Columns

from .shapes import box, inverted, joined, punched, sphere, torus


def exact(mesh, points):
    import igl

    return np.rint(np.asarray(igl.winding_number(mesh.vertices, mesh.faces, points))).astype(int)


def count(mesh, points):
    return Columns.of(mesh.vertices, mesh.faces).count(points, len(mesh.faces))[0]


SHAPES = {
    "sphere": sphere(subdivisions=3),
    "torus": torus(around=60, across=30),
    "inverted": inverted(torus(around=40, across=20)),
    "overlapping": joined(sphere(0.5, 3), sphere(0.4, 3, (0.5, 0.1, 0)), inverted(sphere(0.2, 2))),
    "large faces": joined(box((-0.5, -0.3, -0.4), (0.5, 0.3, 0.4)), sphere(0.05, 4, (0.1, 0.1, 0.6))),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("turn", range(3))
def test_counts_are_the_winding_number(rng, name, turn):
    """Turned, so that lines run along each axis."""
    mesh = SHAPES[name]
    mesh = mesh.moved(np.roll(mesh.vertices * (1.0, 0.9, 0.8), turn, axis=1))
    points = rng.uniform(-1.0, 1.0, (4000, 3))
    points[:2000] = mesh.corners.mean(1)[rng.integers(len(mesh.faces), size=2000)] + rng.normal(0, 1e-3, (2000, 3))
    found = count(mesh, points)
    assert np.array_equal(found, exact(mesh, points))
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("seed", range(3))
def test_lines_through_edges_and_vertices_count_once(seed):
    """Vertices on a coarse grid and queries on its lines: nearly every line meets edges and vertices."""
    rng = np.random.default_rng(seed)
    mesh = joined(torus(around=40, across=20), sphere(0.3, 3), inverted(sphere(0.2, 2)))
    mesh = mesh.moved(np.rint(mesh.vertices * 16) / 16)
    points = np.rint(rng.uniform(-0.8, 0.8, (4000, 3)) * 16) / 16
    axis = Columns.of(mesh.vertices, mesh.faces).axis
    points[:, axis] += 0.3 / 16  # off the vertices, along the lines
    off_surface = SurfaceDistance(mesh.vertices, mesh.faces).closest(points).distance > 1e-6
    assert off_surface.mean() > 0.8
    assert np.array_equal(count(mesh, points)[off_surface], exact(mesh, points)[off_surface])


def test_far_from_the_origin_nothing_is_lost(rng):
    mesh, points = SHAPES["torus"], rng.uniform(-0.8, 0.8, (2000, 3))
    away = np.array([500.0, -300.0, 800.0])
    assert np.array_equal(count(mesh, points), count(mesh.moved(mesh.vertices + away), points + away))


def test_points_on_watched_faces_are_named(rng):
    mesh = sphere(subdivisions=3)
    columns, watched = Columns.of(mesh.vertices, mesh.faces), 200
    face = rng.integers(len(mesh.faces), size=1000)
    weights = rng.dirichlet((2.0, 2.0, 2.0), 1000)
    on_face = np.einsum("ij,ijk->ik", weights, mesh.corners[face])
    assert np.array_equal(columns.count(on_face, watched)[1], face >= watched)
    assert not columns.count(on_face * 1.001, watched)[1].any()


def test_few_large_faces_among_many_small_ones_do_not_fill_the_lists():
    """A box around a fine ball: every face of it lies over thousands of columns."""
    fine = sphere(0.4, 5)
    walls = [box((-1 - k / 10, -1, -1), (1, 1, 1)) for k in range(60)]
    columns = Columns.of(*(lambda m: (m.vertices, m.faces))(joined(fine, *walls)))
    assert len(columns.listed) <= 16 * (len(fine.faces) + 60 * 12)
    assert columns.count(np.zeros((1, 3)), 0)[0][0] == 61


def test_a_flat_surface_is_never_around_a_point(rng):
    flat = punched(sphere(subdivisions=2), rng, 0, 0.1)
    flat = Mesh(vertices=flat.vertices * (1, 1, 0), faces=flat.faces)
    assert (count(flat, rng.uniform(-1, 1, (200, 3))) == 0).all()
