"""A recording's log for people: what ``record`` says at its end, and ``inspect`` of its ``record.json`` later."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anim_real.capture.recorder.record_log import RecordLog, SensorLog

_SHOWN = ("cable", "trigger", "clock", "silent", "no pulses", "lost", "failed")


def record_lines(log: RecordLog) -> tuple[str, ...]:
    """How long, what each sensor gave, the remarks, and the events that cost more than single captures."""
    return (
        f"recorded {log.duration_s:.1f} s (stopped by: {log.stopped_by})",
        *(f"  {name}: {_sensor_line(sensor)}" for name, sensor in log.sensors.items()),
        *(f"  remark: {remark}" for remark in log.remarks),
        *(f"  {event.sensor} at {event.at_s:.1f} s: {event.text}" for event in log.events if event.kind in _SHOWN),
    )


def _sensor_line(sensor: SensorLog) -> str:
    offset = sensor.trigger and sensor.trigger.offset_us
    return (
        f"{sensor.num_written} captures, {sensor.num_incomplete} incomplete, {sensor.num_dropped} dropped"
        f", {sensor.num_imu_written} IMU samples, {sensor.bytes / 1e6:.1f} MB"
        + ("" if sensor.jitter_us is None else f", jitter {sensor.jitter_us:.0f} µs")
        + ("" if sensor.trigger is None or offset is None else f", {offset:+.0f} µs to {sensor.trigger.reference}")
    )
