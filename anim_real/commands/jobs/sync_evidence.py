"""What a clock map leaves: every capture's distance in time to its scan, what is missing, what the trigger log lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import ClockMap
from anim_real.capture.recording.k4a_mkv import Recording
from anim_real.errors import DataError
from anim_real.report import Report, histogram, scatter
from anim_real.rig import RigSpec, SensorSpec
from anim_real.sync.matching import Captures, Matching, Scans, match_frames
from anim_real.sync.pulses import fit_train
from anim_real.take import Take

_LISTED = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class SyncEvidence:
    """A sensor's clock map and what it leaves.

    Attributes:
        clock: the map, device to scanner.
        refusals: why better means did not tell the clock.
        matching: pairs and what is in none.
        num_captures, num_incomplete, num_scans: what there is.
        period_us: the device's frame period.
        time_s, dt_ms: (M,) of every pair: scanner time since the first scan, capture minus scan.
    """

    sensor: str
    clock: ClockMap
    refusals: tuple[str, ...]
    matching: Matching
    num_captures: int
    num_incomplete: int
    num_scans: int
    period_us: float
    time_s: NDArray[np.float64]
    dt_ms: NDArray[np.float64]

    def missing(self) -> str:
        """What the device did not deliver, in words: how many captures, in how many gaps."""
        lost = np.sort([entry.kinect_time_us or 0 for entry in self.matching.unmatched if entry.is_dropped])
        if not len(lost):
            return "no capture dropped"
        gaps = np.split(lost, np.flatnonzero(np.diff(lost) > 1.5 * self.period_us) + 1)
        longest_s = max(len(gap) for gap in gaps) * self.period_us * 1e-6
        return f"{len(lost)} captures missing in {len(gaps)} gaps, the longest {longest_s:.2f} s"

    def record(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "clock": self.clock.model_dump(mode="json"),
            "refusals": list(self.refusals),
            "num_captures": self.num_captures,
            "num_incomplete": self.num_incomplete,
            "num_scans": self.num_scans,
            "num_pairs": len(self.matching.matches),
            "num_dropped": self.matching.num_dropped,
            "dropped_device_us": [entry.kinect_time_us for entry in self.matching.unmatched if entry.is_dropped],
            "dt_ms": {"median": _round(np.median, self.dt_ms), "spread": _round(np.std, self.dt_ms)},
        }

    def lines(self) -> tuple[str, ...]:
        """For people."""
        clock = self.clock
        bent = f", {len(clock.wander)} knots of wander" if clock.wander else ""
        sigma = "" if clock.offset_sigma_us is None else f" ± {clock.offset_sigma_us:.0f} µs"
        margin = "" if clock.lag_margin is None else f", margin {clock.lag_margin:.0f} nats"
        return (
            f"{self.sensor}: by {clock.method}: offset {clock.offset_us / 1e6:.6f} s{sigma}, "
            f"drift {clock.drift_ppm:.2f} ppm{bent}{margin}",
            f"  {len(self.matching.matches)} pairs of {self.num_captures} captures ({self.num_incomplete} incomplete) "
            f"and {self.num_scans} scanner frames; {self.missing()}",
            *(f"  not by {refusal}" for refusal in self.refusals),
        )


def sync_evidence(
    take: Take, recording: Recording, rig: RigSpec, sensor: SensorSpec, clock: ClockMap, refusals: tuple[str, ...]
) -> SyncEvidence:
    """Match a take's frames by a clock map; every scanner frame counts, with mesh or without."""
    stamps = recording.stamps()
    scans = Scans(index=take.scan_index, time_us=take.scan_time_us, has_mesh=np.ones(len(take.scan_index), dtype=bool))
    matching = match_frames(
        Captures(index=stamps.index, time_us=stamps.time_us, is_complete=stamps.is_complete),
        scans,
        clock,
        scan_period_us=1e6 / rig.scanner.fps,
        device_period_us=1e6 / sensor.fps,
    )
    pairs = np.array([(match.scan_time_us, match.dt_us) for match in matching.matches], dtype=np.float64).reshape(-1, 2)
    return SyncEvidence(
        sensor=sensor.id,
        clock=clock,
        refusals=refusals,
        matching=matching,
        num_captures=len(stamps.index),
        num_incomplete=int((~stamps.is_complete).sum()),
        num_scans=len(take.scan_index),
        period_us=1e6 / sensor.fps,
        time_s=(pairs[:, 0] - float(take.scan_time_us[0])) * 1e-6,
        dt_ms=pairs[:, 1] * 1e-3,
    )


def trigger_remark(take: Take, rig: RigSpec) -> str | None:
    """What the trigger log lost, in one sentence; None without a log or a trigger box."""
    if take.pulse_time_us is None or rig.trigger is None:
        return None
    try:
        log = fit_train(take.pulse_time_us, 1e6 / rig.trigger.fps, name=str(take.folder / "triggers.csv"))
    except DataError as error:
        return f"trigger log not used: {error}"
    if not len(log.missing) and not len(log.stray_us):
        return None
    return f"the trigger log lost {len(log.missing)} pulses, {len(log.stray_us)} are strays"


def add_sync(report: Report, evidence: SyncEvidence) -> None:
    """Add a sensor's section: the map, its residuals over time, what is missing."""
    clock = evidence.clock
    report.heading(f"Sensor {evidence.sensor}")
    report.facts(
        {
            "by": clock.method,
            "offset, s": f"{clock.offset_us / 1e6:.6f}",
            "offset ±, µs": clock.offset_sigma_us,
            "drift, ppm": clock.drift_ppm,
            "drift ±, ppm": clock.drift_sigma_ppm,
            "margin over the next lag, nats": clock.lag_margin,
            "knots of wander": len(clock.wander),
            "captures": evidence.num_captures,
            "incomplete": evidence.num_incomplete,
            "scanner frames": evidence.num_scans,
            "pairs": len(evidence.matching.matches),
            "missing": evidence.missing(),
        }
    )
    for refusal in evidence.refusals:
        report.text(f"Not by {refusal}")
    if len(evidence.dt_ms):
        report.chart(
            scatter(evidence.time_s, evidence.dt_ms, "scanner time since the first scan, s", "capture minus scan, ms"),
            "every pair: a slope is drift that the map misses, a step a slipped lag",
        )
        report.chart(histogram(evidence.dt_ms, "capture minus scan, ms"), f"{len(evidence.dt_ms)} pairs")
    lost = [entry for entry in evidence.matching.unmatched if entry.is_dropped]
    if lost:
        report.table(
            ("device time, s", "scanner frame", "what"),
            [(f"{(entry.kinect_time_us or 0) * 1e-6:.4f}", entry.scan_index, entry.reason) for entry in lost[:_LISTED]],
        )
        if len(lost) > _LISTED:
            report.text(f"{len(lost) - _LISTED} more are listed in the JSON.")


def _round(statistic: Any, values: NDArray[np.float64]) -> float | None:
    return round(float(statistic(values)), 4) if len(values) else None
