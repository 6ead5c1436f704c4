"""What a command says: progress on stderr, the result on stdout, and what it returns to the caller."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_PLAIN_INTERVAL_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command did.

    Attributes:
        path: the main file or folder written; printed as the last line. None if nothing was written.
        record: JSON-ready facts and figures; printed by ``--json``.
        lines: the same for people.
        failures: items that failed, one sentence each; any makes the exit code 3.
    """

    path: Path | None = None
    record: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


class Console:
    """Progress and remarks on stderr; rich on a terminal, a plain line every 10 s otherwise."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Write one remark to stderr."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield ``items`` while reporting how many are done."""
        if total is None and isinstance(items, Sequence):
            total = len(items)
        if self.quiet:
            yield from items
        elif self._terminal:
            from rich.console import Console as RichConsole
            from rich.progress import track

            yield from track(items, description=label, total=total, console=RichConsole(stderr=True))
        else:
            yield from self._plain(items, label, total)

    def _plain(self, items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
        spoken = time.monotonic()
        for done, item in enumerate(items):
            if time.monotonic() - spoken > _PLAIN_INTERVAL_S:
                spoken = time.monotonic()
                self.say(f"{label}: {done}{'' if total is None else f' of {total}'}")
            yield item


def print_result(result: Result, *, as_json: bool) -> None:
    """Print a result to stdout: one JSON object, or lines for people ending in the path written."""
    if as_json:
        path = None if result.path is None else str(result.path)
        sys.stdout.write(json.dumps({**result.record, "path": path, "failures": list(result.failures)}) + "\n")
        return
    for line in result.lines:
        sys.stdout.write(line + "\n")
    for failure in result.failures:
        sys.stderr.write(f"failed: {failure}\n")
    if result.path is not None:
        sys.stdout.write(f"{result.path}\n")
