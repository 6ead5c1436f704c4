"""``record.json``: how a recording went, beside the files it is about.

Times ``at_s`` are seconds since writing began, on the host's clock; device times are microseconds of that
sensor's clock, centre of the depth exposure.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from anim_real.capture.recorder.sensor_stream import SensorStatus
from anim_real.capture.recorder.stream_health import Finding
from anim_real.capture.recorder.trigger_health import TriggerFigures
from anim_real.specs import Spec

SCHEMA = "anim-real/record/1"
_MOST_EVENTS = 1000  # listed per sensor and kind; the counts are complete

StoppedBy = Literal["duration", "request", "terminated", "ended", "lost", "full disk", "no pulses", "broken off"]


class EventLog(Spec):
    """Something that happened; ``kind`` and ``count`` as in ``stream_health.Finding``."""

    sensor: str
    kind: str
    at_s: float
    device_us: int | None = None
    count: int = 1
    text: str


class CablesLog(Spec):
    """Sync cables as the device told them last; None where it does not."""

    sync_in: bool | None = None
    sync_out: bool | None = None


class TriggerLog(Spec):
    """Exposures against the reference sensor's, see ``trigger_health.TriggerFigures``."""

    reference: str
    offset_us: float | None
    rate_ppm: float | None


class SensorLog(Spec):
    """One sensor: the device, what came, what became of it. Figures as in ``StreamFigures`` and ``WriteCounts``.

    ``state``: ``waiting`` (it sent nothing), ``stopped`` by us, ``ended`` (a played recording), ``lost``, ``failed``.
    """

    file: str | None
    bytes: int
    state: Literal["waiting", "stopped", "ended", "lost", "failed"]
    error: str | None
    backend: str
    model: str
    serial: str
    color_firmware: str
    depth_firmware: str
    library: str
    cables: CablesLog
    num_captures: int
    num_incomplete: int
    num_dropped: int
    num_written: int
    num_overrun: int
    num_corrupt: int
    num_refused: int
    num_late: int
    num_discarded: int
    num_imu_written: int
    num_imu_lost: int
    first_us: int | None
    last_us: int | None
    first_at_s: float | None
    jitter_us: float | None
    worst_jitter_us: float | None
    rate_ppm: float | None
    exposure_range_us: tuple[int, int] | None
    num_exposure_changes: int
    trigger: TriggerLog | None


class RecordLog(Spec):
    """The whole record."""

    schema_: Literal["anim-real/record/1"] = Field(default=SCHEMA, alias="schema")
    take_id: str
    rig: str
    rig_sha256: str
    tool_version: str
    began_at: datetime.datetime = Field(description="host's clock, UTC, when writing began")
    duration_s: float
    warm_up_s: float
    stopped_by: StoppedBy
    remarks: tuple[str, ...]
    sensors: dict[str, SensorLog]
    events: tuple[EventLog, ...]
    num_unlisted_events: int


def sensor_log(status: SensorStatus, path: Path, began_s: float, trigger: TriggerFigures | None) -> SensorLog:
    """The log of one sensor; ``path`` is its recording, ``began_s`` the host's monotonic clock when writing began."""
    figures, counts, info = status.figures, status.counts, status.info
    has_file = path.is_file()
    return SensorLog(
        file=path.name if has_file else None,
        bytes=path.stat().st_size if has_file else 0,
        state="stopped" if status.state == "streaming" else status.state,
        error=None if status.error is None else str(status.error),
        backend=info.backend,
        model=info.model,
        serial=info.serial,
        color_firmware=info.color_firmware,
        depth_firmware=info.depth_firmware,
        library=info.library,
        cables=CablesLog(sync_in=status.cables.sync_in, sync_out=status.cables.sync_out),
        num_captures=figures.num_captures,
        num_incomplete=figures.num_incomplete,
        num_dropped=figures.num_dropped,
        first_us=figures.first_us,
        last_us=figures.last_us,
        first_at_s=None if figures.first_at_s is None else round(figures.first_at_s - began_s, 6),
        jitter_us=_rounded(figures.jitter_us),
        worst_jitter_us=_rounded(figures.worst_jitter_us),
        rate_ppm=_rounded(figures.rate_ppm),
        exposure_range_us=figures.exposure_range_us,
        num_exposure_changes=figures.num_exposure_changes,
        trigger=None
        if trigger is None
        else TriggerLog(
            reference=trigger.reference, offset_us=_rounded(trigger.offset_us), rate_ppm=_rounded(trigger.rate_ppm)
        ),
        **vars(counts),
    )


def event_logs(findings: Sequence[Finding], began_s: float) -> tuple[tuple[EventLog, ...], int]:
    """Events in the order of time, at most a thousand per sensor and kind, and how many are not listed."""
    seen: dict[tuple[str, str], int] = {}
    events = []
    for finding in sorted(findings, key=lambda finding: finding.at_s):
        key = (finding.sensor, finding.kind)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= _MOST_EVENTS:
            events.append(
                EventLog(
                    sensor=finding.sensor,
                    kind=finding.kind,
                    at_s=round(finding.at_s - began_s, 3),
                    device_us=finding.device_us,
                    count=finding.count,
                    text=finding.text,
                )
            )
    return tuple(events), len(findings) - len(events)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
