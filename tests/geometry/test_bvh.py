"""Nearest points through the tree of boxes, in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.bvh import BATCH, Tree
from anim_real.geometry.distances import SurfaceDistance


def soup(rng, count):
    """Triangles of all sizes, some without area."""
    corners = rng.uniform(-1, 1, (count, 1, 3)) + rng.normal(size=(count, 3, 3)) * 10.0 ** rng.uniform(
        -4, 0, (count, 1, 1)
    )
    corners[::7, 1] = corners[::7, 0]  # a line
    corners[::11] = corners[::11, :1]  # a point
    corners[1::7, 2] = corners[1::7, 0] * 0.3 + corners[1::7, 1] * 0.7  # a line with three corners
    corners[2::7, 2] = corners[2::7, 1]
    corners[3::7, 2] = corners[3::7, 0]
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def distances(points, corners):
    """(P, T) to every triangle: to its plane where the foot lies inside, else to its sides."""
    best = np.full((len(points), len(corners)), np.inf)
    for k in range(3):
        start, side = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
        away = points[:, None] - start
        along = np.clip((away * side).sum(2) / np.maximum((side**2).sum(1), 1e-300), 0, 1)
        best = np.minimum(best, np.linalg.norm(away - along[..., None] * side, axis=2))
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(u, v)
    size = np.linalg.norm(normal, axis=1)
    is_solid = size > 1e-9 * np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    unit = normal / np.maximum(size, 1e-300)[:, None]
    away = points[:, None] - corners[:, 0]
    height = (away * unit).sum(2)
    foot = away - height[..., None] * unit
    scale = np.maximum(size, 1e-300)
    second = (np.cross(foot, v) * unit).sum(2) / scale
    third = (np.cross(u, foot) * unit).sum(2) / scale
    is_over = is_solid & (second >= 0) & (third >= 0) & (second + third <= 1)
    return np.where(is_over, np.abs(height), best)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 32, 33, 257, 700])
def test_nearest_points_of_any_triangles(rng, count):
    """Against all of them, one by one: lines and points have distances too."""
    vertices, faces = soup(rng, count)
    points = np.concatenate([rng.uniform(-1.5, 1.5, (400, 3)), vertices[::7], rng.normal(0, 100.0, (50, 3))])
    ours = SurfaceDistance(vertices, faces).closest(points)
    each = distances(points, vertices[faces])
    assert np.abs(ours.distance - each.min(1)).max() < 1e-12
    assert np.abs(ours.distance - each[np.arange(len(points)), ours.face]).max() < 1e-12
    assert np.allclose(np.linalg.norm(points - ours.point, axis=1), ours.distance, atol=1e-14)
    assert distances(ours.point, vertices[faces]).min(1).max() < 1e-12


def test_nearest_points_of_a_mesh_are_those_of_libigl(rng):
    import igl

    vertices, faces = igl.icosahedron()
    for _ in range(4):
        vertices, faces = igl.upsample(vertices, faces)
    points = np.concatenate([rng.normal(0, 1, (3000, 3)), vertices])
    squared, *_ = igl.point_mesh_squared_distance(points, vertices, faces)
    assert np.abs(SurfaceDistance(vertices, faces).closest(points).distance - np.sqrt(squared)).max() < 1e-14


@pytest.mark.parametrize("count", [1, 4, 33, 300])
def test_every_box_holds_what_is_below_it(rng, count):
    vertices, faces = soup(rng, count)
    tree = Tree.of(vertices, faces)
    assert np.array_equal(np.sort(tree.face), np.arange(count))
    assert np.array_equal(tree.corners.reshape(-1, 3, 3), vertices[faces[tree.face]])
    top = tree.boxes[-1]
    assert np.array_equal(top[:3].min(1), vertices.min(0))
    assert np.array_equal(top[3:].max(1), vertices.max(0))
    leaf = np.arange(count) // 4
    low, high = tree.boxes[leaf // 8, :3, leaf % 8], tree.boxes[leaf // 8, 3:, leaf % 8]
    corners = tree.corners.reshape(-1, 3, 3)
    assert (corners >= low[:, None]).all()
    assert (corners <= high[:, None]).all()


def test_threads_do_not_change_the_answer(rng, monkeypatch):
    """Queries begin with their predecessor's face; of two equally near faces the choice must not depend on cuts."""
    edge = np.linspace(0, 1, 12)
    grid = np.stack(np.meshgrid(edge, edge, [0.0], indexing="ij"), -1).reshape(-1, 3)
    corner = (12 * np.arange(11)[:, None] + np.arange(11)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 12, corner + 1], 1), np.stack([corner + 13, corner + 1, corner + 12], 1)]
    )
    points = np.concatenate(
        [grid[rng.integers(len(grid), size=3 * BATCH)] + [0, 0, 0.1], rng.uniform(0, 1, (BATCH, 3))]
    )
    surface = SurfaceDistance(grid, faces)
    answers = []
    for count in (1, 2, 3, 64):
        monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", count)
        answers.append((surface.closest(points), surface.closest(points, is_sorted=True)))
    for either in zip(*answers, strict=True):
        for other in either[1:]:
            assert np.array_equal(either[0].face, other.face)
            assert np.array_equal(either[0].point, other.point)
    assert np.array_equal(answers[0][0].distance, answers[0][1].distance), "the order of queries does not matter"


def test_no_points_no_answer(rng):
    assert SurfaceDistance(*soup(rng, 5)).closest(np.zeros((0, 3))).distance.shape == (0,)
