"""Clocks that bend: followed where the stamps ask for it, left straight where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from anim_real.calibration import ClockMap
from anim_real.sync.clocks import calibrate_clock, take_clock
from anim_real.sync.wander import fit_wander

from .clock_world import make_world

STRAIGHT = ClockMap(
    src="kinect:k0", dst="scanner", origin_us=5_000_000, offset_us=3e9, drift_ppm=-389.0, residual_us=1.0,
    num_observations=9, method="triggers",
)  # fmt: skip


def test_a_straight_line_gets_no_knots():
    """200 takes of a minute with 30 µs of jitter, some stamps far off."""
    rng = np.random.default_rng(0)
    time_us = np.arange(1800) * 33_333.3
    for _ in range(200):
        error = rng.normal(0, 30, len(time_us))
        error[rng.random(len(error)) < 0.02] += 900.0
        assert fit_wander(time_us, error) == ()


def test_a_bend_is_followed():
    rng = np.random.default_rng(1)
    time_us = np.arange(9000) * 33_333.3
    bend = 400.0 * np.sin(2 * np.pi * time_us / time_us[-1] / 1.3)
    knots = fit_wander(time_us, bend + rng.normal(0, 30, len(bend)))
    assert 3 <= len(knots) <= 17
    places, values = np.array(knots).T
    assert np.abs(np.interp(time_us, places, values) - bend).max() < 40.0


def test_a_take_whose_clock_bends_is_matched_to_tens_of_microseconds():
    """The device's rate turns by 8 ppm in the middle of five minutes: a straight line is 150 µs and more off."""
    world = make_world(4)
    first = world.record(5e6, 300)
    calibrated = calibrate_clock("k0", first.stamps, *world.led_pair(first), world.led)
    recorded = world.record(40e6, 9000)
    turn = recorded.exposed_us.mean()
    bent = np.rint(8e-6 * np.maximum(recorded.exposed_us - turn, 0.0)).astype(np.int64)
    stamps = replace(recorded.stamps, device_us=recorded.stamps.device_us + bent)
    clock = take_clock(calibrated, stamps)
    truth = world.to_scanner(recorded.stamps.device_us)

    def spread(found: ClockMap) -> float:
        error = found.to_dst(stamps.device_us) - truth
        return float(np.abs(error - np.median(error)).max())  # the calibration's own constant error stays

    assert len(clock.wander) > 2
    assert spread(clock) < 60.0
    assert spread(clock.model_copy(update={"wander": ()})) > 130.0


def test_a_take_whose_clock_is_straight_stays_so():
    world = make_world(4)
    first = world.record(5e6, 300)
    calibrated = calibrate_clock("k0", first.stamps, *world.led_pair(first), world.led)
    assert take_clock(calibrated, world.record(40e6, 3000).stamps).wander == ()


def test_the_inverse_undoes_the_wander():
    clock = STRAIGHT.model_copy(update={"wander": ((0, 500.0), (4_000_000, -300.0), (9_000_000, 200.0))})
    time_us = np.linspace(-2e6, 12e6, 3001)
    assert np.abs(clock.to_src(clock.to_dst(time_us)) - time_us).max() < 1e-3
    assert clock.to_dst(4_000_000) - STRAIGHT.to_dst(4_000_000) == pytest.approx(-300.0)
    assert clock.to_dst(20_000_000) - STRAIGHT.to_dst(20_000_000) == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("knots", "told"), [(((5, 0.0), (5, 1.0)), "must ascend"), (((0, 0.0), (1000, 30.0)), "faster than a thousandth")]
)
def test_impossible_knots_are_refused(knots, told):
    with pytest.raises(ValidationError, match=told):
        ClockMap.model_validate({**STRAIGHT.model_dump(), "wander": knots})
