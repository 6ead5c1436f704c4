"""Show what any file or folder of the project holds: recordings, takes, scans, calibrations, data sets, weights.

The kind is found by content: suffix, schema key, or the files a folder holds. Damaged recordings are
salvaged and the damage is told; --decode also reads every image and counts corrupt ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import DataError, NotFoundError


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to inspect.

    Attributes:
        path: a file or folder that the project reads or writes.
        decode: of a recording, read and decode every image.
    """

    path: tyro.conf.Positional[Path]
    decode: bool = False


def run(arguments: Arguments, console: Console) -> Result:
    """Describe ``path``."""
    kind, describe = _description_of(arguments.path, decode=arguments.decode)
    record, lines = describe(arguments.path)
    return Result(
        record={"kind": kind, "file": str(arguments.path), **record}, lines=(f"{kind}: {arguments.path}", *lines)
    )


def _description_of(path: Path, *, decode: bool) -> tuple[str, Callable[[Path], tuple[dict[str, Any], list[str]]]]:
    """Name of the kind of ``path`` and the function that describes it."""
    from functools import partial

    from anim_real.commands.inspect import records as known
    from anim_real.commands.inspect.recordings import describe_recording, describe_takes

    if path.is_dir():
        for name, kind, describe in known.FOLDERS:
            if (path / name).is_file():
                return kind, describe
        if any(path.glob("*/take.toml")) or any(path.glob("*/*/take.toml")):
            return "folder of takes", describe_takes
        names = ", ".join(name for name, _, _ in known.FOLDERS)
        raise DataError("is a folder of no known kind", where=path, fix=f"Known folders hold one of: {names}")
    if not path.is_file():
        raise NotFoundError("no such file or folder", where=path, fix="Check the path")
    if path.suffix.lower() == ".mkv":
        return "recording", partial(describe_recording, decode=decode)
    if path.suffix.lower() in known.BY_SUFFIX:
        return known.BY_SUFFIX[path.suffix.lower()]
    raise DataError(
        f"files of type {path.suffix!r} are not known", where=path, fix=f"Known: .mkv {' '.join(known.BY_SUFFIX)}"
    )
