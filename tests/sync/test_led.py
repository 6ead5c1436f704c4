"""The coded LED: read exactly, with noise, found in images with a moving performer, and refused."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, RefusedError
from anim_real.rig import LedSpec
from anim_real.sync import led as led_module
from anim_real.sync.led import LedSamples, locate_led
from anim_real.sync.led_fit import fit_led
from anim_real.sync.pulses import Rate

from .clock_world import LED, PERIOD_US, make_world


def phase_error(fit, true_mid_us: float, world) -> float:
    loop = world.led.bit_us * len(world.led.code)
    error = fit.phase_us - (true_mid_us - world.led_start)
    return float((error + loop / 2) % loop - loop / 2)


@pytest.mark.parametrize(("noise", "limit_us"), [(0.0, 60.0), (0.03, 250.0), (0.15, 1500.0)])
def test_phase_rate_and_exposure_are_recovered(noise: float, limit_us: float) -> None:
    world = make_world(3)
    recorded = world.record(2e6, 450)
    samples = LedSamples(time_us=recorded.stamps.scanner_us, level=world.led_levels(recorded.pulse_us, 4000.0, noise))
    fit = fit_led(samples, world.led)
    true_mid = (fit.mid_us - world.scanner_offset) / (1 + world.scanner_ppm * 1e-6)
    assert abs(phase_error(fit, true_mid, world)) < limit_us
    assert abs(fit.rate.drift_ppm + world.scanner_ppm) < max(6 * fit.rate.sigma_ppm, 5.0)
    assert fit.margin > 50.0
    if noise < 0.1:
        assert fit.exposure_us == pytest.approx(4000.0, rel=0.3)
        assert fit.noise == pytest.approx(max(noise, 0.01), rel=0.5)


def test_stated_sigma_covers_the_error() -> None:
    errors = []
    for seed in range(12):
        world = make_world(seed)
        recorded = world.record(1e6, 240)
        device, _ = world.led_pair(recorded)
        rate = Rate(drift_ppm=(1 / (1 + world.device_ppm * 1e-6) - 1) * 1e6, sigma_ppm=0.3)
        fit = fit_led(device, world.led, rate=rate)
        exposed = (fit.mid_us - world.device_offset) / (1 + world.device_ppm * 1e-6)
        errors.append(phase_error(fit, exposed, world) / fit.phase_sigma_us)
    assert np.abs(errors).max() < 4.5
    assert 0.4 < np.sqrt(np.mean(np.square(errors))) < 2.0


def test_refused_constant_wrong_code_and_too_few() -> None:
    world = make_world(5)
    recorded = world.record(0.0, 200)
    _, scanner = world.led_pair(recorded)
    with pytest.raises(RefusedError, match="never changes"):
        fit_led(LedSamples(time_us=scanner.time_us, level=np.full(len(scanner.level), 0.5)), LED)
    other = LedSpec(code="".join(np.random.default_rng(1).choice(["0", "1"], 127)), bit_us=LED.bit_us)
    with pytest.raises(RefusedError, match="does not follow the code"):
        fit_led(scanner, other)
    with pytest.raises(DataError, match="too few"):
        fit_led(LedSamples(time_us=scanner.time_us[:5], level=scanner.level[:5]), LED)
    with pytest.raises(DataError, match="finite"):
        LedSamples(time_us=np.array([1, 2]), level=np.array([0.0, np.nan]))


def film(world, times_true: np.ndarray, levels: np.ndarray, *, is_led: bool = True):
    """Small pictures: noise, a bright performer who walks and waves, and a faint LED."""
    rng = np.random.default_rng(7)
    background = rng.integers(40, 120, (90, 160, 3)).astype(np.float64)
    for row, (true_us, level) in enumerate(zip(times_true, levels, strict=True)):
        image = background.copy()
        left = int(70 + 25 * np.sin(true_us * 1e-6 * 1.7))
        image[20:80, left : left + 20] = 230.0
        image[10:20, 20 + 5 * (row % 7) : 30 + 5 * (row % 7)] = 255.0 * rng.random()  # a flickering thing
        if is_led:
            image[50:54, 140:144] = 60.0 + 90.0 * level
        noisy = np.clip(image + rng.normal(0, 4.0, image.shape), 0, 255)
        yield round(float(world.device(np.array([true_us]))[0])), noisy.astype(np.uint8)


def test_led_is_found_beside_a_moving_performer() -> None:
    world = make_world(11)
    times = 1e6 + np.arange(120) * PERIOD_US
    levels = world.led_levels(times, 8000.0, 0.0)
    found = locate_led(film(world, times, levels), world.led)
    assert found.pixel is not None
    assert np.hypot(found.pixel[0] - 141.5, found.pixel[1] - 51.5) < 2.5
    assert np.corrcoef(found.level, levels)[0, 1] > 0.98


def test_long_films_are_read_where_their_start_shows_the_led(monkeypatch) -> None:
    monkeypatch.setattr(led_module, "_LOCATE_FRAMES", 100)
    world = make_world(11)
    times = 1e6 + np.arange(160) * PERIOD_US
    levels = world.led_levels(times, 8000.0, 0.0)
    found = locate_led(film(world, times, levels), world.led)
    assert len(found.time_us) == 160
    assert np.corrcoef(found.level[100:], levels[100:])[0, 1] > 0.98


def test_pictures_without_led_are_refused() -> None:
    world = make_world(11)
    times = 1e6 + np.arange(120) * PERIOD_US
    with pytest.raises(RefusedError, match="LED"):
        fit_led(locate_led(film(world, times, np.zeros(120), is_led=False), world.led), world.led)
    with pytest.raises(DataError, match="too few"):
        locate_led(film(world, times[:4], np.zeros(4)), world.led)
