"""Cameras in other tools' formats: read back exactly, read by the tools themselves, and refused when broken."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.errors import AnimRealError, DataError, NotFoundError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.colmap import read_colmap, write_colmap
from anim_real.interchange.open3d_json import read_open3d_json, write_open3d_json
from anim_real.interchange.opencv_yaml import read_opencv_yaml, write_opencv_yaml
from anim_real.interchange.posed import PosedCamera, common_reference

LENS = np.array([0.54794, -0.020971, 2.06e-5, -7.21e-5, -0.002652, 0.889679, 0.08613, -0.013910])
COLOR = PosedCamera(
    name="color",
    camera=Camera(width=1280, height=720, fx=612.31, fy=612.54, cx=639.72, cy=366.81, max_radius=1.7),
    T_camera_reference=Rigid.identity("color", "color"),
)
DEPTH = PosedCamera(
    name="depth",
    camera=Camera(
        width=640, height=576, fx=503.9, fy=504.1, cx=321.4, cy=336.8, distortion=LENS, max_radius=1.739999771118164
    ),
    T_camera_reference=Rigid.from_rotvec("depth", "color", [0.1, 2.9, -0.001], [-0.032, -0.002, 1 / 3]),
)
POINTS = np.array([[0.1, -0.2, 1.0], [-0.5, 0.3, 2.0], [0.0, 0.0, 1.5], [0.9, 0.7, 1.1]])


def assert_same(found: PosedCamera, expected: PosedCamera, *, keeps_radius: bool, atol: float = 0.0) -> None:
    assert (found.name, found.T_camera_reference.dst) == (expected.name, expected.name)
    a, b = found.camera, expected.camera
    assert (a.width, a.height, a.fx, a.fy) == (b.width, b.height, b.fx, b.fy)
    np.testing.assert_allclose([a.cx, a.cy, *a.distortion], [b.cx, b.cy, *b.distortion], rtol=0, atol=1e-12)
    assert a.max_radius == (b.max_radius if keeps_radius else np.inf)
    np.testing.assert_allclose(found.T_camera_reference.matrix, expected.T_camera_reference.matrix, rtol=0, atol=atol)


# -- OpenCV -----------------------------------------------------------------------------------------------------------


def test_opencv_yaml_is_read_back_exactly(tmp_path: Path) -> None:
    write_opencv_yaml(tmp_path / "cameras.yml", (COLOR, DEPTH))
    color, depth = read_opencv_yaml(tmp_path / "cameras.yml")
    assert_same(color, COLOR, keeps_radius=True)
    assert_same(depth, DEPTH, keeps_radius=True)
    assert depth.T_camera_reference.src == "color"


def test_opencv_projects_with_what_it_reads(tmp_path: Path) -> None:
    """FileStorage and projectPoints alone, as a user's program would: our pixels."""
    write_opencv_yaml(tmp_path / "cameras.yml", (COLOR, DEPTH))
    storage = cv2.FileStorage(str(tmp_path / "cameras.yml"), cv2.FILE_STORAGE_READ)
    node = storage.getNode("depth")
    assert (int(node.getNode("image_width").real()), int(node.getNode("image_height").real())) == (640, 576)
    lens = node.getNode("distortion_coefficients").mat()
    assert lens.shape == (1, 8)
    T = node.getNode("T_depth_color").mat()
    points = np.array([[0.2, 0.1, 1.5]])
    seen, _ = cv2.projectPoints(
        points, cv2.Rodrigues(T[:3, :3])[0], T[:3, 3], node.getNode("camera_matrix").mat(), lens
    )
    there = DEPTH.T_camera_reference.apply(points)
    expected = (
        np.concatenate([DEPTH.camera.distort(there[:, :2] / there[:, 2:]), np.ones((1, 1))], -1) @ DEPTH.camera.matrix.T
    )
    np.testing.assert_allclose(seen[0], expected[:, :2], atol=1e-9)


