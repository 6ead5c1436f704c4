"""Writing and reading files so that nothing is lost, half-written or outside its root."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anim_real.errors import ConfigError, DataError, NoSpaceError, NotFoundError

_CHUNK_BYTES = 1 << 20


def sha256_bytes(payload: bytes) -> str:
    """Hex SHA-256 of ``payload``."""
    return hashlib.sha256(payload).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with require_file(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def require_file(path: Path, what: str = "file") -> Path:
    """Return ``path`` if it is a file, else raise ``NotFoundError`` naming it."""
    if not path.is_file():
        raise NotFoundError(f"no such {what}", where=path, fix="Check the path")
    return path


def require_folder(path: Path, what: str = "folder") -> Path:
    """Return ``path`` if it is a folder, else raise ``NotFoundError`` naming it."""
    if not path.is_dir():
        raise NotFoundError(f"no such {what}", where=path, fix="Check the path")
    return path


def refuse_existing(path: Path, *, force: bool = False) -> None:
    """Raise ``ConfigError`` if ``path`` exists: nothing is overwritten silently."""
    if path.exists() and not force:
        raise ConfigError("output exists already", where=path, fix="Choose another -o, or move the old one away")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; publish it as ``path`` on success.

    The file is flushed to disk, renamed and its folder flushed. On any error the temporary
    file is removed and ``path`` is untouched. A full disk becomes ``NoSpaceError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".partial{path.suffix}", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(path)
        _fsync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                "no space left on the device", where=path, fix="Free some space and run again"
            ) from error
        raise
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, remove it on error.

    Raises:
        ConfigError: ``path`` exists already.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    partial.chmod(0o755)
    try:
        yield partial
        partial.rename(path)
        _fsync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                "no space left on the device", where=path, fix="Free some space and run again"
            ) from error
        raise
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, payload: bytes) -> None:
    """Write ``payload`` atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(payload)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted as given, two spaces, NaN refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a syntax error, NaN or Infinity raises ``DataError`` with the line."""
    try:
        return json.loads(require_file(path).read_text("utf-8"), parse_constant=_refuse_constant)
    except (json.JSONDecodeError, UnicodeDecodeError, _ConstantError) as error:
        raise DataError(f"not valid JSON ({error})", where=path) from error


class _ConstantError(ValueError):
    """NaN or Infinity in JSON."""


def _refuse_constant(name: str) -> float:
    raise _ConstantError(f"{name} is not a JSON number")


def inside(root: Path, relative: str) -> Path:
    """Join ``relative`` (from a data set's content) to ``root``; refuse to leave ``root``.

    Raises:
        DataError: the path is absolute, climbs out, or passes through a link that does.
    """
    joined = root / relative
    if not joined.resolve().is_relative_to(root.resolve()):
        raise DataError(f"path {relative!r} leaves its folder", where=root, fix="Use a relative path inside the folder")
    return joined


def finite(value: float, *, where: object) -> float:
    """Return ``value`` if it is finite, else raise ``DataError``."""
    if not math.isfinite(value):
        raise DataError(f"{value} is not a finite number", where=where)
    return value
