"""Time in the virtual studio: generator pulses, clocks that drift, devices that lag and drop, the coded LED.

Studio time is ideal time in microseconds (float); every clock is an affine function of it. All
clocks run on through all takes of one studio day, as devices that stay powered do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.calibration import ClockMap
from anim_real.rig import LedSpec

Array = NDArray[np.float64]
_MAX_DRIFT_PPM = 400.0  # SENSOR.md: a device clock was seen to run 389 ppm slow
_LATENCY_US = (65_000.0, 248_000.0)  # SENSOR.md: first stamp after the first pulse, by firmware


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A clock that reads ``offset_us + (1 + drift_ppm * 1e-6) * studio time``.

    Attributes:
        name: ``kinect:<sensor id>``, ``scanner`` or ``generator``.
        offset_us: what it reads at studio time zero.
        drift_ppm: how much faster than studio time it runs, parts per million.
    """

    name: str
    offset_us: float
    drift_ppm: float

    def read(self, studio_us: ArrayLike) -> NDArray[np.int64]:
        """Stamps (whole µs) of studio times."""
        return np.rint(self.exact(studio_us)).astype(np.int64)

    def exact(self, studio_us: ArrayLike) -> Array:
        """Stamps of studio times, not rounded."""
        return self.offset_us + (1.0 + self.drift_ppm * 1e-6) * np.asarray(studio_us, dtype=np.float64)


def true_clock_map(src: Clock, dst: Clock, studio_us: float) -> ClockMap:
    """Return the exact affine map from ``src`` to ``dst``, with its origin at a studio time near the take."""
    origin = int(src.read(studio_us))
    rate_src, rate_dst = 1.0 + src.drift_ppm * 1e-6, 1.0 + dst.drift_ppm * 1e-6
    at_origin = dst.offset_us + rate_dst * (origin - src.offset_us) / rate_src
    return ClockMap(
        src=src.name,
        dst=dst.name,
        origin_us=origin,
        offset_us=float(at_origin - origin),
        drift_ppm=float((rate_dst / rate_src - 1.0) * 1e6),
        residual_us=0.0,
        num_observations=0,
        method="calibration",
    )


def make_clock(
    name: str, rng: np.random.Generator, *, max_offset_s: float, max_drift_ppm: float = _MAX_DRIFT_PPM
) -> Clock:
    """Draw a clock with an arbitrary offset in [0, max] and a drift in ±max."""
    return Clock(
        name=name,
        offset_us=float(np.rint(rng.uniform(0.05, 1.0) * max_offset_s * 1e6)),
        drift_ppm=float(rng.uniform(-max_drift_ppm, max_drift_ppm)),
    )


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Delay from a pulse to the centre of exposure: whole periods of lag, and a rest.

    Attributes:
        lag: whole pulse periods.
        rest_us: what remains, microseconds.
    """

    lag: int
    rest_us: float

    def total_us(self, period_us: float) -> float:
        """Return the whole delay."""
        return self.lag * period_us + self.rest_us


def make_latency(rng: np.random.Generator, period_us: float, scanner_latency_us: float) -> Latency:
    """Draw a Kinect's latency: unknown lag, exposure within 2 ms of a scanner exposure (operators trim that much)."""
    rest = scanner_latency_us + rng.uniform(-2_000.0, 2_000.0)
    lags = np.arange(1, 12)
    total = lags * period_us + rest
    possible = lags[(total >= _LATENCY_US[0]) & (total <= _LATENCY_US[1])]
    return Latency(lag=int(rng.choice(possible)) if len(possible) else 1, rest_us=float(rest))


def pulse_times(start_us: float, num: int, period_us: float, jitter_us: float, rng: np.random.Generator) -> Array:
    """(num,) studio times of pulses: periodic with independent jitter."""
    return start_us + np.arange(num) * period_us + rng.normal(0.0, jitter_us, num)


def pulse_log(
    pulses_us: Array, generator: Clock, rng: np.random.Generator, *, lost_share: float, jitter_us: float = 5.0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return what the trigger box writes down: rows lost at random, rows counted as they are written.

    Returns:
        (P,) row numbers, (P,) generator-clock stamps and (P,) which true pulse each row is (truth).
    """
    kept = np.flatnonzero(rng.random(len(pulses_us)) >= lost_share)
    if len(kept) < 2:
        kept = np.arange(len(pulses_us))
    stamps = generator.read(pulses_us[kept] + rng.normal(0.0, jitter_us, len(kept)))
    return np.arange(len(kept)), np.maximum.accumulate(stamps + np.arange(len(kept))) - np.arange(len(kept)), kept


def led_level(led: LedSpec, start_us: float, centers_us: ArrayLike, exposure_us: float) -> Array:
    """Share (0..1) of an exposure window during which the LED shows a one.

    Args:
        led: the code, looped, and its bit length.
        start_us: studio time at which bit 0 begins.
        centers_us: (N,) studio times of centres of exposure.
        exposure_us: length of the exposure.
    """
    bits = np.array([int(bit) for bit in led.code], dtype=np.float64)
    period = len(bits) * led.bit_us
    knots = np.arange(len(bits) + 1) * float(led.bit_us)
    integral = np.concatenate([[0.0], np.cumsum(bits) * led.bit_us])

    def lit_until(time_us: Array) -> Array:
        cycles = np.floor(time_us / period)
        return cycles * integral[-1] + np.interp(time_us - cycles * period, knots, integral)

    centers = np.asarray(centers_us, dtype=np.float64) - start_us
    return (lit_until(centers + exposure_us / 2) - lit_until(centers - exposure_us / 2)) / exposure_us
