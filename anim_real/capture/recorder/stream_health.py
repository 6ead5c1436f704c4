"""How well one sensor's stream runs, told from device stamps and arrival times while it runs, in constant memory.

Stamps are device microseconds, centre of exposure; ``at_s`` is the host's monotonic clock when a capture
arrived. What several streams tell together (triggers, cables) is left to ``trigger_health``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from anim_real.depth_camera import LiveCapture
from anim_real.rig import SensorSpec

_LIVE_S = 3.0  # span of the frame rate and data rate shown
_NO_PULSES_S = 10.0  # a stream that has not begun by then is told
_SILENT_PERIODS, _SILENT_S = 5, 1.0  # a stream that pauses longer than both is told


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that happened to a stream.

    Attributes:
        sensor: the sensor's id.
        kind: ``dropped``, ``clock``, ``silent``, ``resumed``, ``no pulses``, ``cable``, ``trigger``, ``overrun``,
            ``corrupt``, ``refused``, ``ended``, ``lost`` or ``failed``.
        at_s: when, on the host's monotonic clock.
        device_us: when, on the device's clock, if known.
        count: captures concerned; 1 for what is no count.
        text: one sentence.
    """

    sensor: str
    kind: str
    at_s: float
    device_us: int | None = None
    count: int = 1
    text: str


@dataclass(frozen=True, kw_only=True)
class StreamFigures:
    """Figures of a stream so far; None where nothing can be said yet.

    Attributes:
        num_captures, num_incomplete: delivered; of them without colour or depth (without IR in PASSIVE_IR).
        num_dropped: captures that the device skipped, by the gaps in the stamps.
        first_us, last_us: device times of the first and last capture.
        first_at_s: arrival of the first capture.
        fps, bytes_per_s: over the last three seconds.
        num_bytes: images delivered.
        jitter_us, worst_jitter_us: standard deviation and largest deviation of an interval from whole periods.
        rate_ppm: the frame rate's deviation from nominal, on the device's own clock; positive = intervals too long.
        exposure_us: last colour exposure; ``exposure_range_us`` shortest and longest.
        num_exposure_changes: how often it changed.
        silent_s: time since the last capture, or since the start.
    """

    num_captures: int
    num_incomplete: int
    num_dropped: int
    first_us: int | None
    last_us: int | None
    first_at_s: float | None
    fps: float
    bytes_per_s: float
    num_bytes: int
    jitter_us: float | None
    worst_jitter_us: float | None
    rate_ppm: float | None
    exposure_us: int | None
    exposure_range_us: tuple[int, int] | None
    num_exposure_changes: int
    silent_s: float


