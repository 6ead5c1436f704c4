"""Stopping in good order: Ctrl-C and SIGTERM ask, a second one breaks off."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignals:
    """While its block runs, the first SIGINT or SIGTERM only sets ``asked``; a second raises KeyboardInterrupt.

    Made in the main thread, where signals arrive.

    Attributes:
        asked: set by the first signal.
        received: the first signal, or None.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        self.asked.set()
