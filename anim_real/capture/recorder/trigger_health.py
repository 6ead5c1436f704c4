"""Whether sensors still follow their trigger, told from stamps while they run.

A subordinate keeps running when its sync cable is pulled: its frames look fine, but they no longer belong to
the pulses. Two phases tell it. A triggered stream's stamps run against the nominal frame period of the
device's own clock at a rate that is constant (the rate of that clock against the trigger's); and against the
stamps of another sensor on the same trigger likewise. A pulled cable bends either line.

Times are device microseconds, centre of the depth exposure. Clocks of two devices need not agree: only
phases modulo the frame period are compared, so which capture belongs to which is left to ``sync``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.recorder.stream_health import Finding
from anim_real.rig import SensorSpec

Stamp = tuple[int, float]  # device time in µs, arrival on the host's monotonic clock in s
_WINDOW_S = 20.0  # points kept
_RECENT_S, _MIN_RECENT = 1.0, 8  # points that are compared with the line through the others
_MIN_BASELINE_S, _MIN_BASELINE = 3.0, 15
_LEAST_US = 50.0  # bends below this are not told: stamps come in steps of 11 µs (90 kHz)
_NUM_SIGMAS = 6.0
_CHECK_S = 0.5
_SAME_S = 2.0  # bends of one sensor closer than this are one
_NUM_KNOTS = 60


@dataclass(frozen=True, kw_only=True)
class RateChange:
    """A bend in a phase: when (seconds of the tracker's time axis), and its rate before and after (µs/s = ppm)."""

    time_s: float
    before_ppm: float
    after_ppm: float


class PhaseTracker:
    """Watches a phase over time for a change of its rate or a jump."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()
        self._checked_s = -np.inf

    def observe(self, time_s: float, phase_us: float) -> RateChange | None:
        """Take a point; return the change if the last second leaves the line through what came before it."""
        self._points.append((time_s, phase_us))
        while time_s - self._points[0][0] > _WINDOW_S:
            self._points.popleft()
        if time_s - self._checked_s < _CHECK_S:
            return None
        self._checked_s = time_s
        points = np.array(self._points)
        if not _is_bent(points):
            return None
        change = _locate(points)
        while self._points and self._points[0][0] < change.time_s:
            self._points.popleft()
        return change

    def rate_ppm(self) -> float | None:
        """Slope over the window in µs/s; None before three seconds."""
        points = np.array(self._points)
        if len(points) < _MIN_BASELINE or points[-1, 0] - points[0, 0] < _MIN_BASELINE_S:
            return None
        return float(np.polyfit(points[:, 0] - points[0, 0], points[:, 1], 1)[0])

    def latest_us(self) -> float | None:
        """Median phase of the last second; None before there is a point."""
        if not self._points:
            return None
        return float(np.median([phase for time, phase in self._points if time >= self._points[-1][0] - _RECENT_S]))


def _is_bent(points: NDArray[np.float64]) -> bool:
    """Whether the median of the last points leaves the line by more than its uncertainty allows."""
    num_recent = max(_MIN_RECENT, int((points[:, 0] > points[-1, 0] - _RECENT_S).sum()))
    baseline, recent = points[:-num_recent], points[-num_recent:]
    if len(baseline) < _MIN_BASELINE or baseline[-1, 0] - baseline[0, 0] < _MIN_BASELINE_S:
        return False
    center = baseline[:, 0].mean()
    line = np.polyfit(baseline[:, 0] - center, baseline[:, 1], 1)
    residuals = baseline[:, 1] - np.polyval(line, baseline[:, 0] - center)
    sigma = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    deviation = float(np.median(recent[:, 1] - np.polyval(line, recent[:, 0] - center)))
    reach = float(np.median(recent[:, 0])) - center
    spread = float(((baseline[:, 0] - center) ** 2).sum())
    uncertainty = sigma * np.sqrt(np.pi / 2 / num_recent + 1 / len(baseline) + reach**2 / spread)
    return abs(deviation) > max(_LEAST_US, _NUM_SIGMAS * uncertainty)


def _locate(points: NDArray[np.float64]) -> RateChange:
    """Where two lines meet the points best, and their slopes."""
    times, phases = points[:, 0] - points[0, 0], points[:, 1]
    knots = np.linspace(times[0] + 0.5, times[-1] - 0.1, _NUM_KNOTS)
    best: tuple[float, float, NDArray[np.floating]] | None = None
    for knot in knots:
        is_after = times >= knot
        design = np.stack([np.ones_like(times), times, is_after, np.where(is_after, times - knot, 0.0)], axis=1)
        answer = np.linalg.lstsq(design, phases, rcond=None)[0]
        error = float(np.abs(phases - design @ answer).sum())
        if best is None or error < best[0]:
            best = (error, float(knot), answer)
    assert best is not None
    _, knot, answer = best
    return RateChange(
        time_s=float(points[0, 0] + knot), before_ppm=float(answer[1]), after_ppm=float(answer[1] + answer[3])
    )


@dataclass(frozen=True, kw_only=True)
class TriggerFigures:
    """How a sensor stands to the reference on the same trigger.

    Attributes:
        reference: id of the sensor compared with.
        offset_us: its exposures after the reference's, less the delays set in the rig; within half a period either
            way. About 0 where the devices share their time (Azure Kinects on one sync cable, subordinates
            started first); else only its change says something.
        rate_ppm: how the offset grows, µs per second.
    """

    reference: str
    offset_us: float | None
    rate_ppm: float | None


class TriggerWatch:
    """Follows the sensors that are on one trigger; the master is the reference, else the first subordinate."""

    def __init__(self, sensors: Sequence[SensorSpec]) -> None:
        linked = [sensor for sensor in sensors if sensor.sync_mode != "STANDALONE"]
        linked.sort(key=lambda sensor: sensor.sync_mode != "MASTER")
        self._sensors = {sensor.id: sensor for sensor in linked}
        self._reference = linked[0] if linked else None
        self._own = {sensor.id: _OwnPhase(sensor) for sensor in linked if sensor.sync_mode == "SUBORDINATE"}
        self._pairs = {sensor.id: _PairPhase(linked[0], sensor) for sensor in linked[1:]}
        self._reference_stamps: deque[Stamp] = deque(maxlen=200)
        self._told_s: dict[str, float] = {}

    def observe(self, stamps: dict[str, Sequence[Stamp]]) -> list[Finding]:
        """Take the stamps that came since the last call, by sensor; return what they reveal."""
        if self._reference is None:
            return []
        self._reference_stamps.extend(stamps.get(self._reference.id, ()))
        findings = []
        for name, new in stamps.items():
            if name in self._own:
                findings += self._own[name].observe(new)
            if name in self._pairs:
                findings += self._pairs[name].observe(new, self._reference_stamps)
        return [finding for finding in findings if self._is_news(finding)]

    def _is_news(self, finding: Finding) -> bool:
        """Whether the bend was not already told: both phases of a sensor bend at once."""
        told_s = self._told_s.get(finding.sensor, -np.inf)
        self._told_s[finding.sensor] = finding.at_s
        return abs(finding.at_s - told_s) > _SAME_S

    def figures(self, sensor_id: str) -> TriggerFigures | None:
        """Figures of a sensor; None of the reference, and of those that are on no trigger."""
        pair = self._pairs.get(sensor_id)
        return None if pair is None else pair.figures()


class _OwnPhase:
    """Stamps of one sensor against the nominal frame period of its own clock."""

    def __init__(self, sensor: SensorSpec) -> None:
        self._sensor = sensor
        self._period_us = 1e6 / sensor.fps
        self._restart(None)

    def _restart(self, stamp_us: int | None) -> None:
        self._last_us = stamp_us
        self._phase_us = 0.0
        self._tracker = PhaseTracker()

    def observe(self, stamps: Iterable[Stamp]) -> list[Finding]:
        findings = []
        for stamp_us, at_s in stamps:
            if self._last_us is None or stamp_us <= self._last_us:  # the start, or a clock that was set back
                self._restart(stamp_us)
                continue
            step_us = stamp_us - self._last_us
            self._phase_us += step_us - round(step_us / self._period_us) * self._period_us
            self._last_us = stamp_us
            change = self._tracker.observe(stamp_us / 1e6, self._phase_us)
            if change is not None:
                findings.append(_finding(self._sensor.id, "its nominal period", change, stamp_us, at_s))
        return findings


class _PairPhase:
    """Stamps of one sensor against those of the reference, modulo the frame period."""

    def __init__(self, reference: SensorSpec, sensor: SensorSpec) -> None:
        self._reference, self._sensor = reference, sensor
        self._period_us = 1e6 / sensor.fps
        self._expected_us = exposure_delay_us(sensor) - exposure_delay_us(reference)
        self._last: tuple[int, float] | None = None  # stamp, phase
        self._tracker = PhaseTracker()

    def observe(self, stamps: Iterable[Stamp], reference: deque[Stamp]) -> list[Finding]:
        if not reference:
            return []
        arrivals = [at_s for _, at_s in reference]
        findings = []
        for stamp_us, at_s in stamps:
            nearest = min(bisect_left(arrivals, at_s), len(arrivals) - 1)
            if abs(arrivals[nearest] - at_s) > _RECENT_S:  # the reference pauses: nothing to compare with
                continue
            raw_us = stamp_us - reference[nearest][0] - self._expected_us
            if self._last is None or stamp_us <= self._last[0]:
                phase_us, self._tracker = self._wrapped(raw_us), PhaseTracker()
            else:
                phase_us = self._last[1] + self._wrapped(raw_us - self._last[1])
            self._last = (stamp_us, phase_us)
            change = self._tracker.observe(stamp_us / 1e6, phase_us)
            if change is not None:
                findings.append(_finding(self._sensor.id, self._reference.id, change, stamp_us, at_s))
        return findings

    def figures(self) -> TriggerFigures:
        latest_us = self._tracker.latest_us()
        return TriggerFigures(
            reference=self._reference.id,
            offset_us=None if latest_us is None else self._wrapped(latest_us),
            rate_ppm=self._tracker.rate_ppm(),
        )

    def _wrapped(self, difference_us: float) -> float:
        return (difference_us + self._period_us / 2) % self._period_us - self._period_us / 2


def exposure_delay_us(sensor: SensorSpec) -> int:
    """Depth exposure of a sensor after the trigger, as the rig sets it."""
    return sensor.subordinate_delay_us + sensor.depth_delay_us


def _finding(sensor_id: str, against: str, change: RateChange, stamp_us: int, at_s: float) -> Finding:
    device_us = round(change.time_s * 1e6)
    return Finding(
        sensor=sensor_id,
        kind="trigger",
        at_s=at_s - (stamp_us - device_us) / 1e6,
        device_us=device_us,
        text=f"its rate against {against} changed from {round(change.before_ppm):+d} to"
        f" {round(change.after_ppm):+d} ppm: it may no longer follow the trigger, look at the sync cable",
    )
