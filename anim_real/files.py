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

from anim_real.errors import FULL_DISK, AnimRealError, ConfigError, DataError, NotFoundError, no_space

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


def refuse_existing(path: Path, *, flag: str = "-o") -> None:
    """Raise ``ConfigError`` if ``path``, given as ``flag``, exists (nothing is overwritten) or could not be written."""
    if path.exists() or path.is_symlink():
        raise ConfigError("output exists already", where=path, fix=f"Choose another {flag}, or move the old one away")
    refuse_unwritable(path, flag=flag)


def refuse_unwritable(path: Path, *, flag: str = "-o") -> None:
    """Raise ``ConfigError`` unless ``path`` can be made: its nearest existing parent is a folder open to writing.

    Said before the work starts; the system may still say otherwise when the output is written.
    """
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is a file, not a folder", where=path, fix=f"Choose another {flag}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {nearest} cannot be written to", where=path, fix=f"Choose another {flag}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; publish it as ``path`` on success.

    The file is flushed to disk, renamed and its folder flushed. On any error the temporary
    file is removed and ``path`` is untouched. A full disk becomes ``NoSpaceError``.
    """
    with _full_disk_told(path):
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
            fsync_folder(path.parent)
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
    with _full_disk_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        partial.chmod(0o755)
        try:
            yield partial
            partial.rename(path)
            fsync_folder(path.parent)
        finally:
            if partial.exists():
                shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    """A full disk becomes ``NoSpaceError`` naming ``path``, also where a library wrapped the system's error."""
    try:
        yield
    except AnimRealError:
        raise
    except Exception as error:
        is_told = isinstance(error, OSError) and error.errno in FULL_DISK
        if not is_told and os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise no_space(path) from error


def fsync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` last."""
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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, _ConstantError) as error:
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
