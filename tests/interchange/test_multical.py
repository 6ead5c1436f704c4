"""multical's calibration.json: what OpenCV projects with it, both ways of telling poses, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anim_real.errors import DataError, NotFoundError
from anim_real.interchange.multical import read_multical, write_multical
from interchange.rigs import COLOR, POINTS, RIG, pixels

TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
STEP = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
EYE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def camera(**changes: Any) -> dict[str, Any]:
    """As multical writes one: sizes as floats in its own example, coefficients in a row of a matrix."""
    entry = {
        "model": "standard",
        "image_size": [2000.0, 1500.0],
        "K": [[2251.5, 0.0, 985.75], [0.0, 2252.75, 763.0], [0.0, 0.0, 1.0]],
        "dist": [[-0.12, 0.32, -0.001, -0.002, -0.2]],
    }
    return {**entry, **changes}


def document(poses: dict[str, Any], *names: str, **changes: Any) -> dict[str, Any]:
    return {"cameras": {name: camera(**changes) for name in names}, "camera_poses": poses, "image_sets": {"rgb": []}}


def read(tmp_path: Path, content: object) -> Any:
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    return read_multical(tmp_path / "calibration.json")


def test_opencv_sees_the_same_pixels(tmp_path: Path) -> None:
    """multical projects with cv2.projectPoints after p_camera = R p_rig + T."""
    write_multical(tmp_path / "calibration.json", RIG)
    table = json.loads((tmp_path / "calibration.json").read_text())
    for posed in RIG:
        entry, pose = table["cameras"][posed.name], table["camera_poses"][posed.name]
        there = POINTS @ np.array(pose["R"]).T + np.array(pose["T"])
        found, _ = cv2.projectPoints(there, np.zeros(3), np.zeros(3), np.array(entry["K"]), np.array(entry["dist"]))
        np.testing.assert_allclose(found[:, 0], pixels(posed), atol=1e-9)
        assert entry["image_size"] == [posed.camera.width, posed.camera.height]
    assert [entry["model"] for entry in table["cameras"].values()] == ["standard", "rational"]


def test_cameras_are_read_back_exactly(tmp_path: Path) -> None:
    write_multical(tmp_path / "calibration.json", RIG)
    for found, expected in zip(read_multical(tmp_path / "calibration.json"), RIG, strict=True):
        assert (found.name, found.T_camera_reference.src) == (expected.name, "rig")
        np.testing.assert_array_equal(found.camera.matrix, expected.camera.matrix)
        np.testing.assert_array_equal(found.camera.distortion, expected.camera.distortion)
        np.testing.assert_array_equal(found.T_camera_reference.matrix, expected.T_camera_reference.matrix)


def test_a_pose_to_a_master_maps_from_the_master(tmp_path: Path) -> None:
    """multical writes ``poses[left] @ inv(poses[right])`` as left_to_right: from right to left."""
    poses = {"cam1": {"R": EYE, "T": [0.0, 0.0, 0.0]}, "cam2_to_cam1": {"R": TURN, "T": [0.5, 0.0, 2.0]}}
    first, second = read(tmp_path, document(poses, "cam1", "cam2"))
    np.testing.assert_array_equal(first.T_camera_reference.matrix, np.eye(4))
    np.testing.assert_allclose(second.T_camera_reference.apply([1.0, 0.0, 3.0]), [0.5, 1.0, 5.0])
    assert (second.camera.width, second.camera.height) == (2000, 1500)
    assert second.camera.distortion.tolist() == [-0.12, 0.32, -0.001, -0.002, -0.2, 0, 0, 0]


def test_chains_are_followed_both_ways(tmp_path: Path) -> None:
    """a from its own pose, b_to_a forwards, and c against the arrow of b_to_c; a camera's name may hold _to_."""
    poses = {
        "a": {"R": TURN, "T": [1.0, 0.0, 0.0]},
        "b_to_x_to_a": {"R": STEP, "T": [0.0, 0.0, 1.0]},
        "b_to_x_to_c": {"R": TURN, "T": [0.0, 2.0, 0.0]},
    }
    found = {posed.name: posed for posed in read(tmp_path, document(poses, "a", "b_to_x", "c"))}
    rig = np.array([0.3, 0.4, 2.0])
    at_a = np.array(TURN) @ rig + [1.0, 0.0, 0.0]
    at_b = np.array(STEP) @ at_a + [0.0, 0.0, 1.0]
    at_c = np.array(TURN).T @ (at_b - [0.0, 2.0, 0.0])
    for name, expected in (("a", at_a), ("b_to_x", at_b), ("c", at_c)):
        np.testing.assert_allclose(found[name].T_camera_reference.apply(rig), expected, atol=1e-12)


