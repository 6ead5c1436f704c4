"""Clock maps from motion: recovered on analytic tracks, honest about noise, refused where motion does not tell."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, RefusedError
from anim_real.sync.motion import MotionTrack, motion_clock

PERIOD_US = 1e6 / 30.0
TRUE_OFFSET, TRUE_PPM = 5.0e9, 389.0


def story(seed: int, seconds: float = 12.0):
    """A performer: six lengths as sums of waves of 0.2 to 1.5 Hz, with a burst; a function of true time in µs."""
    rng = np.random.default_rng(seed)
    rate, phase = rng.uniform(0.2, 1.5, (6, 5)), rng.uniform(0, 2 * np.pi, (6, 5))
    size = rng.uniform(0.02, 0.08, (6, 5)) / rate
    moment = rng.uniform(0.3, 0.7) * seconds

    def lengths(true_us):
        t = np.asarray(true_us)[:, None, None] * 1e-6
        burst = 0.15 * np.exp(-(((t[..., 0] - moment) / 0.25) ** 2))
        return (size * np.sin(2 * np.pi * rate * t + phase)).sum(-1) + burst

    return lengths


def tracks(seed: int, *, noise_m=0.0, lengths=None, seconds=12.0, drop=0.0, alike=0.0):
    """Device and scanner tracks of one story; ``alike`` is the correlation of neighbouring errors."""
    rng = np.random.default_rng(seed + 1)
    lengths = lengths or story(seed, seconds)
    device_true = np.arange(0.0, seconds * 1e6, PERIOD_US) + 7_000.0
    device_true = device_true[rng.uniform(size=len(device_true)) >= drop]
    scanner_true = np.arange(0.4e6, (seconds - 0.3) * 1e6, PERIOD_US)
    error = rng.normal(0, 1, (len(device_true), 6))
    for row in range(1, len(error)):
        error[row] = alike * error[row - 1] + np.sqrt(1 - alike**2) * error[row]
    bias = rng.normal(0, 0.02, 6)  # the depth camera sees the front alone
    device = MotionTrack(
        time_us=np.rint(device_true / (1 + TRUE_PPM * 1e-6) + 1e6).astype(np.int64),
        lengths=lengths(device_true) + bias + noise_m * error,
        period_us=PERIOD_US,
    )
    scanner = MotionTrack(
        time_us=np.rint(scanner_true + TRUE_OFFSET).astype(np.int64),
        lengths=lengths(scanner_true) + 0.2 * noise_m * rng.normal(0, 1, (len(scanner_true), 6)),
        period_us=PERIOD_US,
    )
    return device, scanner


def error_us(clock, device):
    """Error of the map at every device stamp."""
    true_us = (device.time_us - 1e6) * (1 + TRUE_PPM * 1e-6)
    return clock.to_dst(device.time_us) - (true_us + TRUE_OFFSET)


def test_exact_tracks_give_the_map_to_a_fraction_of_a_millisecond():
    device, scanner = tracks(3)
    clock = motion_clock("k0", device, scanner)
    assert np.abs(error_us(clock, device)).max() < 100.0
    assert clock.drift_ppm == pytest.approx(TRUE_PPM, abs=15.0)
    assert clock.method == "motion" and clock.lag_margin is not None and clock.lag_margin > 100


def test_noise_is_covered_by_the_stated_sigma():
    """Eight stories with 4 mm of noise that is alike from frame to frame, and dropped captures."""
    deviations = []
    for seed in range(8):
        device, scanner = tracks(seed, noise_m=0.004, drop=0.3, alike=0.7)
        clock = motion_clock("k0", device, scanner)
        assert abs(np.mean(error_us(clock, device))) < PERIOD_US / 4
        deviations.append(
            float(clock.to_dst(clock.origin_us) - clock.origin_us - _true_offset(clock)) / clock.offset_sigma_us
        )
    assert 0.25 < np.std(deviations) < 1.7  # of eight
    assert np.abs(deviations).max() < 4.0


def _true_offset(clock):
    return (clock.origin_us - 1e6) * (1 + TRUE_PPM * 1e-6) + TRUE_OFFSET - clock.origin_us


def test_a_drift_known_from_pulses_is_kept():
    device, scanner = tracks(5, noise_m=0.004)
    known = ((1 + TRUE_PPM * 1e-6) - 1) * 1e6
    clock = motion_clock("k0", device, scanner, drift=(known, 0.2))
    assert clock.drift_ppm == pytest.approx(known, abs=0.5)
    assert np.ptp(error_us(clock, device)) < 12.0  # µs over 12 s


def test_who_stands_still_is_refused():
    device, scanner = tracks(0, noise_m=0.003, lengths=lambda t: np.zeros((len(t), 6)))
    with pytest.raises(RefusedError, match="motion explains"):
        motion_clock("k0", device, scanner)


def test_a_march_fits_at_every_step_and_is_refused():
    march = lambda t: 0.1 * np.sin(2 * np.pi * np.asarray(t)[:, None] * 1e-6 * 1.5 + np.arange(6))  # noqa: E731
    device, scanner = tracks(0, noise_m=0.003, lengths=march)
    with pytest.raises(RefusedError, match="explain the motion almost alike"):
        motion_clock("k0", device, scanner)


def test_a_march_is_told_by_when_both_recordings_began():
    march = lambda t: 0.1 * np.sin(2 * np.pi * np.asarray(t)[:, None] * 1e-6 * 1.5 + np.arange(6))  # noqa: E731
    device, scanner = tracks(0, noise_m=0.003, lengths=march)
    clock = motion_clock("k0", device, scanner, window_sigma_us=0.1e6)  # they began 0.39 s and ended 0.29 s apart
    assert np.abs(error_us(clock, device)).max() < PERIOD_US / 2
    with pytest.raises(RefusedError, match="almost alike"):
        motion_clock("k0", device, scanner, window_sigma_us=1e6)


def test_two_different_takes_are_refused():
    device, _ = tracks(1)
    _, scanner = tracks(2)
    with pytest.raises(RefusedError):
        motion_clock("k0", device, scanner)


def test_too_few_frames_and_unlike_tracks_are_told():
    device, scanner = tracks(1)
    short = MotionTrack(time_us=device.time_us[:10], lengths=device.lengths[:10], period_us=PERIOD_US)
    with pytest.raises(DataError, match="10 depth frames are too few"):
        motion_clock("k0", short, scanner)
    narrow = MotionTrack(time_us=device.time_us, lengths=device.lengths[:, :3], period_us=PERIOD_US)
    with pytest.raises(DataError, match="different quantities"):
        motion_clock("k0", narrow, scanner)
