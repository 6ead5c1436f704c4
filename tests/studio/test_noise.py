"""Noise of the virtual Kinect against the figures of SENSOR.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.geometry.cameras import Camera
from anim_real.rig import DepthMode
from anim_real.studio.noise import (
    DepthError,
    depth_odds,
    depth_sigma_mm,
    illuminated,
    make_depth_error,
    measured_depth_mm,
    measured_ir,
    noisy_color,
)

SHAPE = (120, 160)
FLAT = DepthError(
    offset_m=0.0, slope=0.0, wiggle_m=0.0, wiggle_period_m=1.0, wiggle_phase=0.0, pattern_m=np.zeros(SHAPE)
)


def measure(z: float, albedo: float, rng: np.random.Generator, error: DepthError = FLAT, ambiguity: float = 0.0):
    depth = np.full(SHAPE, z, np.float32)
    amplitude = np.full(SHAPE, albedo / z**2, np.float32)
    odds = depth_odds(depth, np.ones(SHAPE), amplitude, np.full(SHAPE, ambiguity, np.float32), error)
    return measured_depth_mm(odds, rng)


@pytest.mark.parametrize(("z", "sigma_mm"), [(0.8, 0.6), (1.5, 0.9), (3.0, 1.8)])
def test_good_reflectors_have_the_published_noise(z: float, sigma_mm: float, rng: np.random.Generator):
    depth = measure(z, 0.7, rng).astype(float)
    assert depth.mean() == pytest.approx(z * 1000, abs=0.05)
    expected = np.hypot(sigma_mm, 1 / np.sqrt(12))  # quantised to millimetres
    assert depth.std() == pytest.approx(expected, rel=0.05)  # 19,200 draws: 0.5 %; rounding at 0.6 mm: 3 %


def test_noise_grows_as_the_amplitude_falls():
    amplitudes = 0.7 / 2.0**2 * np.array([1.0, 0.5, 0.2, 0.05])
    sigma = depth_sigma_mm(np.full(4, 2.0), amplitudes)
    assert (np.diff(sigma) > 0.3).all()
    assert sigma.max() * 3 <= 18.0  # random error of at most 17 mm


def test_dark_surfaces_and_far_ones_drop_out(rng: np.random.Generator):
    assert (measure(2.3, 0.02, rng) == 0).all()
    assert (measure(2.3, 0.3, rng) > 0).all()
    assert (measure(3.95, 0.7, rng) == 0).all()
    assert (measure(0.45, 0.3, rng) == 0).all()
    assert (measure(0.6, 3.0, rng) == 0).all()  # saturated
    half = (measure(2.3, 0.0075 * 2.3**2, rng) == 0).mean()
    assert 0.3 < half < 0.7  # at the threshold it is a matter of luck


def test_most_mixed_pixels_are_rejected_but_some_fly(rng: np.random.Generator):
    share = (measure(2.0, 0.6, rng, ambiguity=1.0) > 0).mean()
    assert 0.1 < share < 0.5


def test_nothing_hit_gives_nothing(rng: np.random.Generator):
    nothing = np.full(SHAPE, np.inf, np.float32)
    zero = np.zeros(SHAPE, np.float32)
    assert not measured_depth_mm(depth_odds(nothing, np.ones(SHAPE), zero, zero, FLAT), rng).any()
    assert measured_ir(zero, rng).mean() < 10


def test_bias_is_within_the_specification_but_not_affine():
    ranges = np.linspace(0.5, 3.86, 200)
    for seed in range(20):
        error = make_depth_error(*SHAPE, np.random.default_rng(seed))
        values = error.of_range(ranges)
        assert (np.abs(values) < 0.011 + 0.001 * ranges).all()
        line = np.polyval(np.polyfit(ranges, values, 1), ranges)
        assert 0.0003 < (values - line).std() < 0.0012  # what b0 + b1 * range cannot explain
        assert error.pattern_m.std() == pytest.approx(0.0004)


def test_bias_acts_along_the_ray(rng: np.random.Generator):
    error = DepthError(
        offset_m=0.005, slope=0.0, wiggle_m=0.0, wiggle_period_m=1.0, wiggle_phase=0.0, pattern_m=np.zeros(SHAPE)
    )
    length = 1.25
    z, amplitude = np.full(SHAPE, 2.0, np.float32), np.full(SHAPE, 0.1, np.float32)
    odds = depth_odds(z, np.full(SHAPE, length), amplitude, np.zeros(SHAPE, np.float32), error)
    depth = measured_depth_mm(odds, rng)
    assert depth.mean() == pytest.approx(2_000.0 + 5.0 / length, abs=0.05)


@pytest.mark.parametrize(
    ("mode", "z_ok", "z_beyond", "factor"),
    [
        ("NFOV_2X2BINNED", 5.0, 5.6, 0.7),
        ("WFOV_2X2BINNED", 0.4, 3.0, 1.3),
        ("WFOV_UNBINNED", 0.4, 2.3, 2.0),
        ("PASSIVE_IR", None, 1.0, 1.0),
    ],
)
def test_every_mode_has_its_range_and_noise(
    mode: DepthMode, z_ok: float | None, z_beyond: float, factor: float, rng: np.random.Generator
):
    def odds(z: float, mode: DepthMode):
        plane, amplitude = np.full(SHAPE, z, np.float32), np.full(SHAPE, 0.7 / z**2 * 0.5, np.float32)
        return depth_odds(plane, np.ones(SHAPE), amplitude, np.zeros(SHAPE, np.float32), FLAT, mode)

    assert not measured_depth_mm(odds(z_beyond, mode), rng).any()
    if z_ok is not None:
        depth = measured_depth_mm(odds(z_ok, mode), rng)
        assert (depth > 0).all()
        plain = odds(z_ok, "NFOV_UNBINNED").sigma_mm[0, 0]
        assert depth.std() == pytest.approx(np.hypot(factor * plain, 1 / np.sqrt(12)), rel=0.05)


def test_hexagon_holds_what_the_real_device_measured(shared_data: Path):
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.capture.recording.k4a_mkv import open_recording

    recording = open_recording(shared_data / "k4a-recording" / "recording.mkv")
    frame = recording.capture(0)
    assert frame.depth_mm is not None and frame.ir is not None
    camera = parse_calibration(recording.calibration_json).camera("depth", "NFOV_UNBINNED")
    lit = illuminated(camera)
    assert (lit | (frame.depth_mm == 0)).mean() > 0.998  # hardly a real return outside our mask
    assert (lit == (frame.ir > 0)).mean() > 0.99  # the device writes IR 0 outside the lit hexagon


def test_hexagon_has_its_corners_cut():
    lit = illuminated(Camera(width=640, height=576, fx=504, fy=504, cx=320, cy=333))
    assert lit[288, 20] and lit[288, 320] and lit[5, 320]
    assert not lit[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_color_noise_is_small_and_keeps_the_mean(rng: np.random.Generator):
    image = noisy_color(np.full((200, 200, 3), 120.0, np.float32), rng).astype(float)
    assert image.mean() == pytest.approx(120.0, abs=0.1)
    assert 1.0 < image.std() < 4.0