class StreamHealth:
    """Collects the figures of one stream; not thread-safe by itself."""

    def __init__(self, sensor: SensorSpec, start_s: float) -> None:
        self._sensor = sensor
        self._period_us = 1e6 / sensor.fps
        self._start_s = start_s
        self._num_captures = self._num_incomplete = self._num_dropped = self._num_bytes = 0
        self._first_us: int | None = None
        self._last_us: int | None = None
        self._first_at_s: float | None = None
        self._last_at_s = start_s
        self._is_silent = False
        self._recent: deque[tuple[float, int]] = deque()  # arrival, bytes
        self._num_intervals = self._num_periods = 0
        self._mean_us = self._square_us = self._worst_us = 0.0  # of the deviations, after Welford
        self._exposures: tuple[int, int, int] | None = None  # shortest, longest, last
        self._num_exposure_changes = 0

    def observe(self, capture: LiveCapture, at_s: float) -> list[Finding]:
        """Take a capture that arrived at ``at_s``; return what it reveals."""
        findings = []
        if self._is_silent:
            text = f"captures come again after {at_s - self._last_at_s:.1f} s"
            findings.append(self._finding("resumed", at_s, text))
            self._is_silent = False
        self._num_captures += 1
        self._num_incomplete += not is_complete(capture, self._sensor)
        size = capture_bytes(capture)
        self._num_bytes += size
        self._recent.append((at_s, size))
        self._forget(at_s)
        self._last_at_s = at_s
        self._first_at_s = at_s if self._first_at_s is None else self._first_at_s
        self._expose(capture.color_exposure_us)
        stamp_us = stamp_of(capture, self._sensor)
        if stamp_us is not None:
            findings += self._step(stamp_us, at_s)
        return findings

    def idle(self, at_s: float) -> list[Finding]:
        """Nothing came in the time waited; say so once per pause."""
        pause_s = at_s - self._last_at_s
        if self._is_silent or pause_s < self._limit_s():
            return []
        self._is_silent = True
        if self._first_at_s is None:
            why = (
                "no pulses on its sync cable" if self._sensor.sync_mode == "SUBORDINATE" else "the device sends nothing"
            )
            return [self._finding("no pulses", at_s, f"no capture for {pause_s:.0f} s: {why}")]
        return [self._finding("silent", self._last_at_s, f"no capture for {pause_s:.1f} s")]

    def figures(self, at_s: float) -> StreamFigures:
        """The figures at ``at_s``."""
        self._forget(at_s)
        span_s = 1e-9 if self._first_at_s is None else min(_LIVE_S, max(at_s - self._first_at_s, 1e-9))
        is_steady = span_s >= 1.0  # a rate over less says nothing
        has_intervals = self._num_intervals > 1
        return StreamFigures(
            num_captures=self._num_captures,
            num_incomplete=self._num_incomplete,
            num_dropped=self._num_dropped,
            first_us=self._first_us,
            last_us=self._last_us,
            first_at_s=self._first_at_s,
            fps=len(self._recent) / span_s if is_steady else 0.0,
            bytes_per_s=sum(size for _, size in self._recent) / span_s if is_steady else 0.0,
            num_bytes=self._num_bytes,
            jitter_us=math.sqrt(self._square_us / (self._num_intervals - 1)) if has_intervals else None,
            worst_jitter_us=self._worst_us if has_intervals else None,
            rate_ppm=self._rate_ppm() if has_intervals else None,
            exposure_us=None if self._exposures is None else self._exposures[2],
            exposure_range_us=None if self._exposures is None else self._exposures[:2],
            num_exposure_changes=self._num_exposure_changes,
            silent_s=at_s - self._last_at_s,
        )

    def _forget(self, at_s: float) -> None:
        while self._recent and self._recent[0][0] < at_s - _LIVE_S:
            self._recent.popleft()

    def _limit_s(self) -> float:
        if self._first_at_s is None:
            return _NO_PULSES_S
        return max(_SILENT_S, _SILENT_PERIODS * self._period_us / 1e6)

    def _step(self, stamp_us: int, at_s: float) -> list[Finding]:
        """Account for the interval since the last stamp."""
        last_us, self._last_us = self._last_us, stamp_us
        if last_us is None:
            self._first_us = stamp_us
            return []
        step_us = stamp_us - last_us
        num_periods = round(step_us / self._period_us)
        if step_us <= 0:
            text = f"the device clock went back by {-step_us} µs"
            return [self._finding("clock", at_s, text, device_us=stamp_us)]
        if num_periods == 0:
            text = f"a capture came {step_us} µs after the last"
            return [self._finding("clock", at_s, text, device_us=stamp_us)]
        self._count_interval(step_us - num_periods * self._period_us, num_periods)
        if num_periods == 1:
            return []
        lost = num_periods - 1
        self._num_dropped += lost
        text = f"{lost} capture{'s' if lost > 1 else ''} dropped after {last_us} µs"
        return [self._finding("dropped", at_s, text, device_us=last_us, count=lost)]

    def _count_interval(self, deviation_us: float, num_periods: int) -> None:
        self._num_intervals += 1
        self._num_periods += num_periods
        delta = deviation_us - self._mean_us
        self._mean_us += delta / self._num_intervals
        self._square_us += delta * (deviation_us - self._mean_us)
        self._worst_us = max(self._worst_us, abs(deviation_us))

    def _rate_ppm(self) -> float:
        """Mean deviation of a period: the intervals' deviations add up to the whole."""
        return self._mean_us * self._num_intervals / (self._num_periods * self._period_us) * 1e6

    def _expose(self, exposure_us: int | None) -> None:
        if exposure_us is None:
            return
        shortest, longest, last = self._exposures or (exposure_us, exposure_us, exposure_us)
        self._num_exposure_changes += exposure_us != last
        self._exposures = (min(shortest, exposure_us), max(longest, exposure_us), exposure_us)

    def _finding(self, kind: str, at_s: float, text: str, *, device_us: int | None = None, count: int = 1) -> Finding:
        return Finding(sensor=self._sensor.id, kind=kind, at_s=at_s, device_us=device_us, count=count, text=text)


def is_complete(capture: LiveCapture, sensor: SensorSpec) -> bool:
    """Whether colour and depth are there; in PASSIVE_IR, which has no depth, colour and IR."""
    second = capture.ir if sensor.depth_mode == "PASSIVE_IR" else capture.depth_mm
    return capture.color is not None and second is not None


def stamp_of(capture: LiveCapture, sensor: SensorSpec) -> int | None:
    """Device time of the capture: depth's, else colour's with the depth delay added; None without any."""
    if capture.depth_time_us is not None:
        return capture.depth_time_us
    return None if capture.color_time_us is None else capture.color_time_us + sensor.depth_delay_us


def capture_bytes(capture: LiveCapture) -> int:
    """Bytes of the capture's images as they are written."""
    images = sum(image.nbytes for image in (capture.depth_mm, capture.ir) if image is not None)
    return images + len(capture.color or b"")
