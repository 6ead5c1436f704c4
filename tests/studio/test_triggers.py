"""Clocks, pulses and the coded LED of the virtual studio."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.rig import LedSpec
from anim_real.studio.triggers import (
    Clock,
    led_level,
    make_clock,
    make_latency,
    pulse_log,
    pulse_times,
    true_clock_map,
)

PERIOD_US = 1e6 / 30


def test_true_clock_map_agrees_with_both_clocks():
    device = Clock(name="kinect:k0", offset_us=417_000_123.0, drift_ppm=-389.0)
    scanner = Clock(name="scanner", offset_us=36_000_000_000.0, drift_ppm=41.0)
    moments = np.array([0.0, 1e6, 3e8])
    clock_map = true_clock_map(device, scanner, 2e8)
    mapped = clock_map.to_dst(device.exact(moments))
    assert np.abs(mapped - scanner.exact(moments)).max() < 1e-3  # float64 at 1e10 µs carries a few 1e-6
    rate = (scanner.exact(1e6) - scanner.exact(0.0)) / (device.exact(1e6) - device.exact(0.0))
    assert clock_map.drift_ppm == pytest.approx((rate - 1) * 1e6, abs=1e-3)


def test_drawn_clocks_stay_within_the_known_range(rng: np.random.Generator):
    clocks = [make_clock("kinect:k0", rng, max_offset_s=600.0) for _ in range(200)]
    assert max(abs(clock.drift_ppm) for clock in clocks) <= 400.0
    assert min(clock.drift_ppm for clock in clocks) < -300.0 < 300.0 < max(clock.drift_ppm for clock in clocks)
    assert all(0 < clock.offset_us <= 600e6 for clock in clocks)


def test_latency_is_one_of_sensor_md(rng: np.random.Generator):
    latencies = [make_latency(rng, PERIOD_US, 6_000.0) for _ in range(100)]
    totals = [latency.total_us(PERIOD_US) for latency in latencies]
    assert min(totals) >= 65_000 and max(totals) <= 248_000
    assert len({latency.lag for latency in latencies}) >= 4  # the lag is really unknown
    assert all(abs(latency.rest_us - 6_000.0) <= 2_000.0 for latency in latencies)


def test_pulses_keep_their_period_and_jitter(rng: np.random.Generator):
    times = pulse_times(5e6, 20_000, PERIOD_US, 30.0, rng)
    residual = times - (5e6 + np.arange(20_000) * PERIOD_US)
    assert residual.std() == pytest.approx(30.0, rel=0.03)  # 20,000 draws: 0.5 % standard error
    assert abs(residual.mean()) < 1.0


def test_log_loses_pulses_without_saying_so(rng: np.random.Generator):
    generator = Clock(name="generator", offset_us=1e9, drift_ppm=0.0)
    times = pulse_times(0.0, 1_000, PERIOD_US, 30.0, rng)
    rows, stamps, which = pulse_log(times, generator, rng, lost_share=0.2)
    assert 150 < 1_000 - len(rows) < 250
    assert (rows == np.arange(len(rows))).all()  # rows are counted as they are written
    assert (np.diff(stamps) > 0).all()
    assert np.abs(stamps - generator.exact(times[which])).max() < 40.0  # 5 µs of stamping jitter


@pytest.mark.parametrize("exposure_us", [500.0, 8_000.0, 120_000.0])
def test_led_level_is_the_integral_of_the_code(exposure_us: float):
    led = LedSpec(code="000100110101111", bit_us=70_000)
    centers = np.linspace(-2e6, 3e6, 37)
    bits = np.array([int(bit) for bit in led.code])
    steps = (np.arange(20_000) + 0.5) / 20_000 - 0.5
    moments = centers[:, None] + steps * exposure_us - 123_456.0
    expected = bits[np.floor(moments / led.bit_us).astype(int) % len(bits)].mean(1)
    assert np.abs(led_level(led, 123_456.0, centers, exposure_us) - expected).max() < 1e-3  # the sum's step
