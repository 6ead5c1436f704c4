"""Points matched by their distances: exact, with decoys and noise, refused."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.spheres.constellations import Constellation, matched_poses
from anim_real.geometry.frames import Rigid

POSE = Rigid.from_rotvec("b", "a", [0.3, -1.2, 0.5], [0.4, -0.2, 1.9])
TRIANGLE = np.array([[0.16, 0.90, 0.05], [-0.13, 0.87, 0.12], [-0.02, 0.98, -0.16]])


def test_a_triangle_of_different_sides_has_one_pose(rng):
    group = Constellation(source=TRIANGLE, destination=rng.permutation(POSE.apply(TRIANGLE)))
    best = matched_poses([group], tolerance_m=0.003)
    assert len(best) == 1 and best[0].num_pairs == 3
    assert best[0].rotation == pytest.approx(POSE.rotation, abs=1e-9)
    assert best[0].translation == pytest.approx(POSE.translation, abs=1e-9)


def test_groups_of_single_points_are_matched_together(rng):
    """No placement shows three spheres: the pose follows from the distances between placements."""
    groups = []
    for index in range(5):
        stands = Rigid.from_rotvec("a", "a", rng.normal(0, 0.3, 3), rng.uniform(-0.5, 0.5, 3))
        source = stands.apply(TRIANGLE)
        groups.append(Constellation(source=source, destination=POSE.apply(source[[index % 3]])))
    best = matched_poses(groups, tolerance_m=0.005)
    assert best[0].num_pairs == 5
    assert best[0].rotation == pytest.approx(POSE.rotation, abs=1e-9)


def test_decoys_and_noise(rng):
    groups = []
    for _ in range(4):
        stands = Rigid.from_rotvec("a", "a", rng.normal(0, 1.0, 3), rng.uniform(-0.6, 0.6, 3))
        source = stands.apply(TRIANGLE)
        seen = POSE.apply(source) + rng.normal(0, 2e-3, source.shape)
        decoys = POSE.apply(source.mean(0)) + rng.uniform(-0.8, 0.8, (3, 3))
        groups.append(Constellation(source=source, destination=np.concatenate([seen[rng.random(3) < 0.8], decoys])))
    best = matched_poses(groups, tolerance_m=0.02)[0]
    points = rng.uniform(-0.5, 0.5, (50, 3))
    found = points @ best.rotation.T + best.translation
    assert np.linalg.norm(found - POSE.apply(points), axis=1).max() < 0.02


@pytest.mark.parametrize(
    "destination",
    [POSE.apply(TRIANGLE[:2]), POSE.apply(TRIANGLE * 1.2), np.zeros((0, 3))],
    ids=["two", "scaled", "none"],
)
def test_no_pose_without_three_pairs(destination):
    assert matched_poses([Constellation(source=TRIANGLE, destination=destination)], tolerance_m=0.01) == []


def test_a_mirror_image_does_not_match(rng):
    points = rng.uniform(-0.5, 0.5, (6, 3))
    group = Constellation(source=points, destination=points * [-1.0, 1.0, 1.0])
    assert all(match.num_pairs < 6 for match in matched_poses([group], tolerance_m=0.005))
