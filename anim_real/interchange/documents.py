"""Reading tables of numbers out of foreign JSON and YAML, where anything may stand anywhere.

Values are looked at only as deep and as long as a calibration needs, so that aliases that refer to aliases
cost nothing. YAML is read by PyYAML's safe loader alone: it builds plain values and runs no code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.files import require_file

_MAX_LENGTH = 64
_OPENCV_MATRIX = "tag:yaml.org,2002:opencv-matrix"


def read_yaml(path: Path, *, allows_opencv: bool = False) -> dict[Any, Any]:
    """The table of a YAML file.

    Args:
        path: the file.
        allows_opencv: take OpenCV's dialect: its first line ``%YAML:1.0``, and its tag of matrices.

    Raises:
        NotFoundError: no such file.
        DataError: not YAML, not a table, or tags that ask for more than plain values.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, with the one tag of OpenCV's."""

    if allows_opencv:
        Loader.add_constructor(_OPENCV_MATRIX, yaml.SafeLoader.construct_yaml_map)
    try:
        text = require_file(path, "YAML file").read_text("utf-8")
        if allows_opencv and text.startswith("%YAML"):
            text = "#" + text  # its line stays, for the numbers of lines in errors
        document = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise DataError(f"is not plain YAML{line} ({problem})", where=path) from error
    return table_of(document, where=path)


def table_of(value: Any, *, where: object) -> dict[Any, Any]:
    """``value`` if it is a table with keys, else ``DataError``."""
    if not isinstance(value, dict):
        raise DataError("is not a table of keys and values", where=where)
    return value


def value_of(table: dict[Any, Any], key: str, *, where: object) -> Any:
    """What stands under ``key``; ``DataError`` if nothing does."""
    if key not in table:
        raise DataError(f"has no {key!r}", where=where)
    return table[key]


def text_of(table: dict[Any, Any], key: str, *, where: object, default: str | None = None) -> str:
    """Text under ``key``; ``DataError`` if there is none and no default, or something else than text."""
    value = value_of(table, key, where=where) if default is None else table.get(key, default)
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a text", where=where)
    return value


def numbers(table: dict[Any, Any], key: str, shape: tuple[int, ...], *, where: object) -> NDArray[np.float64]:
    """Finite numbers of this shape under ``key``.

    Raises:
        DataError: the key is missing, its value has another shape, or holds something else than finite numbers.
    """
    found = _array(table, key, where)
    if found.shape != shape:
        size = " x ".join(str(length) for length in shape)
        raise DataError(f"{key!r} must hold {size} numbers", where=where)
    return found


def vector(table: dict[Any, Any], key: str, *, where: object) -> NDArray[np.float64]:
    """Finite numbers under ``key`` as (N,), whether written as a list, a row or a column; errors as ``numbers``."""
    found = _array(table, key, where)
    if found.ndim > 1 and min(found.shape) > 1:
        raise DataError(f"{key!r} must hold one row of numbers", where=where)
    return found.ravel()


def _array(table: dict[Any, Any], key: str, where: object) -> NDArray[np.float64]:
    try:
        found = np.array(_floats(value_of(table, key, where=where), 2), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{key!r} must hold numbers", where=where) from error
    if not np.isfinite(found).all():
        raise DataError(f"{key!r} has values that are not finite", where=where)
    return found


def _floats(value: Any, depth: int) -> Any:
    """Nested lists of floats, at most ``depth`` deep; YAML reads ``1e-8`` (no point) as text, which is taken."""
    if isinstance(value, list) and depth > 0 and len(value) <= _MAX_LENGTH:
        return [_floats(item, depth - 1) for item in value]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(type(value).__name__)
    return float(value)