def test_poses_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    agreeing = {
        "a": {"R": EYE, "T": [0.0, 0.0, 0.0]},
        "b": {"R": EYE, "T": [0.1, 0.0, 0.0]},
        "b_to_a": {"R": EYE, "T": [0.1, 0.0, 0.0]},
    }
    assert len(read(tmp_path, document(agreeing, "a", "b"))) == 2
    agreeing["b_to_a"] = {"R": EYE, "T": [-0.1, 0.0, 0.0]}
    with pytest.raises(DataError, match="contradict"):
        read(tmp_path, document(agreeing, "a", "b"))


POSE = {"a": {"R": EYE, "T": [0.0, 0.0, 0.0]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, "not a table"),
        ({}, "no 'cameras'"),
        ({"cameras": {}}, "no 'camera_poses'"),
        ({"cameras": {}, "camera_poses": {}}, "no set"),
        ({"cameras": [1], "camera_poses": {}}, "not a table"),
        (document({}, "a"), "no pose of a"),
        (document({"b": POSE["a"]}, "a"), "names no camera"),
        (document({"a_to_b": POSE["a"]}, "a"), "names no camera"),
        (document(POSE, "a", model="fisheye"), "'fisheye' is not supported"),
        (document(POSE, "a", dist=[[0.1] * 14]), "14 coefficients"),
        (document(POSE, "a", dist=[0.1] * 6), "6 coefficients"),
        (document(POSE, "a", dist=[[0.1, 0.2], [0.1, 0.2]]), "one row"),
        (document(POSE, "a", K=[[1, 0, 0], [0, 1, 0]]), "3 x 3"),
        (document(POSE, "a", K=[[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]), "skewed"),
        (document(POSE, "a", K=EYE[::-1]), "not one of intrinsics"),
        (document(POSE, "a", K=[["x", 0, 0], [0, 1, 0], [0, 0, 1]]), "must hold numbers"),
        (document(POSE, "a", image_size=[0, 10]), "whole number"),
        (document(POSE, "a", image_size=[10]), "2 numbers"),
        (document({"a": {"R": EYE}}, "a"), "no 'T'"),
        (document({"a": {"R": EYE, "T": [0.0]}}, "a"), "3 numbers"),
        (document({"a": {"R": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]], "T": [0, 0, 0]}}, "a"), "not a rotation"),
        (document(POSE, "a b"), "names no camera"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    text = json.dumps(document(POSE, "a")).replace("2251.5", "1e999")
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(DataError, match="not finite"):
        read_multical(tmp_path / "calibration.json")
    with pytest.raises(NotFoundError, match="no such"):
        read_multical(tmp_path / "nothing.json")


def test_zeros_behind_the_eighth_coefficient_are_let_pass(tmp_path: Path) -> None:
    (found,) = read(tmp_path, document(POSE, "a", dist=[[0.1] * 8 + [0.0] * 4], model="thin_prism"))
    assert found.camera.distortion.tolist() == [0.1] * 8
    assert COLOR.camera.distortion[7] == 0.0
