"""One process at a time builds a data set."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anim_real.errors import LockedError

LOCK_NAME = ".lock"


@contextmanager
def dataset_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process ends, however it ends.

    The folder is made if need be, and taken back if nothing came to lie in it.

    Raises:
        LockedError: another process holds it.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise LockedError("another process builds this data set", where=folder, fix="Wait for it to end") from error
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                break
        os.close(handle)  # the holder before us removed the file after we opened it: try again
    try:
        yield
    finally:
        path.unlink()
        os.close(handle)
        if is_new:
            with suppress(OSError):  # not empty: something was built
                folder.rmdir()
