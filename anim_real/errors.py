"""Errors a user can act on. Each message says what is wrong, where, and what to do next.

A user's mistake raises one of these leaves; a broken invariant of our own is an ``assert``.
The command line turns the class into the exit code and prints the message without a traceback.
"""

from __future__ import annotations

import errno


class AnimRealError(Exception):
    """Base of every error shown to a user; ``exit_code`` is what the process ends with.

    Args:
        what: what is wrong, one sentence without a final full stop.
        where: the file, ``file:key``, frame or row it was found in.
        fix: what the user can do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.fix is None else f"{text}. {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[AnimRealError], what: str, where: str | None, fix: str | None) -> AnimRealError:
    """Recreate an error in another process (worker pools move errors between processes)."""
    return kind(what, where=where, fix=fix)


class ConfigError(AnimRealError):
    """A wrong flag, an unknown or impossible key in a TOML file, an output that already exists."""

    exit_code = 2


class DataError(AnimRealError):
    """Input that cannot be what it claims to be: truncated, NaN, empty, wrong unit."""

    exit_code = 4


class RefusedError(DataError):
    """A gate refused a result: the input is readable, the evidence is not good enough."""


class MissingDependencyError(AnimRealError):
    """A package, system library or device is not there."""

    exit_code = 5


class NotFoundError(AnimRealError):
    """A file, folder or named resource does not exist."""

    exit_code = 10


class LockedError(AnimRealError):
    """Another process works on the same output."""

    exit_code = 11


class SchemaVersionError(AnimRealError):
    """A file written by a newer or foreign version of the schema."""

    exit_code = 12


class NoSpaceError(AnimRealError):
    """The disk is full; nothing half-written was left behind, and a live recording keeps what was written."""

    exit_code = 13


class ConsentError(AnimRealError):
    """The consent or licence recorded with a take does not allow this use."""

    exit_code = 14


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def no_space(where: object) -> NoSpaceError:
    """The error of a full disk, met while ``where`` was written."""
    return NoSpaceError("no space left on the device", where=where, fix="Free some space and run again")


def from_os_error(error: OSError, *, where: object = None) -> AnimRealError | None:
    """What the system refused, in our words; None if it is nothing that a user can act on.

    Args:
        error: what the system raised.
        where: the file meant; the one that the system names by default.
    """
    where = error.filename if where is None else where
    if error.errno in FULL_DISK:
        return no_space(where)
    if where is None:
        return None
    if error.errno in _FORBIDDEN:
        return ConfigError(f"{error.strerror}", where=where, fix="Check the permissions, or name another path")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return ConfigError("is a file where a folder is needed", where=where, fix="Name another path")
    if error.errno == errno.EISDIR:
        return ConfigError("is a folder where a file is needed", where=where, fix="Name a file")
    if error.errno == errno.ENOENT:
        return NotFoundError("no such file or folder", where=where, fix="Check the path")
    if error.errno == errno.ENAMETOOLONG:
        return ConfigError("the name is too long for the file system", where=where, fix="Name another path")
    if error.errno == errno.EIO:
        return DataError("the device fails to read or write it", where=where, fix="Check the disk")
    return None
