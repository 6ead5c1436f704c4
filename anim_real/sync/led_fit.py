"""Reading the time off a coded LED's brightness.

The LED loops through the rig's code in generator time. A frame sees the average of the code over its
exposure, so frames that straddle a bit's edge tell the time to a fraction of a frame. The level of a frame
with stamp ``t`` (centre of exposure, µs of its own clock) is modelled as

    low + (high - low) * mean of code over [g - exposure/2, g + exposure/2],   g = phase + (1 + rate) * (t - t_mid)

with unknown phase, rate, exposure and levels. The phase is known modulo the loop; ``clocks.py`` deals with that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError, RefusedError
from anim_real.rig import LedSpec
from anim_real.sync.led import MIN_CORRELATION, MIN_SAMPLES, LedSamples
from anim_real.sync.led_code import PER_BIT, TYPICAL_EXPOSURE_US, LedCode, rates_to_try
from anim_real.sync.pulses import Rate

Array = NDArray[np.float64]
_MAX_COARSE_SAMPLES = 500
_NOISE_FLOOR = 0.01  # of the contrast: the model itself (gamma, glow) is not better than that
_STEPS: Array = np.linspace(-20.0, 20.0, 41)  # of the grids that close in: ±4 sigma in fifths
_EXPOSURE_LIMITS_US = (200.0, 33_000.0)


@dataclass(frozen=True, kw_only=True)
class LedFit:
    """Where in the code a system's clock stands, with its evidence.

    Attributes:
        mid_us: time of the system's clock at which ``phase_us`` holds.
        phase_us: position in the code, 0..loop, microseconds of generator time.
        phase_sigma_us: standard deviation of the phase.
        rate: generator clock against the system's clock.
        exposure_us: length of exposure that explains the partial levels.
        contrast: high minus low level, in the unit of the samples.
        noise: standard deviation of the levels about the model, relative to the contrast.
        margin: log-likelihood (nats) by which this code position beats any other by 3/4 bit or more.
        num_samples: frames used.
    """

    mid_us: int
    phase_us: float
    phase_sigma_us: float
    rate: Rate
    exposure_us: float
    contrast: float
    noise: float
    margin: float
    num_samples: int

    @property
    def frame_sigma_us(self) -> float:
        """How far one frame at a bit's edge is off in time: its brightness error as a share of the exposure."""
        return self.noise * self.exposure_us


def fit_led(samples: LedSamples, led: LedSpec, *, rate: Rate | None = None, name: str = "LED") -> LedFit:
    """Estimate code phase, rate and exposure by maximum likelihood.

    Args:
        samples: brightness per frame.
        led: the code and its bit duration.
        rate: generator clock against the system's clock where pulses tell it; None searches ±1000 ppm.
        name: whose samples, for messages.

    Raises:
        DataError: fewer than 12 samples.
        RefusedError: the brightness does not change, or does not follow the code.
    """
    if len(samples.time_us) < MIN_SAMPLES:
        raise DataError(f"{len(samples.time_us)} LED samples are too few ({MIN_SAMPLES} needed)", where=name)
    if np.ptp(samples.level) <= 0:
        raise RefusedError("the LED's brightness never changes", where=name, fix="Is the LED on and in view?")
    code = LedCode(led)
    mid_us = round(float(samples.time_us[[0, -1]].mean()))
    elapsed = (samples.time_us - mid_us).astype(np.float64)
    first, second = _coarse(code, elapsed, samples.level, rate)
    best = _refine(code, elapsed, samples.level, first, rate)
    rival = _refine(code, elapsed, samples.level, second, rate, steps=2)
    num_bits = len(np.unique(np.floor(elapsed / led.bit_us)))  # frames within one bit are not independent
    margin = 0.5 * num_bits * (np.log(rival.variance) - np.log(best.variance))
    correlation = np.sqrt(max(1.0 - best.rss_fraction, 0.0))
    if correlation < MIN_CORRELATION:
        raise RefusedError(
            f"the brightness does not follow the code (correlation {correlation:.2f})",
            where=name,
            fix="Check code and bit_us of [led] in the rig",
        )
    return LedFit(
        mid_us=mid_us,
        phase_us=float(best.phase_us % code.loop_us),
        phase_sigma_us=best.phase_sigma_us,
        rate=Rate(drift_ppm=best.rate_ppm, sigma_ppm=best.rate_sigma_ppm),
        exposure_us=best.exposure_us,
        contrast=best.contrast,
        noise=float(np.sqrt(best.variance)),
        margin=float(margin),
        num_samples=len(elapsed),
    )


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """A local optimum of the likelihood. ``variance`` is of the levels, relative to the contrast squared."""

    phase_us: float
    phase_sigma_us: float
    rate_ppm: float
    rate_sigma_ppm: float
    exposure_us: float
    contrast: float
    variance: float
    rss_fraction: float


def _rss_fraction(predicted: Array, level: Array) -> Array:
    """Unexplained share of the level's variance, for predictions (..., N); 1 where the slope is not positive."""
    centered = level - level.mean()
    model = predicted - predicted.mean(-1, keepdims=True)
    norm = np.sqrt((model**2).sum(-1) * (centered**2).sum())
    correlation = np.divide(model @ centered, norm, out=np.zeros(norm.shape), where=norm > 0)
    return 1.0 - np.maximum(correlation, 0.0) ** 2


