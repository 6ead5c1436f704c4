"""What is shown while cameras run: a table on a terminal, a plain line every ten seconds otherwise; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from anim_real.console import Console

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from anim_real.capture.recorder.sensor_stream import SensorStatus
    from anim_real.capture.recorder.trigger_health import TriggerFigures

_PLAIN_S = 10.0
_REFRESH_HZ = 2
_COLUMNS = ("sensor", "state", "fps", "captures", "incomplete", "dropped", "overrun", "exposure", "jitter", "offset")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All that is shown at one moment.

    Attributes:
        phase: ``recording`` or ``warming up``.
        elapsed_s, total_s: time in this phase, and its length if it has one.
        statuses: of the sensors, in the rig's order.
        triggers: figures against the reference sensor, by sensor id.
        free_bytes: free space on the disk.
    """

    phase: str
    elapsed_s: float
    total_s: float | None
    statuses: Sequence[SensorStatus]
    triggers: dict[str, TriggerFigures]
    free_bytes: int

    @property
    def head(self) -> str:
        """Phase, time, data rate and space."""
        rate = sum(status.figures.bytes_per_s for status in self.statuses)
        room = f" ({self.free_bytes / rate / 60:.0f} min)" if rate > 0 else ""
        length = "" if self.total_s is None else f" of {self.total_s:.0f}"
        return (
            f"{self.phase} {self.elapsed_s:.0f}{length} s, {rate / 1e6:.1f} MB/s,"
            f" {self.free_bytes / 1e9:.1f} GB free{room}"
        )


class LiveStatus:
    """Shows; a context manager. Remarks go through ``say`` so that they do not tear the table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_table = sys.stderr.isatty() and not console.quiet
        self._live: Live | None = None
        self._spoken_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_table:
            from rich.console import Console as RichConsole
            from rich.live import Live

            self._live = Live(console=RichConsole(stderr=True), refresh_per_second=_REFRESH_HZ, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, shown: Shown) -> None:
        """Show the present state; called often, shown as often as is useful."""
        now_s = time.monotonic()
        if now_s - self._spoken_s < (1 / _REFRESH_HZ if self._is_table else _PLAIN_S):
            return
        self._spoken_s = now_s
        if self._live is None:
            self._console.say(plain_line(shown))
        else:
            self._live.update(_table(shown), refresh=True)

    def say(self, text: str) -> None:
        """A remark."""
        if self._live is None:
            self._console.say(text)
        else:
            self._live.console.print(text, markup=False, highlight=False)


def plain_line(shown: Shown) -> str:
    """One line: the head, then every sensor."""
    return " | ".join((shown.head, *(_plain_sensor(status, shown) for status in shown.statuses)))


def cells(status: SensorStatus, shown: Shown) -> tuple[str, ...]:
    """One row of the table, in the order of its columns."""
    figures = status.figures
    trigger = shown.triggers.get(status.sensor.id)
    return (
        status.sensor.id,
        _state(status),
        f"{figures.fps:.1f}",
        str(figures.num_captures),
        str(figures.num_incomplete),
        str(figures.num_dropped),
        str(status.counts.num_overrun),
        "-" if figures.exposure_us is None else f"{figures.exposure_us} µs",
        "-" if figures.jitter_us is None else f"{figures.jitter_us:.0f} µs",
        "-" if trigger is None or trigger.offset_us is None else _offset(trigger),
    )


def _table(shown: Shown) -> Table:
    from rich.table import Table

    table = Table(title=shown.head, title_justify="left")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("sensor", "state") else "right")
    for status in shown.statuses:
        table.add_row(*cells(status, shown))
    return table


def _plain_sensor(status: SensorStatus, shown: Shown) -> str:
    name, state, fps, captures, incomplete, dropped, overrun, _, jitter, offset = cells(status, shown)
    text = f"{name} {state}: {fps} fps, {captures} captures, {incomplete} incomplete, {dropped} dropped"
    text += f", {overrun} overrun" if status.counts.num_overrun else ""
    text += f", jitter {jitter}" if jitter != "-" else ""
    return text + (f", offset {offset}" if offset != "-" else "")


def _state(status: SensorStatus) -> str:
    if status.state == "waiting" and status.sensor.sync_mode == "SUBORDINATE":
        return "waits for pulses"
    if status.state == "streaming" and status.drift_mm_per_min is not None and status.counts.num_written == 0:
        return f"{status.depth_mm:.1f} mm, {status.drift_mm_per_min:+.2f} mm/min"
    return status.state


def _offset(trigger: TriggerFigures) -> str:
    rate = "" if trigger.rate_ppm is None else f" ({trigger.rate_ppm:+.0f} ppm)"
    return f"{trigger.offset_us:+.0f} µs{rate}"