def test_a_single_camera_of_opencvs_sample_is_read(tmp_path: Path) -> None:
    storage = cv2.FileStorage(str(tmp_path / "out.yml"), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", np.array([[500.0, 0, 320], [0, 501, 240], [0, 0, 1]]))
    storage.write("distortion_coefficients", np.array([[0.1], [-0.2], [1e-3], [2e-3], [0.05]]))
    storage.release()
    (posed,) = read_opencv_yaml(tmp_path / "out.yml")
    expected, _ = cv2.projectPoints(
        POINTS, np.zeros(3), np.zeros(3), posed.camera.matrix, np.array([0.1, -0.2, 1e-3, 2e-3, 0.05])
    )
    np.testing.assert_allclose(posed.camera.project(POINTS), expected[:, 0], atol=1e-9)


# -- COLMAP -----------------------------------------------------------------------------------------------------------


def test_colmap_is_read_back(tmp_path: Path) -> None:
    write_colmap(tmp_path, (COLOR, DEPTH))
    color, depth = read_colmap(tmp_path, reference="color")
    assert_same(color, COLOR, keeps_radius=False, atol=1e-15)
    assert_same(depth, DEPTH, keeps_radius=False, atol=1e-15)


def test_colmap_text_says_what_colmap_means(tmp_path: Path) -> None:
    """By hand: the parameters' order, the half pixel, the quaternion's order (w first), world to camera."""
    quarter = PosedCamera(
        name="depth", camera=DEPTH.camera,
        T_camera_reference=Rigid.from_rotvec("depth", "color", [0.0, 0.0, np.pi / 2], [1.0, 2.0, 3.0]),
    )  # fmt: skip
    write_colmap(tmp_path, (COLOR, quarter))
    lines = [line for line in (tmp_path / "cameras.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "1 PINHOLE 1280 720 612.31 612.54 640.22 367.31"
    number, model, width, height, *values = lines[1].split()
    assert (number, model, width, height) == ("2", "FULL_OPENCV", "640", "576")
    assert [float(value) for value in values] == pytest.approx([503.9, 504.1, 321.9, 337.3, *LENS])
    images = [line for line in (tmp_path / "images.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(images) == 4 and images[1] == images[3] == ""
    numbers = [float(word) for word in images[2].split()[:9]]
    half = np.sqrt(0.5)
    assert numbers == pytest.approx([2, half, 0, 0, half, 1, 2, 3, 2])
    assert images[2].split()[9] == "depth"


def test_colmaps_simpler_models_are_read(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text(
        "# comment\n3 SIMPLE_RADIAL 640 480 500 320 240 0.1\n7 OPENCV 640 480 500 501 320 240 0.1 -0.2 1e-3 2e-3\n"
    )
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 7 left/a.jpg\n10 20 -1\n2 1 0 0 0 0 0 1 3 b.png\n\n")
    a, b = read_colmap(tmp_path)
    assert (a.name, b.name) == ("left-a", "b")
    assert (a.camera.cx, a.camera.fy, b.camera.fx, b.camera.fy) == (319.5, 501.0, 500.0, 500.0)
    assert a.camera.distortion.tolist() == [0.1, -0.2, 1e-3, 2e-3, 0, 0, 0, 0]
    assert b.camera.distortion.tolist() == [0.1, 0, 0, 0, 0, 0, 0, 0]
    assert b.T_camera_reference.translation.tolist() == [0, 0, 1]


# -- Open3D -----------------------------------------------------------------------------------------------------------


def test_open3d_reads_what_is_written_and_projects_alike(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    pinhole = PosedCamera(
        name="depth", camera=DEPTH.camera.pinhole(), T_camera_reference=DEPTH.T_camera_reference
    )  # fmt: skip
    write_open3d_json(tmp_path / "camera.json", pinhole)
    read = open3d.io.read_pinhole_camera_parameters(str(tmp_path / "camera.json"))
    np.testing.assert_array_equal(read.intrinsic.intrinsic_matrix, pinhole.camera.matrix)
    np.testing.assert_array_equal(read.extrinsic, pinhole.T_camera_reference.matrix)
    assert (read.intrinsic.width, read.intrinsic.height) == (640, 576)
    depth = np.zeros((576, 640), np.uint16)
    depth[100, 200] = 1500
    cloud = open3d.geometry.PointCloud.create_from_depth_image(
        open3d.geometry.Image(depth), read.intrinsic, read.extrinsic
    )
    expected = pinhole.T_camera_reference.inverse().apply(pinhole.camera.unproject([200.0, 100.0], 1.5))
    np.testing.assert_allclose(np.asarray(cloud.points)[0], expected, atol=1e-6)  # its depth is float32
    found = read_open3d_json(tmp_path / "camera.json", name="depth", reference="color")
    assert_same(found, pinhole, keeps_radius=True)


def test_open3ds_own_files_are_read(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    intrinsic = open3d.camera.PinholeCameraIntrinsic(640, 480, 500.0, 501.0, 320.0, 240.0)
    open3d.io.write_pinhole_camera_intrinsic(str(tmp_path / "i.json"), intrinsic)
    posed = read_open3d_json(tmp_path / "i.json")
    assert (posed.camera.fx, posed.camera.fy, posed.camera.cx, posed.camera.cy) == (500.0, 501.0, 320.0, 240.0)
    np.testing.assert_array_equal(posed.T_camera_reference.matrix, np.eye(4))
    with pytest.raises(DataError, match="lens distortion"):
        write_open3d_json(tmp_path / "no.json", DEPTH)
    assert not (tmp_path / "no.json").exists()


# -- refused ----------------------------------------------------------------------------------------------------------


def test_sets_that_are_none_are_refused(tmp_path: Path) -> None:
    elsewhere = PosedCamera(name="depth", camera=COLOR.camera, T_camera_reference=Rigid.identity("depth", "scan"))
    for cameras in ((), (COLOR, COLOR), (COLOR, elsewhere)):
        with pytest.raises(DataError, match="no set"):
            common_reference(cameras)
        with pytest.raises(DataError, match="no set"):
            write_opencv_yaml(tmp_path / "c.yml", cameras)
    with pytest.raises(DataError, match="pose leads to"):
        PosedCamera(name="a", camera=COLOR.camera, T_camera_reference=Rigid.identity("b", "c"))
    with pytest.raises(DataError, match="cannot name"):
        PosedCamera(name="a b", camera=COLOR.camera, T_camera_reference=Rigid.identity("a b", "c"))
    numbered = PosedCamera(name="0001.left", camera=COLOR.camera, T_camera_reference=Rigid.identity("0001.left", "c"))
    with pytest.raises(DataError, match="cannot be keys"):
        write_opencv_yaml(tmp_path / "c.yml", (numbered,))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "OpenCV's YAML|camera_matrix"),
        ("{}", "OpenCV's YAML|camera_matrix"),
        ("%YAML:1.0\n---\na: [1, {", "OpenCV's YAML"),
        ("%YAML:1.0\n---\na: 1\n", "camera_matrix"),
        ("%YAML:1.0\n---\nreference: color\ncameras: [ color ]\n", "no camera 'color'"),
        ("%YAML:1.0\n---\nreference: color\ncameras: [ color ]\ncolor:\n   a: 1\n", "T_color_color"),
    ],
)
def test_broken_opencv_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_opencv_yaml(tmp_path / "c.yml")
    assert "c.yml" in str(caught.value)


@pytest.mark.parametrize(
    ("cameras", "images", "message"),
    [
        ("1 OPENCV_FISHEYE 640 480 1 1 1 1 0 0 0 0\n", "", "not supported"),
        ("1 PINHOLE 640 480 500 500 320\n", "", "4 parameters"),
        ("1 PINHOLE 640 480 500 500 320 x\n", "", "4 parameters"),
        ("1 PINHOLE 640 480 500 500 320 240\n", "1 1 0 0 0 0 0 0 2 a\n", "camera 2"),
        ("1 PINHOLE 640 480 500 500 320 240\n", "1 0 0 0 0 0 0 0 1 a\n", "no image"),
        ("1 PINHOLE 640 480 500 500 320 240\n", "1 1 0 0\n", "no image"),
        ("1 PINHOLE 640 480 500 500 320 240\n", "", "no set"),
        ("1\n", "", "camera"),
    ],
)
def test_broken_colmap_models_are_refused(tmp_path: Path, cameras: str, images: str, message: str) -> None:
    (tmp_path / "cameras.txt").write_text(cameras)
    (tmp_path / "images.txt").write_text(images)
    with pytest.raises(DataError, match=message):
        read_colmap(tmp_path)


@pytest.mark.parametrize("document", [3, {}, {"intrinsic_matrix": [1, 2]}, {"intrinsic": 3}, []])
def test_broken_open3d_json_is_refused(tmp_path: Path, document: object) -> None:
    (tmp_path / "c.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="Open3D"):
        read_open3d_json(tmp_path / "c.json")


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_opencv_yaml, read_open3d_json, read_colmap):
        with pytest.raises(NotFoundError) as caught:
            read(tmp_path / "nothing")
        assert isinstance(caught.value, AnimRealError)
