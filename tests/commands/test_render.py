"""render: where the camera stands, what a pixel is worth, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.cli import main
from anim_real.commands.jobs.rendered_views import CAMERA_DISTANCE_M, view_poses
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.depth import unproject
from anim_real.mesh import Mesh, save_mesh
from anim_real.shards.read import open_dataset

from .tiny_release import CENTER_M, LENGTH_M, RADIUS_M, person

FAST = ["--size", "96", "--resolution", "64", "--points", "1000", "--views", "4", "--workers", "1"]


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    """A person of 1.6 m in millimetres, beside the axis."""
    path = tmp_path / "Capsule Person.ply"
    save_mesh(path, person(0.3).scaled(1000.0))
    return path


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_depth_unprojects_onto_the_mesh_from_every_side(capsule: Path, tmp_path: Path, projection: str) -> None:
    output = tmp_path / "d"
    assert main(["render", str(capsule), "-o", str(output), "--unit", "mm", "--projection", projection, *FAST]) == 0
    dataset = open_dataset(output)
    assert dataset.record.kind == "rendered"
    assert dataset.record.consents[0].licence == "unspecified"
    assert len(dataset.frames("train")) == 4
    for key in dataset.frames():
        frame = dataset.frame(key)
        assert isinstance(frame.camera, Camera if projection == "perspective" else OrthographicCamera)
        assert ((frame.depth_mm > 0) == frame.mask).all()
        points = unproject(frame.depth_mm, frame.camera)[frame.mask]
        local = frame.T_color_scan.inverse().apply(points) - (0.3, CENTER_M, 0.0)
        local[:, 1] -= np.clip(local[:, 1], -LENGTH_M / 2, LENGTH_M / 2)
        error = np.linalg.norm(local, axis=1) - RADIUS_M
        assert np.abs(error).mean() < 0.0006  # metres: depth in whole millimetres, facets cut off 0.24 mm
        assert frame.camera.cx == frame.camera.cy == 47.5
        assert abs(int(frame.depth_mm[48, 48]) - 1000 * (CAMERA_DISTANCE_M - RADIUS_M)) <= 2
        np.testing.assert_allclose(frame.color[frame.mask].mean(0), (200, 120, 40), atol=12)  # JPEG at the rim


def test_the_orthographic_window_is_two_metres_wide(capsule: Path, tmp_path: Path) -> None:
    main(["render", str(capsule), "-o", str(tmp_path / "d"), "--unit", "mm", "--projection", "orthographic", *FAST])
    dataset = open_dataset(tmp_path / "d")
    frame = dataset.frame(dataset.frames()[0])
    assert frame.camera.px_per_m == 96 / 2.048  # type: ignore[union-attr]
    assert abs(frame.mask.any(1).sum() - 1.6 * 96 / 2.048) <= 1.5  # pixels: both ends


def test_views_go_around_the_vertical_axis_and_start_in_front() -> None:
    vertices = person(0.3).vertices
    poses = view_poses(vertices, "+y", 4)
    places = np.array([pose.inverse().translation for pose in poses])
    np.testing.assert_allclose(places[:, 1], CENTER_M, atol=1e-3)
    np.testing.assert_allclose(places[0], (0.3, CENTER_M, 2.0), atol=1e-3)
    np.testing.assert_allclose(places[1], (2.3, CENTER_M, 0.0), atol=1e-3)
    np.testing.assert_allclose(places[2], (0.3, CENTER_M, -2.0), atol=1e-3)
    for pose in poses:
        np.testing.assert_allclose(pose.rotate([0.0, 1.0, 0.0]), (0.0, -1.0, 0.0), atol=1e-12)  # up is up


@pytest.mark.parametrize("up", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_any_axis_may_point_up(up: str) -> None:
    vector = np.zeros(3)
    vector["xyz".index(up[1])] = -1.0 if up[0] == "-" else 1.0
    for pose in view_poses(person(0.0).vertices, up, 3):  # type: ignore[arg-type]
        np.testing.assert_allclose(pose.rotate(vector), (0.0, -1.0, 0.0), atol=1e-12)


def test_height_gives_scale_to_a_mesh_without(capsule: Path, tmp_path: Path) -> None:
    assert main(["render", str(capsule), "-o", str(tmp_path / "d"), "--height", "1.75", *FAST]) == 0
    dataset = open_dataset(tmp_path / "d")
    assert np.ptp(dataset.mesh("capsule-person-clean/0").vertices[:, 1]) == pytest.approx(
        1.75, abs=2e-3
    )  # snapped cells
    made = dataset.record.provenance["meshes"]["capsule-person"]
    assert made["height_m"] == 1.75
    assert made["options"]["metres_per_unit"] == pytest.approx(1.75 / 1600, rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "exit_code", "message"),
    [
        (["--unit", "m"], 4, "would be 1600 m large"),
        (["--height", "90"], 2, "0.05..3.0 metres"),
        (["--unit", "mm", "--views", "0"], 2, "--views"),
        (["--unit", "mm", "--size", "8"], 2, "--size"),
    ],
)
def test_a_wrong_unit_or_option_is_refused_before_anything_is_written(
    capsule: Path, tmp_path: Path, flags: list[str], exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(capsule), "-o", str(tmp_path / "d"), *FAST, *flags]) == exit_code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_files_that_are_no_meshes_have_their_own_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.obj").write_text("v 0 0 0\n")
    (tmp_path / "nan.obj").write_text("v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n")
    for name, exit_code, message in (
        ("missing.obj", 10, "no such mesh"),
        ("bad.obj", 4, "holds no faces"),
        ("nan.obj", 4, "not finite"),
    ):
        assert main(["render", str(tmp_path / name), "-o", str(tmp_path / "d"), *FAST]) == exit_code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_mesh_that_cannot_be_closed_is_listed(
    capsule: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = Mesh(vertices=np.array([[0, 0, 0], [800, 0, 0], [0, 900, 0]]), faces=np.array([[0, 1, 2]]))
    save_mesh(tmp_path / "flat.ply", flat)
    output = tmp_path / "d"
    assert main(["render", str(capsule), str(tmp_path / "flat.ply"), "-o", str(output), "--unit", "mm", *FAST]) == 3
    assert "failed: flat-clean scan 0" in capsys.readouterr().err
    assert open_dataset(output).scans() == ("capsule-person-clean/0",)


def test_two_files_of_one_name_are_refused(capsule: Path, tmp_path: Path) -> None:
    assert main(["render", str(capsule), str(capsule), "-o", str(tmp_path / "d"), "--unit", "mm", *FAST]) == 2


def test_real_files_are_packed_and_sound(shared_data: Path, tmp_path: Path) -> None:
    meshes = [str(shared_data / "meshes" / name) for name in ("human_man.obj", "LeePerrySmith.glb")]
    output = str(tmp_path / "d")
    assert main(["render", *meshes, "-o", output, "--height", "1.75", "--licence", "CC BY", *FAST]) == 0
    assert main(["validate", output]) == 0
    dataset = open_dataset(tmp_path / "d")
    for scan in dataset.scans():
        evidence = dataset.evidence(scan)
        assert evidence.fit_m < evidence.cell_m / 2
