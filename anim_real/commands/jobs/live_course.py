"""What is recorded, and how the recording goes: the news of all sensors collected, said and shown."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, field
from pathlib import Path

from anim_real.capture.recorder.disk_space import free_bytes
from anim_real.capture.recorder.sensor_stream import SensorStatus
from anim_real.capture.recorder.session import Recorder
from anim_real.capture.recorder.stream_health import Finding
from anim_real.capture.recorder.trigger_health import TriggerFigures, TriggerWatch
from anim_real.commands.jobs.live_status import LiveStatus, Shown
from anim_real.commands.jobs.stop_signals import StopSignals
from anim_real.take import TakeSpec

_COUNTED = ("dropped", "overrun", "corrupt", "refused", "resumed")  # kinds that are counted, not said one by one


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be recorded.

    Attributes:
        folder: the take to write.
        take: content of its take.toml, without note.
        rig_sha256: of the rig's file.
        duration_s: length, counted from the first capture; None = until it is stopped.
        warm_up_s: time to stream before writing.
        remarks: what was remarked before.
    """

    folder: Path
    take: TakeSpec
    rig_sha256: str
    duration_s: float | None
    warm_up_s: float
    remarks: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class Course:
    """A recording while it runs.

    Attributes:
        plan, recorder, watch, shows, stop: what it consists of.
        findings: what happened so far.
        began_s, began_at: when writing began, on the host's monotonic clock and in UTC.
        remarks: what was remarked so far.
    """

    plan: Plan
    recorder: Recorder
    watch: TriggerWatch
    shows: LiveStatus
    stop: StopSignals
    findings: list[Finding] = field(default_factory=list)
    began_s: float = 0.0
    began_at: datetime.datetime = datetime.datetime.min
    remarks: list[str] = field(default_factory=list)

    def statuses(self) -> list[SensorStatus]:
        """How the sensors stand, in the rig's order."""
        return [stream.status() for stream in self.recorder.streams]

    def tick(self, phase: str, elapsed_s: float, total_s: float | None) -> list[SensorStatus]:
        """Take the news of all sensors, say what is new, show the rest."""
        self.take_news(self.began_s or time.monotonic() - elapsed_s)
        statuses = self.statuses()
        triggers = {name: figures for name, figures in self.triggers().items() if figures is not None}
        free = free_bytes(self.plan.folder)
        self.shows.show(
            Shown(
                phase=phase, elapsed_s=elapsed_s, total_s=total_s, statuses=statuses, triggers=triggers, free_bytes=free
            )
        )
        return statuses

    def take_news(self, since_s: float) -> None:
        """Collect what was found; say what is not merely counted, with its time since ``since_s``."""
        stamps = {}
        new: list[Finding] = []
        for stream in self.recorder.streams:
            findings, stamps[stream.feed.sensor.id] = stream.take_news()
            new += findings
        new += self.watch.observe(stamps)
        for finding in new:
            if finding.kind not in _COUNTED:
                self.shows.say(f"{finding.sensor} at {finding.at_s - since_s:.1f} s: {finding.text}")
        self.findings += new

    def triggers(self) -> dict[str, TriggerFigures | None]:
        """How the sensors stand to the trigger's reference, by id."""
        return {stream.feed.sensor.id: self.watch.figures(stream.feed.sensor.id) for stream in self.recorder.streams}
