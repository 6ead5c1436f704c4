"""Finding and reading targets by name or path."""

from __future__ import annotations

import tomllib
from pathlib import Path

from anim_real.errors import ConfigError
from anim_real.files import require_file
from anim_real.resources import find
from anim_real.specs import load_toml
from anim_real.target.spec import GeometryTargetSpec, TargetSpec


def load_target_spec(name: str) -> tuple[TargetSpec, Path]:
    """Find and read a target with boards by name or path; return it with its file.

    Raises:
        NotFoundError: no such target.
        ConfigError: a wrong key, or a target without boards (``load_geometry_target`` reads those).
    """
    path = find("calibration/targets", name)
    if is_geometry_target(name):
        raise ConfigError(
            "is known by its shape alone, it has no boards", where=path, fix="Name a target with boards here"
        )
    spec = load_toml(TargetSpec, path)
    _check_name(spec.name, path)
    return spec, path


def is_geometry_target(name: str) -> bool:
    """Whether a target, by name or path, says that it is known by its shape alone."""
    return _schema(find("calibration/targets", name)) == "anim-real/geometry-target/1"


def load_geometry_target(name: str) -> tuple[GeometryTargetSpec, Path]:
    """Find and read a target without boards by name or path; return it with its file."""
    path = find("calibration/targets", name)
    spec = load_toml(GeometryTargetSpec, path)
    _check_name(spec.name, path)
    return spec, path


def _schema(path: Path) -> object:
    """What the file calls itself; None if it cannot be read, which ``load_toml`` then explains."""
    try:
        return tomllib.loads(require_file(path, "target file").read_text("utf-8")).get("schema")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None


def _check_name(name: str, path: Path) -> None:
    if name != path.stem:
        raise ConfigError(f"name is {name!r} but the file is called {path.stem!r}", where=path, fix="Make them equal")
