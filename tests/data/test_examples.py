"""Prepared frames against the exact scene they were rendered from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.data.examples import PreparedFrame, from_model, prepare, to_model
from anim_real.errors import DataError
from data.people import fake_frame, person_sdf


def prepared(size: int = 64, *, is_orthographic: bool = False) -> PreparedFrame:
    frame = fake_frame(128, 1.0, is_orthographic)
    return prepare(frame.color, frame.depth_mm, frame.mask, frame.camera, size=size)


@pytest.mark.parametrize("is_orthographic", [False, True])
def test_depth_points_lie_on_the_person(is_orthographic: bool) -> None:
    frame = prepared(is_orthographic=is_orthographic)
    points_scan = fake_frame(128, 1.0, is_orthographic).T_color_scan.inverse().apply(frame.points_color)
    # 0.5 mm of quantised depth, and the 2 cm facets against the capsules (more at creases)
    assert np.quantile(np.abs(person_sdf(points_scan)), 0.95) < 0.003


@pytest.mark.parametrize("is_orthographic", [False, True])
def test_camera_of_the_small_images_projects_points_onto_the_person(is_orthographic: bool) -> None:
    frame = prepared(size=64, is_orthographic=is_orthographic)
    pixels = np.rint(frame.camera.project(frame.points_color)).astype(int)
    hits = frame.is_person[pixels[:, 1].clip(0, 63), pixels[:, 0].clip(0, 63)]
    assert hits.mean() > 0.85  # only pixels at the outline may round to the background


def test_model_space_is_centred_upright_and_in_centimetres() -> None:
    frame = prepared()
    points = frame.points_model()
    low, high = points.min(0), points.max(0)
    assert np.abs((low + high) / 2).max() < 1.5
    assert high[1] - low[1] == pytest.approx(179.0, abs=5.0)  # the soles are not seen
    raised_arm = points[points[:, 1] > 60.0]
    assert raised_arm[:, 0].max() > 20.0  # +x in the scan is right in the image of a camera before the person


def test_model_space_round_trip(rng: np.random.Generator) -> None:
    points, center = rng.normal(size=(50, 3)), np.array([0.1, -0.2, 2.0])
    assert np.allclose(from_model(to_model(points, center), center), points, atol=1e-6)
    assert np.linalg.det(np.diag([1.0, -1.0, -1.0])) > 0  # a rotation: faces keep their side


def test_normals_face_the_camera_and_are_unit_where_known() -> None:
    frame = prepared()
    length = np.linalg.norm(frame.normals, axis=-1)
    known = length > 0
    assert known.mean() > 0.05
    assert np.allclose(length[known], 1.0, atol=1e-5)
    assert (frame.normals[known][:, 2] < 0).mean() > 0.99


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth_mm": np.zeros((128, 128), np.uint16)}, "depth pixels"),
        ({"mask": np.zeros((128, 128), bool)}, "depth pixels"),
        ({"color": np.zeros((64, 64, 3), np.uint8)}, "do not fit"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict, words: str) -> None:
    frame = replace(fake_frame(128), **change)
    with pytest.raises(DataError, match=words):
        prepare(frame.color, frame.depth_mm, frame.mask, frame.camera, size=64)


def test_a_distorted_camera_is_refused() -> None:
    frame = fake_frame(128)
    camera = replace(frame.camera, distortion=np.array([0.1, 0, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="distortion"):
        prepare(frame.color, frame.depth_mm, frame.mask, camera, size=64)
