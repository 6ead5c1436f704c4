"""What happens when in a simulated take."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.studio.timeline import SensorTiming, calibration_timeline, performance_timeline
from anim_real.studio.triggers import Latency

PERIOD_US = 1e6 / 30
TIMING = SensorTiming(latency=Latency(lag=4, rest_us=7_000.0), depth_delay_us=160.0)


def performance(num_frames: int, rng: np.random.Generator):
    return performance_timeline(
        start_us=1e6,
        num_frames=num_frames,
        period_us=PERIOD_US,
        jitter_us=30.0,
        scan_latency_us=6_000.0,
        sensors={"k0": TIMING},
        rng=rng,
    )


def test_matching_scan_is_the_one_exposed_at_the_same_moment(rng: np.random.Generator):
    timeline = performance(14, rng)
    captures = timeline.sensors["k0"].captures
    for capture in captures:
        depth_us = capture.time_us if capture.depth_us is not None else capture.time_us + 160.0
        nearest = int(np.argmin(np.abs(timeline.scans_us - depth_us)))
        is_near = abs(timeline.scans_us[nearest] - depth_us) < PERIOD_US / 2
        assert capture.scan_frame == (nearest if is_near else None)
        if capture.scan_frame is not None:
            assert capture.scan_dt_us == pytest.approx(depth_us - timeline.scans_us[nearest])
            assert abs(capture.scan_dt_us) < 1_500.0  # 1 ms of rest, jitter of two pulses
        assert depth_us - timeline.pulses_us[capture.pulse] == pytest.approx(4 * PERIOD_US + 7_000.0)
    assert {capture.scan_frame for capture in captures if capture.scan_frame is None} == {None}


def test_a_take_loses_one_capture_and_half_of_another(rng: np.random.Generator):
    plan = performance(14, rng).sensors["k0"]
    assert len(plan.dropped) == 1
    assert len(plan.captures) == 14 + 2 * 3 - 1
    assert plan.dropped[0] not in {capture.pulse for capture in plan.captures}
    assert sum((capture.color_us is None) != (capture.depth_us is None) for capture in plan.captures) == 1
    whole = [c for c in plan.captures if c.scan_frame is not None and c.color_us is not None and c.depth_us is not None]
    assert len(whole) == 12
    assert all(c.depth_us - c.color_us == pytest.approx(160.0) for c in whole)


def test_short_takes_lose_nothing(rng: np.random.Generator):
    plan = performance(3, rng).sensors["k0"]
    assert not plan.dropped
    assert all(capture.depth_us is not None and capture.color_us is not None for capture in plan.captures)


def test_calibration_take_pauses_the_recording_but_not_the_scanner(rng: np.random.Generator):
    timeline = calibration_timeline(
        start_us=0.0,
        num_placements=8,
        burst=12,
        period_us=PERIOD_US,
        jitter_us=30.0,
        scan_latency_us=6_000.0,
        sensors={"k0": TIMING},
        rng=rng,
    )
    captures = timeline.sensors["k0"].captures
    assert len(captures) == 8 * 12 - 1
    assert len(timeline.mesh_frames) == 8
    assert np.abs(np.diff(timeline.scans_us) - PERIOD_US).max() < 300.0
    times = np.array([capture.time_us for capture in captures])
    assert (np.diff(times) > 3e6).sum() == 7
    slack = max(times[0] - timeline.scans_us[0], timeline.scans_us[-1] - times[-1])
    assert slack < 300_000  # far less than a loop of the code: the turn of the loop stays decidable
    for placement, frame in enumerate(timeline.mesh_frames):
        of_placement = [capture.scan_frame for capture in captures if capture.placement == placement]
        assert min(of_placement) < frame < max(of_placement)
