"""When things happen in a take: pulses, exposures of scanner and Kinect, drops and gaps; all in studio time.

A pulse triggers a scanner frame a fixed latency later, and a Kinect capture a whole number of
periods plus a rest later. So the capture that shows the same moment as a scanner frame was
triggered some pulses earlier: the lag that pulse logs alone cannot reveal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.studio.triggers import Latency, pulse_times

Array = NDArray[np.float64]
_LEAD_PULSES = 14  # before the first scanner frame: longer than any lag
_MARGIN = 3  # pulses recorded by one system beyond the other
_WAIT_PULSES = 165  # 5.5 s to carry the target to its next place


@dataclass(frozen=True, kw_only=True)
class CapturePlan:
    """One capture that reaches the recording; studio times of exposure centres, None = that image was lost."""

    pulse: int
    color_us: float | None
    depth_us: float | None
    scan_frame: int | None
    scan_dt_us: float | None
    placement: int | None = None

    @property
    def time_us(self) -> float:
        """Time of whatever image there is."""
        time_us = self.depth_us if self.depth_us is not None else self.color_us
        assert time_us is not None
        return time_us


@dataclass(frozen=True, kw_only=True)
class SensorPlan:
    """What one sensor records, and the pulses whose capture was dropped."""

    captures: tuple[CapturePlan, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """A take in studio time.

    Attributes:
        pulses_us: (P,) all pulses.
        scans_us: (S,) centres of exposure of scanner frames 0..S-1.
        mesh_frames: scanner frames that are reconstructed.
        sensors: by sensor id.
    """

    pulses_us: Array
    scans_us: Array
    mesh_frames: tuple[int, ...]
    sensors: dict[str, SensorPlan]


@dataclass(frozen=True, kw_only=True)
class SensorTiming:
    """A sensor's delays: ``latency`` from pulse to depth exposure, ``depth_delay_us`` from colour to depth."""

    latency: Latency
    depth_delay_us: float = 0.0


def performance_timeline(
    *,
    start_us: float,
    num_frames: int,
    period_us: float,
    jitter_us: float,
    scan_latency_us: float,
    sensors: dict[str, SensorTiming],
    rng: np.random.Generator,
) -> Timeline:
    """Plan a subject's take: ``num_frames`` scanner frames, Kinects a little longer, one drop and one gap inside.

    Shorter takes than 8 frames lose nothing inside.
    """
    pulses = pulse_times(start_us, _LEAD_PULSES + num_frames + 2 * _MARGIN, period_us, jitter_us, rng)
    scan_pulses = _LEAD_PULSES + np.arange(num_frames)
    plans = {}
    for sensor_id, timing in sensors.items():
        first = _LEAD_PULSES - timing.latency.lag
        triggered = np.arange(first - _MARGIN, first + num_frames + _MARGIN)
        inside = (
            rng.permutation(np.arange(first + 1, first + num_frames - 1))[:2] if num_frames >= 8 else np.array([], int)
        )
        dropped, incomplete = {int(pulse) for pulse in inside[:1]}, {int(pulse) for pulse in inside[1:]}
        plans[sensor_id] = SensorPlan(
            captures=tuple(
                _capture(
                    int(pulse), pulses, scan_pulses, timing, period_us, scan_latency_us, int(pulse) in incomplete, rng
                )
                for pulse in triggered
                if pulse not in dropped
            ),
            dropped=tuple(sorted(dropped)),
        )
    return Timeline(
        pulses_us=pulses,
        scans_us=pulses[scan_pulses] + scan_latency_us,
        mesh_frames=tuple(range(num_frames)),
        sensors=plans,
    )


def calibration_timeline(
    *,
    start_us: float,
    num_placements: int,
    burst: int,
    period_us: float,
    jitter_us: float,
    scan_latency_us: float,
    sensors: dict[str, SensorTiming],
    rng: np.random.Generator,
) -> Timeline:
    """Plan a calibration take: the scanner runs through, the recording pauses while the target is carried.

    Each placement has ``burst`` captures and one reconstructed scanner frame in their middle. The
    scanner's frames reach only 0.2 s beyond the first and last capture.
    """
    steps = _WAIT_PULSES + rng.integers(-25, 26, num_placements)
    starts = _LEAD_PULSES + 6 + np.concatenate([[0], np.cumsum(steps[:-1])])  # in pulses of scanner exposures
    first_scan, last_scan = int(starts[0]) - 6, int(starts[-1]) + burst + 5
    pulses = pulse_times(start_us, last_scan + 1 + _MARGIN, period_us, jitter_us, rng)
    scan_pulses = np.arange(first_scan, last_scan + 1)
    plans = {}
    for sensor_id, timing in sensors.items():
        shifted = [
            (place, int(start) - timing.latency.lag + step)
            for place, start in enumerate(starts)
            for step in range(burst)
        ]
        lost = rng.permutation(len(shifted))[:2] if burst >= 4 else np.array([], int)
        plans[sensor_id] = SensorPlan(
            captures=tuple(
                _capture(
                    pulse,
                    pulses,
                    scan_pulses,
                    timing,
                    period_us,
                    scan_latency_us,
                    row in lost[1:],
                    rng,
                    placement=place,
                )
                for row, (place, pulse) in enumerate(shifted)
                if row not in lost[:1]
            ),
            dropped=tuple(shifted[row][1] for row in lost[:1]),
        )
    return Timeline(
        pulses_us=pulses,
        scans_us=pulses[scan_pulses] + scan_latency_us,
        mesh_frames=tuple(int(start) + burst // 2 - first_scan for start in starts),
        sensors=plans,
    )


def _capture(
    pulse: int,
    pulses_us: Array,
    scan_pulses: NDArray[np.int64],
    timing: SensorTiming,
    period_us: float,
    scan_latency_us: float,
    is_incomplete: bool,
    rng: np.random.Generator,
    *,
    placement: int | None = None,
) -> CapturePlan:
    depth_us: float | None = float(pulses_us[pulse] + timing.latency.total_us(period_us))
    color_us: float | None = depth_us - timing.depth_delay_us
    scan_frame = pulse + timing.latency.lag - int(scan_pulses[0])
    is_scanned = 0 <= scan_frame < len(scan_pulses)
    scan_us = pulses_us[scan_pulses[scan_frame]] + scan_latency_us if is_scanned else None
    scan_dt_us = None if scan_us is None else float(depth_us - scan_us)
    if is_incomplete:
        depth_us, color_us = (None, color_us) if rng.random() < 0.5 else (depth_us, None)
    return CapturePlan(
        pulse=pulse,
        color_us=color_us,
        depth_us=depth_us,
        scan_frame=scan_frame if is_scanned else None,
        scan_dt_us=scan_dt_us,
        placement=placement,
    )
