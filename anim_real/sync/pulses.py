"""Periodic stamps: numbering them against a regular grid of pulses, with drops, losses and strays.

A triggered camera, a scanner and the trigger box's own log all stamp the same pulses, each in its own
clock and each with gaps. What follows from the stamps alone is the rate between two clocks and which pulses
have no stamp; the integer lag and the constant latency between two systems do not (``clocks.py`` adds them).
Times are microseconds of the clock the stamps come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.errors import DataError, RefusedError

MAX_DRIFT_PPM = 1000.0  # a crystal is within 100 ppm; the worst device on record ran 389 ppm slow (SENSOR.md)
_STRAY_FRACTION = 0.25  # of a period: a stamp further from its pulse belongs to none
_OUTLIER_SIGMAS = 5.0
_MIN_ACCEPTED = 0.7  # of the stamps must lie on the grid, or they are not periodic


@dataclass(frozen=True, kw_only=True, eq=False)
class PulseTrain:
    """Stamps of one system, numbered by the pulse they belong to.

    Attributes:
        index: (N,) int64 pulse number of each accepted stamp, ascending, the first is 0.
        time_us: (N,) int64 accepted stamps.
        row: (N,) int64 position of each accepted stamp among the stamps given.
        stray_us: (R,) int64 stamps that lie on no pulse.
        origin_us: fitted time of pulse 0.
        period_us: fitted time between pulses.
        origin_sigma_us, period_sigma_us: standard deviations; ``origin`` is at the mean index.
        residual_us: standard deviation of the stamps about the fit.
        nominal_period_us: what the rig says the period is.
    """

    index: NDArray[np.int64]
    time_us: NDArray[np.int64]
    row: NDArray[np.int64]
    stray_us: NDArray[np.int64]
    origin_us: float
    period_us: float
    origin_sigma_us: float
    period_sigma_us: float
    residual_us: float
    nominal_period_us: float

    @property
    def missing(self) -> NDArray[np.int64]:
        """Pulse numbers between the first and the last stamp that have none."""
        return np.setdiff1d(np.arange(self.index[-1] + 1), self.index)

    @property
    def center_us(self) -> float:
        """Mean of the accepted stamps: where the fit is best."""
        return float(self.time_us.mean())

    def at(self, index: ArrayLike) -> NDArray[np.float64]:
        """Fitted times (µs) of pulse numbers."""
        return self.origin_us + self.period_us * np.asarray(index, dtype=np.float64)


def fit_train(time_us: ArrayLike, nominal_period_us: float, *, name: str = "stamps") -> PulseTrain:
    """Number stamps and fit ``time = origin + period * index``.

    Args:
        time_us: (N,) ascending stamps in microseconds; any number may be missing, a few may be strays.
        nominal_period_us: what the rig says; the clocks' drift may change it by ``MAX_DRIFT_PPM``.
        name: what the stamps are, for messages.

    Raises:
        DataError: fewer than three stamps.
        RefusedError: the stamps are not periodic at this rate, or the drift is implausible.
    """
    stamps = np.asarray(time_us, dtype=np.int64)
    if len(stamps) < 3:
        raise DataError(f"{len(stamps)} stamps are too few to fit a clock (3 needed)", where=name)
    index = _number(stamps, nominal_period_us)
    accepted = index >= 0
    if accepted.sum() < max(3, _MIN_ACCEPTED * len(stamps)):
        raise RefusedError(
            f"only {int(accepted.sum())} of {len(stamps)} stamps lie on a {1e6 / nominal_period_us:.4g} Hz grid",
            where=name,
            fix="Check the fps in the rig, or whether the trigger cable was pulled",
        )
    row = np.flatnonzero(accepted)
    row = row[_inliers(index[row], stamps[row])]
    number = index[row] - index[row[0]]
    period, origin, period_sigma, origin_sigma, residual = _line(number, stamps[row])
    drift_ppm = (period / nominal_period_us - 1.0) * 1e6
    if abs(drift_ppm) > MAX_DRIFT_PPM + 3.0 * period_sigma / nominal_period_us * 1e6:
        raise RefusedError(
            f"the period is {period:.1f} us, {drift_ppm:.0f} ppm off the rig's {nominal_period_us:.1f} us",
            where=name,
            fix=f"No crystal drifts more than {MAX_DRIFT_PPM:.0f} ppm: check the fps in the rig",
        )
    return PulseTrain(
        index=number,
        time_us=stamps[row],
        row=row,
        stray_us=np.delete(stamps, row),
        origin_us=origin,
        period_us=period,
        origin_sigma_us=origin_sigma,
        period_sigma_us=period_sigma,
        residual_us=residual,
        nominal_period_us=nominal_period_us,
    )


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Rate of the destination clock against the source clock, minus one, in ppm, and its standard deviation."""

    drift_ppm: float
    sigma_ppm: float


def relative_rate(src: PulseTrain, dst: PulseTrain) -> Rate:
    """Rate between two clocks whose systems follow the same pulses: the ratio of their mean periods.

    One may expose on every n-th pulse only; the nominal periods tell n.
    """
    ratio = (dst.period_us / dst.nominal_period_us) / (src.period_us / src.nominal_period_us)
    sigma = np.hypot(src.period_sigma_us / src.period_us, dst.period_sigma_us / dst.period_us)
    return Rate(drift_ppm=(ratio - 1.0) * 1e6, sigma_ppm=float(sigma) * 1e6)


def _number(stamps: NDArray[np.int64], period_us: float) -> NDArray[np.int64]:
    """(N,) pulse number of each stamp by walking from pulse to pulse; -1 = stray.

    Each step is rounded on its own, so drift does not add up: it stays below the stray limit for gaps
    up to 250 periods at 1000 ppm. The start with the most followers wins, so a stray first stamp does no harm.
    """
    best = np.full(len(stamps), -1, dtype=np.int64)
    for start in range(min(5, len(stamps))):
        index = np.full(len(stamps), -1, dtype=np.int64)
        index[start], last = 0, start
        for row in range(start + 1, len(stamps)):
            steps = (stamps[row] - stamps[last]) / period_us
            whole = round(float(steps))
            if whole >= 1 and abs(steps - whole) <= _STRAY_FRACTION:
                index[row], last = index[last] + whole, row
        if (index >= 0).sum() > (best >= 0).sum():
            best = index
        if (best >= 0).sum() >= 0.95 * len(stamps):
            break
    return best


def _inliers(index: NDArray[np.int64], stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that stay within five robust sigmas of a line; the median of slopes starts it."""
    keep = np.ones(len(index), dtype=bool)
    for _ in range(4):
        period, origin, *_ = _line(index[keep], stamps[keep])
        residual = stamps - origin - period * index
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1.0)
        again = np.abs(residual) <= _OUTLIER_SIGMAS * scale
        if again.sum() < 3 or (again == keep).all():
            break
        keep = again
    return keep


def _line(index: NDArray[np.int64], stamps: NDArray[np.int64]) -> tuple[float, float, float, float, float]:
    """Least squares ``stamps = origin + period * index``: period, origin, their sigmas, residual (all µs)."""
    center, first = index.mean(), stamps[0]
    x, y = index - center, (stamps - first).astype(np.float64)
    spread = float(x @ x)
    period = float(x @ y) / spread
    level = float(y.mean())
    freedom = max(len(x) - 2, 1)
    residual = float(np.sqrt(((y - level - period * x) ** 2).sum() / freedom))
    noise = max(residual, 0.3)  # a stamp is rounded to 1 µs, which alone is 0.29 µs
    return period, first + level - period * center, noise / np.sqrt(spread), noise / np.sqrt(len(x)), residual
