from __future__ import annotations

import numpy as np
import pytest

from anim_real.meshes.winding import INSIDE, WindingNumber

from .shapes import inverted, joined, punched, sphere, torus


def exact(mesh, points):
    import igl

    return np.asarray(igl.winding_number(mesh.vertices, mesh.faces, points))


@pytest.mark.parametrize("sign", [1, -1])
def test_closed_sphere_winds_once(rng, sign):
    mesh = sphere(subdivisions=3) if sign == 1 else inverted(sphere(subdivisions=3))
    points = rng.uniform(-0.8, 0.8, (500, 3))
    radius = np.linalg.norm(points, axis=1)
    winding = WindingNumber(mesh.vertices, mesh.faces).at(points)
    assert np.allclose(winding[radius < 0.45], sign, atol=0.01)
    assert np.allclose(winding[radius > 0.55], 0, atol=0.01)


@pytest.mark.parametrize("method", ["at", "near_levels"])
def test_sides_agree_with_the_exact_number(rng, method):
    mesh = joined(punched(torus(around=80, across=30), rng, 6, 0.12), sphere(0.2, 3, (0.5, 0.0, 0.0)))
    surface = mesh.corners.mean(1)[rng.integers(len(mesh.faces), size=4000)]
    points = surface + rng.normal(0, 0.02, surface.shape)
    truth = exact(mesh, points)
    ours = getattr(WindingNumber(mesh.vertices, mesh.faces), method)(points)
    clear = np.abs(truth - INSIDE) > 0.01
    assert clear.mean() > 0.95
    assert np.array_equal(ours[clear] > INSIDE, truth[clear] > INSIDE)


def test_the_order_of_queries_does_not_matter(rng):
    mesh = sphere(subdivisions=3)
    winding = WindingNumber(mesh.vertices, mesh.faces)
    points = rng.uniform(-0.6, 0.6, (1000, 3))
    assert np.array_equal(winding.at(points), winding.at(points, is_sorted=True))
    assert np.array_equal(winding.near_levels(points), winding.near_levels(points, is_sorted=True))


def test_far_from_the_origin_nothing_is_lost(rng):
    """The tree is float32: a scan 500 m away must be moved to the origin first."""
    mesh = sphere(subdivisions=3)
    points = rng.uniform(-0.6, 0.6, (1000, 3))
    away = np.array([500.0, -300.0, 800.0])
    here = WindingNumber(mesh.vertices, mesh.faces).at(points)
    there = WindingNumber(mesh.vertices + away, mesh.faces).at(points + away)
    assert np.allclose(here, there, atol=1e-4)


def test_no_points_no_answer():
    mesh = sphere(subdivisions=1)
    assert WindingNumber(mesh.vertices, mesh.faces).at(np.zeros((0, 3))).shape == (0,)
