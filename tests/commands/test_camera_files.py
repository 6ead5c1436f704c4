"""Cameras out and in through the command line: a solved calibration as other tools' files, their files as a list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from interchange.rigs import COLOR, DEPTH, POINTS

from anim_real.calibration import CameraModel, DepthBias, RigidModel, load_calibration
from anim_real.cli import main
from anim_real.geometry.frames import Rigid
from anim_real.interchange.camera_list import load_cameras
from commands.ball_takes import write_calibration

FORMATS = ("opencv", "colmap", "open3d", "kalibr", "multical", "easymocap")
LOCATIONS = ("opencv.yml", "colmap", "open3d", "camchain.yaml", "multical.json", "easymocap")
T_COLOR_SCAN = Rigid(dst="color", src="scan", matrix=COLOR.T_camera_reference.matrix)
T_COLOR_DEPTH = Rigid(
    dst="color", src="depth", matrix=COLOR.T_camera_reference.matrix @ DEPTH.T_camera_reference.inverse().matrix
)


def run(*arguments: object) -> int:
    return main([*(str(argument) for argument in arguments), "--quiet"])


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    return write_calibration(
        tmp_path / "calibration.json",
        color=CameraModel.of(COLOR.camera, "720P"),
        depth=CameraModel.of(DEPTH.camera, "NFOV_UNBINNED"),
        T_color_scan=RigidModel.of(T_COLOR_SCAN),
        T_color_depth=RigidModel.of(T_COLOR_DEPTH),
        depth_bias=DepthBias(offset_m=-0.0021, slope=0.0008),
    )


def test_scan_points_are_seen_by_opencv_as_the_calibration_sees_them(calibration: Path, tmp_path: Path) -> None:
    """The depth camera's pose is composed of two solved ones; OpenCV alone projects with the exported file."""
    assert run("export", calibration, "-o", tmp_path / "out", "--formats", "opencv") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.txt", "opencv.yml"]
    storage = cv2.FileStorage(str(tmp_path / "out" / "opencv.yml"), cv2.FILE_STORAGE_READ)
    sensor = load_calibration(calibration).sensors["k0"]
    at_color = sensor.T_color_scan.rigid().apply(POINTS)
    at_depth = sensor.T_color_depth.rigid().inverse().apply(at_color)
    for kind, model, points in (("color", sensor.color, at_color), ("depth", sensor.depth, at_depth)):
        node = storage.getNode(f"k0-{kind}")
        pose = node.getNode(f"T_k0-{kind}_scan").mat()
        lens, matrix = node.getNode("distortion_coefficients").mat(), node.getNode("camera_matrix").mat()
        seen, _ = cv2.projectPoints(POINTS, cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3], matrix, lens)
        np.testing.assert_allclose(seen[:, 0], model.camera().project(points), atol=1e-8)


def test_every_format_is_written_and_its_page_tells(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(calibration), "-o", str(tmp_path / "out"), "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["files"] == dict(zip(FORMATS, LOCATIONS, strict=True))
    assert (record["cameras"], record["reference"]) == (["k0-color", "k0-depth"], "scan")
    page = (tmp_path / "out" / "README.txt").read_text()
    for location in LOCATIONS:
        assert (tmp_path / "out" / location).exists()
        assert f"{location}: " in page
    residual = record["lens_residuals"]["kalibr"]["k0-depth"]
    stated = yaml.safe_load((tmp_path / "out" / "camchain.yaml").read_text())["cam1"]["lens_residual_px"]
    assert residual == {"rms_px": stated["rms"], "max_px": stated["max"]}
    assert f"k0-depth has the nearest lens of four coefficients, {stated['rms']:.2f} px rms" in page
    assert "k0: offset -0.002100 m, slope +0.000800" in page
    assert "Reference frame of the poses: scan." in page


@pytest.mark.parametrize(("name", "location"), zip(FORMATS, LOCATIONS, strict=True))
def test_what_is_exported_is_imported_again(name: str, location: str, calibration: Path, tmp_path: Path) -> None:
    assert run("export", calibration, "-o", tmp_path / "out", "--formats", name) == 0
    assert run("import-cameras", tmp_path / "out" / location, "-o", tmp_path / "cameras.json") == 0
    table = json.loads((tmp_path / "cameras.json").read_text())
    assert (table["schema"], table["source"]["format"]) == ("anim-real/cameras/1", name)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in table["source"]["sha256"].values())
    for found, expected in zip(load_cameras(tmp_path / "cameras.json"), (COLOR, DEPTH), strict=True):
        assert found.name == expected.name
        np.testing.assert_allclose(
            found.T_camera_reference.matrix, expected.T_camera_reference.matrix, rtol=0, atol=1e-12
        )
        if name not in ("open3d", "kalibr"):
            np.testing.assert_array_equal(found.camera.distortion, expected.camera.distortion)


def test_an_imported_list_is_exported_in_another_format(calibration: Path, tmp_path: Path) -> None:
    """Kalibr to EasyMocap: the list is the way between."""
    assert run("export", calibration, "-o", tmp_path / "a", "--formats", "kalibr") == 0
    assert run("import-cameras", tmp_path / "a" / "camchain.yaml", "-o", tmp_path / "c.json") == 0
    assert run("export", tmp_path / "c.json", "-o", tmp_path / "b", "--formats", "easymocap", "colmap") == 0
    assert run("import-cameras", tmp_path / "b" / "easymocap", "-o", tmp_path / "d.json") == 0
    first, last = (load_cameras(tmp_path / name) for name in ("c.json", "d.json"))
    for before, after in zip(first, last, strict=True):
        np.testing.assert_array_equal(after.camera.matrix, before.camera.matrix)
        np.testing.assert_array_equal(after.camera.distortion, before.camera.distortion)
    assert "depth bias" not in (tmp_path / "b" / "README.txt").read_text()


def test_a_format_that_cannot_hold_a_lens_is_listed_and_the_rest_is_written(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = json.loads(calibration.read_text())
    table["sensors"]["k0"]["depth"] |= {"width": 1024, "height": 1024, "cx": 511.0, "cy": 512.0, "max_radius": 1.74}
    calibration.write_text(json.dumps(table))
    assert run("export", calibration, "-o", tmp_path / "out") == 3
    assert "kalibr: camera k0-depth" in capsys.readouterr().err
    assert not (tmp_path / "out" / "camchain.yaml").exists()
    assert (tmp_path / "out" / "multical.json").is_file()
    assert "Not written: kalibr" in (tmp_path / "out" / "README.txt").read_text()
    assert run("export", calibration, "-o", tmp_path / "only", "--formats", "kalibr") == 4
    assert not (tmp_path / "only").exists()


def test_the_format_can_be_named_and_the_size_given(calibration: Path, tmp_path: Path) -> None:
    assert run("export", calibration, "-o", tmp_path / "out", "--formats", "easymocap") == 0
    intrinsics = tmp_path / "out" / "easymocap" / "intri.yml"
    intrinsics.write_text(re.sub(r"^[HW]_.*\n", "", intrinsics.read_text(), flags=re.MULTILINE))
    source = [tmp_path / "out" / "easymocap", "--format", "easymocap"]
    assert run("import-cameras", *source, "-o", tmp_path / "c.json") == 4
    assert run("import-cameras", *source, "--size", 1280, 720, "-o", tmp_path / "c.json") == 0
    assert load_cameras(tmp_path / "c.json")[0].camera.width == 1280