def _coarse(
    code: LedCode, elapsed: Array, level: Array, rate: Rate | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Best (phase, rate) on a grid, and the best whose phase is 3/4 bit or more away."""
    pick = np.linspace(0, len(elapsed) - 1, min(len(elapsed), _MAX_COARSE_SAMPLES)).astype(int)
    elapsed, level = elapsed[pick], level[pick]
    phases = np.arange(len(code.bits) * PER_BIT) * code.bit_us / PER_BIT
    rates = rates_to_try(code, float(np.ptp(elapsed)), rate)
    misfit = np.empty((len(rates), len(phases)))
    for row, rate_ppm in enumerate(rates):
        times = elapsed * (1.0 + rate_ppm * 1e-6)
        misfit[row] = _rss_fraction(code.level(phases[:, None] + times, TYPICAL_EXPOSURE_US), level)
    row, column = np.unravel_index(np.argmin(misfit), misfit.shape)
    distance = np.abs(phases - phases[column])
    distance = np.minimum(distance, code.loop_us - distance)
    far = np.where(distance >= 0.75 * code.bit_us, misfit, np.inf)
    row2, column2 = np.unravel_index(np.argmin(far), far.shape)
    return (float(phases[column]), float(rates[row])), (float(phases[column2]), float(rates[row2]))


def _refine(
    code: LedCode, elapsed: Array, level: Array, start: tuple[float, float], rate: Rate | None, *, steps: int = 8
) -> _Estimate:
    """Posterior means of phase, rate and exposure around a coarse optimum, on grids that close in."""
    phase, rate_ppm = start
    low, high = phase - 0.3 * code.bit_us, phase + 0.3 * code.bit_us  # a rival must not walk over to the winner
    log_low, log_high = (float(np.log(limit)) for limit in _EXPOSURE_LIMITS_US)
    log_exposure, log_reach = (log_low + log_high) / 2.0, (log_high - log_low) / 2.0
    phase_step, phase_sigma = code.bit_us / 70.0, code.bit_us / 8.0
    span = float(np.ptp(elapsed))
    rate_sigma = 0.0 if rate is None else rate.sigma_ppm
    rate_step = code.bit_us / PER_BIT / (span / 2.0) * 1e6 / _STEPS[-1]
    for _ in range(steps):
        phases = np.clip(phase + phase_step * _STEPS, low, high)
        times = phases[:, None] + elapsed * (1.0 + rate_ppm * 1e-6)
        log_exposures = np.clip(log_exposure + log_reach * np.linspace(-1.0, 1.0, 13), log_low, log_high)
        misfit = np.stack([_rss_fraction(code.level(times, e), level) for e in np.exp(log_exposures)])
        weight = _posterior(misfit, len(elapsed))
        log_exposure, log_sigma = _moments(log_exposures, weight.sum(1))
        log_reach = max(
            3.0 * log_sigma, log_reach / 2.0
        )  # slowly: phase and exposure trade off while the rate is rough
        exposure = float(np.exp(log_exposure))
        phase, phase_sigma = _moments(phases, weight.sum(0))
        if rate is None:
            rates = rate_ppm + rate_step * _STEPS
            times = phase + elapsed * (1.0 + rates[:, None] * 1e-6)
            weight = _posterior(_rss_fraction(code.level(times, exposure), level), len(elapsed))
            rate_ppm, rate_sigma = _moments(rates, weight)
            rate_step = max(4.0 * rate_sigma / _STEPS[-1], rate_step / 4.0)
        phase_step = max(4.0 * phase_sigma / _STEPS[-1], phase_step / 3.0)
    exposure = float(np.exp(log_exposure))
    model = code.level(phase + elapsed * (1.0 + rate_ppm * 1e-6), exposure)
    fraction = float(_rss_fraction(model, level))
    slope = float(np.cov(model, level)[0, 1] / max(model.var(ddof=1), 1e-12))
    contrast = max(slope, 1e-9)
    variance = max(fraction * level.var() / contrast**2, _NOISE_FLOOR**2)
    return _Estimate(
        phase_us=phase,
        phase_sigma_us=phase_sigma,
        rate_ppm=rate_ppm,
        rate_sigma_ppm=rate_sigma,
        exposure_us=exposure,
        contrast=contrast,
        variance=float(variance),
        rss_fraction=fraction,
    )


def _posterior(misfit: Array, num_samples: int) -> Array:
    """Normalised weights of hypotheses from their unexplained shares; noise as in the best of them."""
    noise = max(float(misfit.min()), _NOISE_FLOOR**2)
    weight = np.exp(-0.5 * max(num_samples - 4, 1) * (misfit - misfit.min()) / noise)
    return weight / weight.sum()


def _moments(values: Array, weight: Array) -> tuple[float, float]:
    """Mean and standard deviation of values under weights; never below a third of the grid step."""
    mean = float(weight @ values)
    step = float(values[1] - values[0])
    return mean, max(float(np.sqrt(weight @ (values - mean) ** 2)), step / 3.0)
