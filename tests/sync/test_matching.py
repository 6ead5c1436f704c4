"""Pairs in time: every capture with its scan, everything else listed with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibration import ClockMap
from anim_real.errors import ConfigError
from anim_real.sync.matching import Captures, Matching, Scans, match_frames

from .clock_world import PERIOD_US, make_world

IDENTITY = ClockMap(
    src="kinect:k0",
    dst="scanner",
    origin_us=0,
    offset_us=0.0,
    drift_ppm=0.0,
    residual_us=0.0,
    num_observations=0,
    method="led",
)


def match(
    device, scanner, *, complete=None, mesh=None, clock=IDENTITY, device_period=PERIOD_US, tolerance=0.45
) -> Matching:
    device, scanner = np.asarray(device, dtype=np.int64), np.asarray(scanner, dtype=np.int64)
    return match_frames(
        Captures(
            index=np.arange(len(device)),
            time_us=device,
            is_complete=np.ones(len(device), bool) if complete is None else np.asarray(complete),
        ),
        Scans(
            index=np.arange(len(scanner)) + 100,
            time_us=scanner,
            has_mesh=np.ones(len(scanner), bool) if mesh is None else np.asarray(mesh),
        ),
        clock,
        scan_period_us=PERIOD_US,
        device_period_us=device_period,
        tolerance=tolerance,
    )


def test_world_with_drops_is_matched_without_a_mistake_and_drops_are_all_listed() -> None:
    for seed in range(20):
        world = make_world(seed)
        recorded = world.record(3e6, 80)
        clock = IDENTITY.model_copy(
            update={
                "origin_us": 0,
                "offset_us": float(world.to_scanner(np.array(0.0))),
                "drift_ppm": world.drift_ppm,
            }
        )
        matching = match(recorded.stamps.device_us, recorded.stamps.scanner_us, clock=clock)
        lag = round(world.latency_us / PERIOD_US)
        expected = {(row, pulse + lag + 100) for row, pulse in enumerate(recorded.kept) if pulse + lag < 80}
        assert {(m.kinect_index, m.scan_index) for m in matching.matches} == expected
        first, last = recorded.kept[0], recorded.kept[-1]
        dropped = {int(pulse) for pulse in range(first, last) if pulse not in set(recorded.kept.tolist())}
        found = [u for u in matching.unmatched if u.is_dropped]
        times = world.device(recorded.pulse_us + world.latency_us)
        assert {int(np.abs(times - u.kinect_time_us).argmin()) for u in found} == dropped
        assert matching.num_dropped == len(dropped) == len(found)


def test_dt_is_capture_minus_scan_on_the_scanner_clock() -> None:
    clock = IDENTITY.model_copy(update={"offset_us": 1000.0, "drift_ppm": 100.0})
    [pair] = match([1_000_000], [1_001_600], clock=clock).matches
    assert pair.dt_us == pytest.approx(1_000_000 * (1 + 1e-4) + 1000 - 1_001_600)


def test_every_reason() -> None:
    grid = np.rint(np.arange(8) * PERIOD_US).astype(np.int64)
    device = np.delete(grid, [3])
    complete = np.array([True, True, False, True, True, True, True])
    mesh = np.ones(7, bool)
    mesh[5] = False
    matching = match(device, grid[:7], complete=complete, mesh=mesh)
    assert [(m.kinect_index, m.scan_index) for m in matching.matches] == [(0, 100), (1, 101), (3, 104), (5, 106)]
    reasons = {(u.kinect_index, u.scan_index): u.reason for u in matching.unmatched}
    assert reasons[2, 102].startswith("incomplete capture")
    assert reasons[4, 105].startswith("scan 105 has a stamp but no mesh")
    assert reasons[6, None].startswith("no scan within 15.0 ms")
    assert reasons[None, 103].startswith("dropped")
    assert len(reasons) == 4


def test_two_captures_do_not_share_a_scan() -> None:
    matching = match([0, 9_000, 33_333], [0, 33_333])
    assert [(m.kinect_index, m.scan_index) for m in matching.matches] == [(0, 100), (2, 101)]
    assert "nearer to another capture" in matching.unmatched[0].reason


def test_scans_before_and_after_the_recording_are_not_drops() -> None:
    grid = np.rint(np.arange(10) * PERIOD_US).astype(np.int64)
    matching = match(grid[3:7], grid)
    assert matching.num_dropped == 0
    assert {u.reason for u in matching.unmatched} == {"the recording does not reach this scan"}


def test_slower_device_drops_nothing_between_its_own_captures() -> None:
    grid = np.rint(np.arange(12) * PERIOD_US).astype(np.int64)
    matching = match(grid[::2], grid, device_period=2 * PERIOD_US)
    assert matching.num_dropped == 0
    assert len(matching.matches) == 6


def test_half_a_frame_away_is_no_pair() -> None:
    grid = np.rint(np.arange(6) * PERIOD_US).astype(np.int64)
    assert match(grid + round(PERIOD_US / 2), grid).matches == ()
    with pytest.raises(ConfigError, match="tolerance"):
        match(grid, grid, tolerance=0.5)
