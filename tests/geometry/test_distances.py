from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.distances import SurfaceDistance, sample_surface

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [2, 0, 5], [0, 2, 5.0]])
FACES = np.array([[0, 1, 2], [3, 4, 5]])


def test_known_distances():
    points = np.array([[0.25, 0.25, 0.5], [-3, -4, 0], [0.75, 0.75, 0], [0.5, 0.5, 4.0]])
    answer = SurfaceDistance(VERTICES, FACES).closest(points)
    assert np.allclose(answer.distance, [0.5, 5.0, np.sqrt(0.125), 1.0], atol=1e-6)
    assert np.allclose(answer.point[:3], [[0.25, 0.25, 0], [0, 0, 0], [0.5, 0.5, 0]], atol=1e-6)
    assert answer.face.tolist() == [0, 0, 0, 1]


def test_agrees_with_libigl_in_double(rng):
    import igl

    vertices, faces = igl.icosahedron()
    for _ in range(3):
        vertices, faces = igl.upsample(vertices, faces)
    points = rng.normal(0, 1, (2000, 3))
    squared, _, nearest = igl.point_mesh_squared_distance(points, vertices, faces)
    ours = SurfaceDistance(vertices, faces).closest(points)
    assert np.abs(ours.distance - np.sqrt(squared)).max() < 1e-14
    assert np.abs(ours.point - nearest).max() < 1e-3, "ties may pick another of two equally near points"
    # edges and vertices belong to several faces: ours must hold the point, not be libigl's
    for row in range(100):
        gap, *_ = igl.point_mesh_squared_distance(ours.point[row : row + 1], vertices, faces[ours.face[row : row + 1]])
        assert gap[0] < 1e-12


@pytest.mark.parametrize("offset", [0.0, 100.0, -5000.0])
def test_far_from_the_origin_nothing_is_lost(rng, offset):
    """In float32, 5 km away distances would be wrong by 0.5 mm."""
    points = rng.uniform(-1, 1, (500, 3))
    here = SurfaceDistance(VERTICES, FACES).closest(points)
    there = SurfaceDistance(VERTICES + offset, FACES).closest(points + offset)
    assert np.abs(here.distance - there.distance).max() < 1e-11
    assert np.abs(here.point + offset - there.point).max() < 1e-11


def test_samples_lie_on_their_faces_evenly_by_area(rng):
    points, face = sample_surface(VERTICES, FACES, 20_000, rng)
    assert np.abs(SurfaceDistance(VERTICES, FACES).closest(points).distance).max() < 1e-6
    assert np.array_equal(points[:, 2] > 2.5, face == 1)
    assert (face == 1).mean() == pytest.approx(0.8, abs=0.01)
    assert points[face == 1][:, :2].mean(0) == pytest.approx((2 / 3, 2 / 3), abs=0.02)


def test_samples_are_seeded():
    first, second = (sample_surface(VERTICES, FACES, 50, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
