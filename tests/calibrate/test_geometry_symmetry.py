"""Symmetric objects: their groups of turns, known of the solids, and takes that leave the pose open or settle it."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.clouds import scanned_object
from anim_real.calibrate.markerless.start import find_geometry_start
from anim_real.calibrate.markerless.symmetry import self_turns
from anim_real.calibrate.observations import ScanSurface
from anim_real.errors import RefusedError
from anim_real.geometry.frames import Rigid
from tests.calibrate.geometry_world import SMALL, lumpy_object, make_world

BOX = trimesh.creation.box((0.3, 0.42, 0.2))
CUBE = trimesh.creation.box((0.3, 0.3, 0.3))
DIAGONAL = np.ones(3) / np.sqrt(3.0)
ASKEW = Rotation.from_rotvec([0.4, -0.9, 0.3])


def turns_of(body: trimesh.Trimesh) -> list[Rigid]:
    placed = ASKEW.apply(body.vertices) + np.array([1.0, 2.0, 3.0])
    return self_turns(scanned_object(ScanSurface.of(placed, np.asarray(body.faces, np.int64)), where="test")[0])


def angles_deg(turns: list[Rigid]) -> list[int]:
    return sorted(round(float(np.degrees(np.linalg.norm(turn.rotvec)))) for turn in turns)


def test_a_box_has_three_half_turns_about_its_own_axes() -> None:
    turns = turns_of(BOX)
    assert angles_deg(turns) == pytest.approx([180, 180, 180], abs=1)
    axes = np.array([np.abs(ASKEW.inv().apply(turn.rotvec)) / np.linalg.norm(turn.rotvec) for turn in turns])
    assert np.sort(axes.argmax(1)).tolist() == [0, 1, 2]
    assert axes.max(1).min() > 0.999


def test_a_cube_has_its_twenty_three_turns() -> None:
    angles = angles_deg(turns_of(CUBE))
    assert len(angles) == 23
    assert angles == pytest.approx([90] * 6 + [120] * 8 + [180] * 9, abs=2)


def test_an_object_without_symmetry_has_none() -> None:
    assert turns_of(lumpy_object(np.random.default_rng(1))) == []


def turned(about: np.ndarray, angles: list[float], places: np.ndarray) -> list[np.ndarray]:
    """Placements of one attitude turned about an axis of the body."""
    poses = []
    for angle, place in zip(angles, places, strict=True):
        pose = np.eye(4)
        pose[:3, :3] = (ASKEW * Rotation.from_rotvec(angle * about)).as_matrix()
        pose[:3, 3] = place
        poses.append(pose)
    return poses


@pytest.mark.parametrize(
    ("body", "axis"), [(BOX, np.array([0.0, 1.0, 0.0])), (CUBE, DIAGONAL)], ids=["box", "cube about its diagonal"]
)
def test_turns_about_an_axis_of_symmetry_alone_are_refused(body: trimesh.Trimesh, axis: np.ndarray) -> None:
    poses = turned(axis, [0.0, 0.5, 1.3, 2.2], np.tile([0.1, 0.1, 1.9], (4, 1)))
    with pytest.raises(RefusedError, match=r"two different poses|leaves a motion open") as refused:
        find_geometry_start(make_world(3, body, poses=poses, camera=SMALL).observations)
    assert "without symmetry" in str(refused.value)


def test_moving_along_the_axis_of_symmetry_does_not_help() -> None:
    middle, along = np.array([0.0, 0.2, 2.0]), ASKEW.apply([0.0, 1.0, 0.0])
    poses = turned(np.array([0.0, 1.0, 0.0]), [0.0, 0.7], middle + np.outer([-0.35, 0.35], along))
    with pytest.raises(RefusedError, match="two different poses"):
        find_geometry_start(make_world(3, BOX, poses=poses, camera=SMALL).observations)


def test_two_boxes_turned_anyhow_settle_the_pose() -> None:
    poses = turned(np.array([0.6, 0.0, 0.8]), [0.0, 1.2], np.array([[-0.3, 0.3, 1.7], [0.35, -0.2, 2.2]]))
    world = make_world(3, BOX, poses=poses, camera=SMALL)
    shift_mm, turn_deg = world.error(find_geometry_start(world.observations).T_depth_scan)
    assert shift_mm < 25.0
    assert turn_deg < 1.0
