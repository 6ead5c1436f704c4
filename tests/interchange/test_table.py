"""The table of formats: every one out and in again, detected by content, and every error with its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anim_real.errors import DataError, NotFoundError, SchemaVersionError
from anim_real.interchange.camera_list import CameraSource, load_cameras, save_cameras
from anim_real.interchange.formats import FORMATS, LIST, detect_format, files_of, read_cameras, write_cameras
from interchange.rigs import POINTS, RADTAN, RIG, pixels, with_lens

CAMERAS = tuple(with_lens(posed, RADTAN) for posed in RIG)  # a lens that all but Open3D can hold
SOURCE = CameraSource(format="kalibr", path="camchain.yaml", sha256={})


@pytest.mark.parametrize("name", FORMATS)
def test_points_are_seen_where_they_were(name: str, tmp_path: Path) -> None:
    """Through file, detection and reader: the same pixels, without the lens where the format has none."""
    write_cameras(name, tmp_path, CAMERAS)
    location = tmp_path / FORMATS[name].location
    assert detect_format(location) == name
    found = {posed.name: posed for posed in read_cameras(location, name)}
    assert set(found) == {posed.name for posed in CAMERAS}
    for posed in CAMERAS:
        expected = with_lens(posed, np.zeros(8)) if name == "open3d" else posed
        read = found[posed.name]
        seen = read.camera.project(read.T_camera_reference.apply(POINTS))
        np.testing.assert_allclose(seen, pixels(expected), atol=1e-9)


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_that_are_read_are_listed(name: str, tmp_path: Path) -> None:
    """Without any one of them the folder cannot be read."""
    write_cameras(name, tmp_path, CAMERAS)
    location = tmp_path / FORMATS[name].location
    files = files_of(location, name)
    assert files and all(path.is_file() for path in files)
    if location.is_dir() and name != "open3d":
        files[-1].unlink()
        with pytest.raises(NotFoundError, match=files[-1].name):
            read_cameras(location, name)


def test_one_file_of_open3d_is_one_camera(tmp_path: Path) -> None:
    write_cameras("open3d", tmp_path, CAMERAS)
    one = (tmp_path / "open3d" / "k0-depth.json").rename(tmp_path / "left camera (1).json")
    assert detect_format(one) == "open3d"
    (found,) = read_cameras(one, "open3d")
    assert found.name == "left-camera--1-"


def test_our_own_list_is_exact(tmp_path: Path) -> None:
    save_cameras(tmp_path / "cameras.json", RIG, SOURCE)
    assert detect_format(tmp_path / "cameras.json") == LIST
    for found, expected in zip(read_cameras(tmp_path / "cameras.json", LIST), RIG, strict=True):
        assert (found.name, found.T_camera_reference.src) == (expected.name, "scan")
        np.testing.assert_array_equal(found.T_camera_reference.matrix, expected.T_camera_reference.matrix)
        np.testing.assert_array_equal(found.camera.distortion, expected.camera.distortion)
        assert found.camera.max_radius == expected.camera.max_radius


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda table: table.update(schema="anim-real/cameras/2"), SchemaVersionError, "cameras/2"),
        (lambda table: table.update(reference="world"), DataError, "do not start from 'world'"),
        (lambda table: table.update(cameras={}), DataError, "no set"),
        (
            lambda table: table["cameras"].update(left=table["cameras"].pop("k0-depth")),
            DataError,
            "leads to 'k0-depth'",
        ),
        (lambda table: table["cameras"]["k0-color"]["camera"].update(fx=-1.0), DataError, "k0-color.camera.fx"),
        (lambda table: table["cameras"]["k0-color"].pop("T_camera_reference"), DataError, "T_camera_reference"),
        (
            lambda table: table["cameras"]["k0-color"]["T_camera_reference"]["matrix"][0].__setitem__(0, 3.0),
            DataError,
            "not a rotation",
        ),
    ],
)
def test_broken_lists_are_refused(
    damage: Callable[[dict], object], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    save_cameras(tmp_path / "cameras.json", RIG, SOURCE)
    table = json.loads((tmp_path / "cameras.json").read_text())
    damage(table)
    (tmp_path / "cameras.json").write_text(json.dumps(table))
    with pytest.raises(kind, match=message) as caught:
        read_cameras(tmp_path / "cameras.json", LIST)
    assert "cameras.json" in str(caught.value)


def test_errors_of_the_geometry_name_the_file(tmp_path: Path) -> None:
    """A mirrored pose is refused by the transform, which knows no file; the reader adds it."""
    write_cameras("multical", tmp_path, CAMERAS)
    table = json.loads((tmp_path / "multical.json").read_text())
    rows = table["camera_poses"]["k0-color"]["R"]
    table["camera_poses"]["k0-color"]["R"] = [[-value for value in rows[0]], *rows[1:]]
    (tmp_path / "multical.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=r"multical\.json, T_k0-color_rig: is not a rotation .*-1\.000.*mirroring"):
        read_cameras(tmp_path / "multical.json", "multical")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cameras.xml", "<a/>", "no format of cameras"),
        ("cameras.txt", "1 PINHOLE 640 480 1 1 1 1", "Name the folder"),
        ("extri.yml", "%YAML:1.0\n", "Name the folder"),
        ("cameras.json", "[", "not valid JSON"),
    ],
)
def test_what_is_no_format_is_told(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        detect_format(tmp_path / name)


def test_folders_that_hold_nothing_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no format of cameras"):
        detect_format(tmp_path)
    with pytest.raises(NotFoundError):
        detect_format(tmp_path / "nothing")
    with pytest.raises(DataError, match="no set"):
        read_cameras(tmp_path, "open3d")
    with pytest.raises(NotFoundError):
        load_cameras(tmp_path / "nothing.json")
