"""Atomic writing, safe paths, strict JSON and TOML."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from anim_real import files
from anim_real.errors import ConfigError, DataError, NoSpaceError, NotFoundError, SchemaVersionError
from anim_real.resources import find, names
from anim_real.rig import RigSpec, load_rig
from anim_real.specs import check_schema, load_toml


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError, match="no space"), files.atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full")
    assert list(tmp_path.iterdir()) == []


def test_atomic_folder_refuses_to_overwrite(tmp_path: Path) -> None:
    with files.atomic_folder(tmp_path / "run") as partial:
        (partial / "x").write_text("1")
    assert (tmp_path / "run" / "x").read_text() == "1"
    with pytest.raises(ConfigError, match="exists already"), files.atomic_folder(tmp_path / "run"):
        pass


def test_nan_never_enters_or_leaves_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    (tmp_path / "b.json").write_text('{"x": NaN}')
    with pytest.raises(DataError, match="NaN"):
        files.read_json(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"x": 1')
    with pytest.raises(DataError, match="not valid JSON"):
        files.read_json(tmp_path / "c.json")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_a_path_may_not_leave_its_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leaves its folder"):
        files.inside(tmp_path, name)


def test_a_link_may_not_leave_its_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leaves its folder"):
        files.inside(root, "link/x")
    assert files.inside(root, "a/b") == root / "a" / "b"


def test_unknown_toml_key_names_the_known_ones(tmp_path: Path) -> None:
    source = find("rigs", "virtual").read_text().replace('name = "virtual"', 'name = "virtual"\nsensor_count = 1')
    (tmp_path / "rig.toml").write_text(source)
    with pytest.raises(ConfigError, match=r"sensor_count.*Known keys: .*sensors"):
        load_toml(RigSpec, tmp_path / "rig.toml")
    (tmp_path / "bad.toml").write_text("a = [1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_toml(RigSpec, tmp_path / "bad.toml")


def test_schema_version_is_checked() -> None:
    with pytest.raises(SchemaVersionError, match="anim-real/rig/1"):
        check_schema({"schema": "anim-real/rig/9"}, "anim-real/rig/1", where="x")
    with pytest.raises(SchemaVersionError):
        check_schema([1, 2], "anim-real/rig/1", where="x")


def test_shipped_rigs_load_and_unknown_names_list_them() -> None:
    for name in names("rigs"):
        rig, path, digest = load_rig(name)
        assert rig.name == name
        assert digest == files.sha256_file(path)
    with pytest.raises(NotFoundError, match="virtual"):
        find("rigs", "nothing")
    with pytest.raises(NotFoundError):
        find("rigs", "no/such/rig.toml")
