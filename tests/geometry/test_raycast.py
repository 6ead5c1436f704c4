from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.raycast import RayScene

QUAD = (np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2.0]]), np.array([[0, 1, 2], [0, 2, 3]]))


def test_hits_of_a_quad_are_exact(rng):
    directions = np.concatenate([rng.uniform(-1, 1, (400, 2)), np.ones((400, 1))], 1)
    hits = RayScene(*QUAD).cast(np.zeros(3), directions)
    expected = (np.abs(directions[:, :2]) < 0.5).all(1)
    assert np.array_equal(hits.is_hit, expected)
    # the parameter is in lengths of the direction, whose z is 1
    assert np.allclose(hits.distance[expected], 2.0, atol=1e-5)
    assert np.isinf(hits.distance[~expected]).all()
    assert (hits.face[~expected] == -1).all()


def test_barycentric_weights_give_the_hit_point(rng):
    vertices, faces = QUAD
    directions = np.concatenate([rng.uniform(-0.45, 0.45, (200, 2)), np.ones((200, 1))], 1)
    hits = RayScene(vertices, faces).cast(np.zeros(3), directions)
    points = np.einsum("nk,nkd->nd", hits.barycentric, vertices[faces[hits.face]])
    assert np.allclose(points, directions * 2.0, atol=1e-5)
    assert np.allclose(hits.barycentric.sum(1), 1.0)


def test_origins_may_differ():
    hits = RayScene(*QUAD).cast([[0.2, 0.1, 0.0], [0.3, 0.4, 5.0]], [[0, 0, 1.0], [0, 0, -1.0]])
    assert np.allclose(hits.distance, [2.0, 3.0], atol=1e-5)


@pytest.mark.parametrize(("target", "is_blocked"), [((0, 0, 3.0), True), ((0, 0, 1.9), False), ((3.0, 0, 3.0), False)])
def test_occlusion(target, is_blocked):
    assert RayScene(*QUAD).occluded(np.zeros((1, 3)), [target]).tolist() == [is_blocked]


def test_a_point_on_the_surface_does_not_hide_itself():
    scene = RayScene(*QUAD)
    assert not scene.occluded([[0.1, 0.2, 2.0]], [[0.0, 0.0, 0.0]])[0]
    assert not scene.occluded([[0.0, 0.0, 0.0]], [[0.1, 0.2, 2.0]])[0]
