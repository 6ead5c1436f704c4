"""Reading OpenCV's FileStorage YAML: matrices, numbers and lists of names, each present or named as missing.

Parsed by PyYAML's safe loader and not by OpenCV, whose parser corrupts memory on some damaged files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.interchange.documents import numbers, read_yaml, table_of, text_of, value_of, vector


def open_storage(path: Path) -> dict[Any, Any]:
    """Table of a file; ``NotFoundError`` if it is not there, ``DataError`` if it is no such file."""
    try:
        return read_yaml(path, allows_opencv=True)
    except DataError as error:
        raise DataError(
            f"is not OpenCV's YAML: {error.what}", where=path, fix="Write it with cv2.FileStorage"
        ) from error


def read_matrix(table: dict[Any, Any], key: str, path: Path, size: int | None = None) -> NDArray[np.float64]:
    """Finite matrix of ``size`` numbers (of any number of them if None); ``DataError`` if there is none."""
    entry = table.get(key)
    if not isinstance(entry, dict):
        raise DataError(f"has no matrix {key!r}" + (f" of {size} numbers" if size else ""), where=path)
    where = f"{path}, {key}"
    shape = tuple(int(numbers(entry, side, (), where=where)) for side in ("rows", "cols"))
    data = vector(entry, "data", where=where)
    if min(shape) < 0 or data.size != shape[0] * shape[1] or (size is not None and data.size != size):
        raise DataError(f"has no matrix {key!r}" + (f" of {size} numbers" if size else ""), where=path)
    return data.reshape(shape)


def read_number(table: dict[Any, Any], key: str, path: Path) -> float:
    """A finite number; ``DataError`` if there is none."""
    if isinstance(table.get(key), (int, float)):
        return float(numbers(table, key, (), where=path))
    raise DataError(f"has no number {key!r}", where=path)


def read_text(table: dict[Any, Any], key: str, path: Path) -> str:
    """A text; ``DataError`` if there is none."""
    return text_of(table, key, where=path)


def read_table(table: dict[Any, Any], key: str, path: Path) -> dict[Any, Any]:
    """A table inside the table; ``DataError`` if there is none."""
    return table_of(value_of(table, key, where=path), where=f"{path}, {key}")


def read_names(table: dict[Any, Any], key: str) -> tuple[str, ...]:
    """Texts of a list, whole numbers as their digits; empty if there is no such list."""
    entry = table.get(key)
    items = entry if isinstance(entry, list) else []
    return tuple(str(item) for item in items if isinstance(item, (str, int)))
