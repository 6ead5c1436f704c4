"""What is said at the end of a live recording: remarks, failures and the note in take.toml."""

from __future__ import annotations

from collections.abc import Sequence

from anim_real.capture.recorder.record_log import RecordLog
from anim_real.capture.recorder.sensor_stream import SensorStatus


def note_of(log: RecordLog, failures: Sequence[str]) -> str:
    """What take.toml says about how the recording went."""
    parts = [f"recorded {log.duration_s:.1f} s, stopped by: {log.stopped_by}"]
    for name, sensor in log.sensors.items():
        lost = {
            "dropped": sensor.num_dropped,
            "incomplete": sensor.num_incomplete,
            "not written": sensor.num_overrun + sensor.num_refused + sensor.num_discarded,
        }
        told = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
        parts += [f"{name}: {told}"] if told else []
    parts += [
        f"{event.sensor} at {event.at_s:.1f} s: {event.text}"
        for event in log.events
        if event.kind in ("cable", "trigger")
    ]
    return "; ".join((*parts, *failures))


def failure_of(status: SensorStatus) -> str | None:
    """A sentence if the sensor failed, was lost or gave nothing; else None."""
    name = status.sensor.id
    if status.error is not None:
        return f"sensor {name}: {status.error}"
    if status.counts.num_written == 0:
        why = " (no pulses on its sync cable)" if status.sensor.sync_mode == "SUBORDINATE" else ""
        return f"sensor {name}: no capture came{why}"
    return None


def remarks_on(statuses: Sequence[SensorStatus]) -> list[str]:
    """What the figures say at the end."""
    remarks = []
    for status in statuses:
        figures, counts, name = status.figures, status.counts, status.sensor.id
        lost: dict[str, int] = {
            "captures dropped by the device": figures.num_dropped,
            "captures incomplete": figures.num_incomplete,
            "captures not written, the disk is too slow": counts.num_overrun,
            "colour images corrupt and left out": counts.num_corrupt,
            "captures refused": counts.num_refused,
            "images too late": counts.num_late,
            "captures discarded": counts.num_discarded,
        }
        remarks += [f"{name}: {what}: {count}" for what, count in lost.items() if count]
        if figures.num_exposure_changes and figures.exposure_range_us and status.sensor.sync_mode != "STANDALONE":
            shortest, longest = figures.exposure_range_us
            remarks.append(
                f"{name}: colour exposure changed from {shortest} to {longest} µs: set it by hand, the colour stamp is"
                " its centre"
            )
    return remarks


def length_s(status: SensorStatus) -> float:
    """Time that a sensor's captures cover, by its stamps."""
    first, last = status.figures.first_us, status.figures.last_us
    return 0.0 if first is None or last is None else max(0.0, (last - first) / 1e6 + 1 / status.sensor.fps)
