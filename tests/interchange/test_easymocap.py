"""EasyMocap's intri.yml and extri.yml: what OpenCV projects with them, files as it writes them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.errors import DataError, NotFoundError
from anim_real.geometry.frames import Rigid
from anim_real.interchange.easymocap import read_easymocap, write_easymocap
from anim_real.interchange.posed import PosedCamera
from interchange.rigs import COLOR, POINTS, RIG, pixels


def matrix(name: str, rows: int, columns: int, values: str) -> str:
    return f"{name}: !!opencv-matrix\n  rows: {rows}\n  cols: {columns}\n  dt: d\n  data: [{values}]\n"


HEAD = '%YAML:1.0\n---\nnames:\n  - "01"\n'
K_01 = matrix("K_01", 3, 3, "2272.8, 0.0, 1255.3, 0.0, 2270.0, 729.0, 0.0, 0.0, 1.0")
DIST_01 = matrix("dist_01", 1, 5, "0.057, -0.047, 0.002, -0.002, 0.001")
SIZE_01 = "H_01: 1440\nW_01: 2560\n"
R_01 = matrix("R_01", 3, 1, "0.0, 0.0, 1.571")  # a quarter turn, three decimals
ROT_01 = matrix("Rot_01", 3, 3, "0.000, -1.000, 0.000, 1.000, 0.000, 0.000, 0.000, 0.000, 1.000")
T_01 = matrix("T_01", 3, 1, "0.5, 1.0, 5.0")


def folder(tmp_path: Path, intrinsics: str, extrinsics: str) -> Path:
    (tmp_path / "intri.yml").write_text(HEAD + intrinsics)
    (tmp_path / "extri.yml").write_text(HEAD + extrinsics)
    return tmp_path


def test_opencv_sees_the_same_pixels(tmp_path: Path) -> None:
    """As EasyMocap reads: FileStorage, Rodrigues of R, RT = [R|T], dist handed to OpenCV."""
    write_easymocap(tmp_path, RIG)
    intrinsics = cv2.FileStorage(str(tmp_path / "intri.yml"), cv2.FILE_STORAGE_READ)
    extrinsics = cv2.FileStorage(str(tmp_path / "extri.yml"), cv2.FILE_STORAGE_READ)
    names = intrinsics.getNode("names")
    assert [names.at(index).string() for index in range(names.size())] == ["k0-color", "k0-depth"]
    for posed in RIG:
        rvec, tvec = (extrinsics.getNode(f"{key}_{posed.name}").mat() for key in ("R", "T"))
        assert rvec.shape == tvec.shape == (3, 1)
        lens = intrinsics.getNode(f"dist_{posed.name}").mat()
        found, _ = cv2.projectPoints(POINTS, rvec, tvec, intrinsics.getNode(f"K_{posed.name}").mat(), lens)
        np.testing.assert_allclose(found[:, 0], pixels(posed), atol=1e-9)
        assert lens.shape == (1, 5 if posed is COLOR else 8)
        np.testing.assert_allclose(extrinsics.getNode(f"Rot_{posed.name}").mat(), cv2.Rodrigues(rvec)[0], atol=1e-12)
        assert int(intrinsics.getNode(f"H_{posed.name}").real()) == posed.camera.height


def test_cameras_are_read_back(tmp_path: Path) -> None:
    write_easymocap(tmp_path, RIG)
    for found, expected in zip(read_easymocap(tmp_path), RIG, strict=True):
        assert (found.name, found.T_camera_reference.src) == (expected.name, "world")
        assert (found.camera.width, found.camera.height) == (expected.camera.width, expected.camera.height)
        np.testing.assert_array_equal(found.camera.matrix, expected.camera.matrix)
        np.testing.assert_array_equal(found.camera.distortion, expected.camera.distortion)
        np.testing.assert_allclose(found.T_camera_reference.matrix, expected.T_camera_reference.matrix, atol=1e-12)


def test_names_of_digits_survive(tmp_path: Path) -> None:
    pose = Rigid.from_rotvec("01", "scan", [0.1, 0.2, 0.3], [0.0, 0.0, 2.0])
    write_easymocap(tmp_path, (PosedCamera(name="01", camera=COLOR.camera, T_camera_reference=pose),))
    (found,) = read_easymocap(tmp_path)
    assert found.name == "01"


def test_files_as_easymocap_writes_them_are_read(tmp_path: Path) -> None:
    (found,) = read_easymocap(folder(tmp_path, K_01 + DIST_01 + SIZE_01, R_01 + ROT_01 + T_01), reference="studio")
    assert (found.name, found.camera.width, found.camera.height) == ("01", 2560, 1440)
    assert found.camera.distortion.tolist() == [0.057, -0.047, 0.002, -0.002, 0.001, 0, 0, 0]
    np.testing.assert_allclose(found.T_camera_reference.apply([1.0, 0.0, 0.0]), [0.5, 2.0, 5.0], atol=1e-3)
    assert found.T_camera_reference.src == "studio"


def test_older_files_without_a_size_take_the_one_given(tmp_path: Path) -> None:
    path = folder(tmp_path, K_01 + DIST_01.replace("dist_", "D_"), R_01 + T_01)
    with pytest.raises(DataError, match=r"W_01, H_01.*--size"):
        read_easymocap(path)
    (found,) = read_easymocap(path, size=(1280, 720))
    assert (found.camera.width, found.camera.height) == (1280, 720)
    assert found.camera.distortion[0] == 0.057


MIRRORED = matrix("Rot_01", 3, 3, "0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0")


@pytest.mark.parametrize(
    ("intrinsics", "extrinsics", "message"),
    [
        (K_01 + SIZE_01, R_01 + T_01, "intri.yml.*dist_01"),
        (DIST_01 + SIZE_01, R_01 + T_01, "K_01"),
        (K_01 + DIST_01 + SIZE_01, T_01, "extri.yml.*R_01"),
        (K_01 + DIST_01 + SIZE_01, R_01, "T_01"),
        (K_01 + DIST_01 + SIZE_01, R_01 + MIRRORED + T_01, "different rotations, determinant -1.00"),
        (K_01 + DIST_01 + SIZE_01, R_01 + T_01.replace("5.0", ".nan"), "T_01.*not finite"),
        (K_01 + DIST_01 + SIZE_01, R_01 + T_01.replace("rows: 3", "rows: 2"), "T_01"),
        (K_01.replace("2272.8", "-1.0") + DIST_01 + SIZE_01, R_01 + T_01, "impossible"),
        (K_01.replace("2272.8, 0.0", "2272.8, 3.0") + DIST_01 + SIZE_01, R_01 + T_01, "skewed"),
        (K_01 + DIST_01 + "H_01: 1440\nW_01: wide\n", R_01 + T_01, "W_01"),
        (K_01 + DIST_01 + "H_01: 1440\nW_01: -5\n", R_01 + T_01, "whole number"),
        (K_01 + DIST_01 + SIZE_01, "a: [1, {", "OpenCV's YAML"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, intrinsics: str, extrinsics: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_easymocap(folder(tmp_path, intrinsics, extrinsics))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        read_easymocap(tmp_path / "nothing")
    (tmp_path / "intri.yml").write_text("%YAML:1.0\n---\nnames:\n  - none\n")
    with pytest.raises(NotFoundError, match=r"extri\.yml"):
        read_easymocap(tmp_path)
    (tmp_path / "extri.yml").write_text("%YAML:1.0\n---\na: 1\n")
    with pytest.raises(DataError, match="lists no cameras"):
        read_easymocap(tmp_path)


def test_names_that_easymocap_would_cut_are_refused(tmp_path: Path) -> None:
    pose = Rigid.identity("a.b", "scan")
    with pytest.raises(DataError, match="dots"):
        write_easymocap(tmp_path, (PosedCamera(name="a.b", camera=COLOR.camera, T_camera_reference=pose),))
    assert list(tmp_path.iterdir()) == []
