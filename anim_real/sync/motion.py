"""A clock map from motion that both systems see, where there is neither LED nor trigger.

Each system gives a track: a few lengths per frame that follow the performer, such as where the visible surface lies
and how far it reaches. The map is the shift in time under which both tracks agree, apart from a constant difference
of each length. Errors of neighbouring frames are alike and count as fewer; the stated sigma knows that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from anim_real.calibration import ClockMap
from anim_real.errors import DataError, RefusedError

Array = NDArray[np.float64]
MIN_MARGIN = 10.0  # nats, as for every other way to find the lag
DRIFT_SIGMA_PPM = 300.0  # of crystals; a Kinect's can run 389 ppm slow
_MAX_GAP = 2.5  # frame periods: nothing is interpolated across longer gaps
_MIN_FRAMES = 20
_STEPS_PER_PERIOD = 4
_MIN_OVERLAP = 0.5  # of the shorter track: shifts that leave less are not compared
_NOISE_FLOOR_M = 2e-4
_RIVAL_PERIODS = 0.75  # a shift farther away than this gives other pairs
_NUM_RIVALS = 8
_CAUCHY = 2.5  # standard deviations: residuals beyond it count less and less
_ROUNDS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionTrack:
    """What one system sees of the performer's motion.

    Attributes:
        time_us: (N,) int64 stamps of its own clock, ascending.
        lengths: (N, F) float64 metres, the same F quantities in both systems.
        period_us: nominal frame period.
    """

    time_us: NDArray[np.int64]
    lengths: Array
    period_us: float

    def __post_init__(self) -> None:
        if self.lengths.ndim != 2 or len(self.lengths) != len(self.time_us) or not np.isfinite(self.lengths).all():
            raise DataError(f"{len(self.time_us)} stamps for lengths {self.lengths.shape}", where="motion track")
        if (np.diff(self.time_us) <= 0).any():
            raise DataError("stamps must ascend", where="motion track")


def motion_clock(
    sensor_id: str,
    device: MotionTrack,
    scanner: MotionTrack,
    *,
    drift: tuple[float, float] = (0.0, DRIFT_SIGMA_PPM),
    window_sigma_us: float = np.inf,
) -> ClockMap:
    """Solve the map device -> scanner by the performer's motion.

    Args:
        sensor_id: the sensor whose clock it is.
        device: track of the depth camera.
        scanner: track of the scans.
        drift: scanner clock against device clock in ppm, and its sigma: from the stamps where both follow the
            same pulses, else what crystals do. It is refined where the motion tells it.
        window_sigma_us: how far apart the two tracks begin and end, as a standard deviation; infinite = unknown.
            A walk fits at every step: this alone tells which.

    Raises:
        DataError: fewer than 20 frames in a track, or the tracks hold different quantities.
        RefusedError: nothing moves, the tracks do not agree, or another shift explains them as well.
    """
    where = f"kinect-{sensor_id}"
    for name, track in (("depth", device), ("scan", scanner)):
        if len(track.time_us) < _MIN_FRAMES:
            raise DataError(
                f"{len(track.time_us)} {name} frames are too few to see motion ({_MIN_FRAMES})", where=where
            )
    if device.lengths.shape[1] != scanner.lengths.shape[1]:
        raise DataError("the two tracks hold different quantities", where=where)
    curve = _Curve(scanner)
    origin_us = round(float(device.time_us.mean()))
    elapsed = (device.time_us - origin_us).astype(np.float64)
    shifts, costs, counts = _search(device, curve, origin_us, elapsed, drift[0])
    ends_us = (scanner.time_us - device.time_us[0])[[0, -1]] - (device.time_us - device.time_us[0])[[0, -1]]
    window = ((shifts[:, None] - ends_us) ** 2).sum(1) / (2.0 * window_sigma_us**2)
    best = int(np.argmin(np.where(counts > 0, counts, 1) * costs + window))
    fit = _refine(device, curve, origin_us, elapsed, float(shifts[best]), drift, 1.0)
    if fit.explained < 0.5:
        raise RefusedError(
            f"the performer's motion explains {max(fit.explained, 0.0):.0%} of what the scans show",
            where=where,
            fix="Too little motion, or takes that do not belong together: let the performer jump once, or use an LED",
        )
    margin = np.inf
    for row in _rivals(shifts, costs * fit.num_frames / fit.inflation + window, fit.offset_us, scanner.period_us):
        rival = _refine(device, curve, origin_us, elapsed, float(shifts[row]), drift, 1.0 / _STEPS_PER_PERIOD)
        num_shared = min(fit.num_frames, rival.num_frames)
        lead = (rival.cost - fit.cost) * num_shared / fit.inflation + float(window[row] - window[best])
        margin = min(margin, lead)
    if margin < MIN_MARGIN:
        raise RefusedError(
            f"two shifts in time explain the motion almost alike: margin {margin:.1f} nats ({MIN_MARGIN:.0f} needed)",
            where=where,
            fix="A periodic motion fits at every turn: let the performer do something once, such as a jump",
        )
    return ClockMap(
        src=f"kinect:{sensor_id}",
        dst="scanner",
        origin_us=origin_us,
        offset_us=fit.offset_us,
        drift_ppm=fit.drift_ppm,
        residual_us=fit.residual_us,
        num_observations=fit.num_frames,
        lag_margin=float(min(margin, 1e6)),
        method="motion",
        offset_sigma_us=fit.offset_sigma_us,
        drift_sigma_ppm=fit.drift_sigma_ppm,
    )


class _Curve:
    """A track as a function of time, by cubic splines between frames; nothing across gaps."""

    def __init__(self, track: MotionTrack) -> None:
        self.period_us = track.period_us
        self.first_us, self.last_us = int(track.time_us[0]), int(track.time_us[-1])
        self.length_us = self.last_us - self.first_us
        self._start = track.time_us[0]
        self._at = (track.time_us - self._start).astype(np.float64)
        self._spline = CubicSpline(self._at, track.lengths)
        self._speed = self._spline.derivative()

    def at(self, time_us: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Lengths (N, F), their speeds (N, F) per µs, and where (N,) they are known."""
        position = np.asarray(time_us, dtype=np.float64) - float(self._start)
        after = np.clip(np.searchsorted(self._at, position), 1, len(self._at) - 1)
        is_known = (position >= 0) & (position <= self._at[-1])
        is_known &= self._at[after] - self._at[after - 1] <= _MAX_GAP * self.period_us
        inside = np.clip(position, 0.0, self._at[-1])
        return self._spline(inside), self._speed(inside), is_known


def _rivals(shifts: Array, scores: Array, offset_us: float, period_us: float) -> list[int]:
    """Rows of the best other shifts, lowest score first, each a frame period or more from those before it."""
    is_open = (np.abs(shifts - offset_us) >= _RIVAL_PERIODS * period_us) & np.isfinite(scores)
    chosen: list[int] = []
    while is_open.any() and len(chosen) < _NUM_RIVALS:
        chosen.append(int(np.argmin(np.where(is_open, scores, np.inf))))
        is_open &= np.abs(shifts - shifts[chosen[-1]]) >= period_us
    return chosen


@dataclass(frozen=True, kw_only=True)
class _Fit:
    offset_us: float
    drift_ppm: float
    offset_sigma_us: float
    drift_sigma_ppm: float
    residual_us: float
    explained: float
    inflation: float
    cost: float
    num_frames: int


def _search(
    device: MotionTrack, curve: _Curve, origin_us: int, elapsed: Array, drift_ppm: float
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Shifts (µs at the origin), what each costs per frame, and frames compared; none where too little overlaps."""
    step = curve.period_us / _STEPS_PER_PERIOD
    low = curve.first_us - device.time_us[-1]
    high = curve.last_us - device.time_us[0]
    shifts = np.arange(float(low), float(high) + step, step)
    num_least = max(_MIN_FRAMES, round(_MIN_OVERLAP * min(len(elapsed), curve.length_us / device.period_us)))
    costs, counts = np.full(len(shifts), np.inf), np.zeros(len(shifts), dtype=np.int64)
    reference = device.lengths.var(0)
    stretched = origin_us + elapsed * (1.0 + drift_ppm * 1e-6)
    for row, shift in enumerate(shifts):
        lengths, _, is_known = curve.at(stretched + shift)
        if is_known.sum() >= num_least:
            costs[row] = _cost(device.lengths[is_known], lengths[is_known], reference)
            counts[row] = is_known.sum()
    if not np.isfinite(costs).any():
        raise RefusedError(
            "the recording and the scans are of too different lengths to compare their motion",
            where="motion",
            fix="Record both from the first to the last moment of the take",
        )
    return shifts, costs, counts


def _cost(seen: Array, predicted: Array, reference: Array) -> float:
    """Minus log likelihood per frame (nats), as if frames were independent; 0 for a track that explains nothing.

    ``reference`` (F,) is the variance of the whole track: frames that a shift leaves alone count as unexplained.
    """
    variance = np.maximum((seen - predicted).var(0), _NOISE_FLOOR_M**2)
    return 0.5 * float(np.log(variance / np.maximum(reference, _NOISE_FLOOR_M**2)).sum())


def _refine(
    device: MotionTrack,
    curve: _Curve,
    origin_us: int,
    elapsed: Array,
    shift: float,
    drift: tuple[float, float],
    reach: float,
) -> _Fit:
    """Gauss-Newton over shift and drift with robust weights, within ``reach`` frame periods of the first shift."""
    low, high = shift - reach * curve.period_us, shift + reach * curve.period_us
    drift_ppm = drift[0]
    inflation = explained = residual_us = cost = 0.0
    num_frames = 0
    covariance = np.eye(2)
    for _ in range(_ROUNDS):
        lengths, speeds, is_known = curve.at(origin_us + elapsed * (1.0 + drift_ppm * 1e-6) + shift)
        seen, predicted = device.lengths[is_known], lengths[is_known]
        residual = seen - predicted
        residual = residual - np.median(residual, axis=0)
        sigma = np.maximum(1.4826 * np.median(np.abs(residual), axis=0), _NOISE_FLOOR_M)
        weight = 1.0 / (1.0 + (residual / sigma / _CAUCHY) ** 2) / sigma**2
        by_shift = speeds[is_known]
        by_drift = by_shift * elapsed[is_known, None] * 1e-6
        by_shift, by_drift = by_shift - by_shift.mean(0), by_drift - by_drift.mean(0)
        inflation = _correlation_frames(residual / sigma)
        normal = np.array(
            [
                [(weight * by_shift * by_shift).sum(), (weight * by_shift * by_drift).sum()],
                [(weight * by_shift * by_drift).sum(), (weight * by_drift * by_drift).sum()],
            ]
        )
        right = np.array([(weight * by_shift * residual).sum(), (weight * by_drift * residual).sum()])
        normal, right = normal / inflation, right / inflation
        normal[1, 1] += drift[1] ** -2.0
        right[1] += (drift[0] - drift_ppm) * drift[1] ** -2.0
        covariance = np.linalg.pinv(normal, hermitian=True)
        move = covariance @ right
        limit = curve.period_us / _STEPS_PER_PERIOD
        shift = float(np.clip(shift + np.clip(move[0], -limit, limit), low, high))
        drift_ppm += float(move[1])
        cost, num_frames = _cost(seen, predicted, device.lengths.var(0)), len(seen)
        total = seen - seen.mean(0)
        explained = 1.0 - float((residual**2 / sigma**2).sum() / np.maximum((total**2 / sigma**2).sum(), 1e-30))
        residual_us = float(np.sqrt(len(residual) * residual.shape[1] / max((weight * by_shift**2).sum(), 1e-30)))
    return _Fit(
        offset_us=shift,
        drift_ppm=drift_ppm,
        offset_sigma_us=float(np.sqrt(covariance[0, 0])),
        drift_sigma_ppm=float(np.sqrt(covariance[1, 1])),
        residual_us=residual_us,
        explained=explained,
        inflation=inflation,
        cost=cost,
        num_frames=num_frames,
    )


def _correlation_frames(residual: Array) -> float:
    """How many neighbouring frames err alike: one plus twice the sum of the autocorrelations until they vanish."""
    count = len(residual)
    power = np.maximum((residual**2).sum(0), 1e-30)
    frames = np.ones(residual.shape[1])
    is_open = np.ones(residual.shape[1], dtype=bool)
    for lag in range(1, count // 4):
        correlation = (residual[lag:] * residual[:-lag]).sum(0) / power
        is_open &= correlation > 0.05
        if not is_open.any():
            break
        frames += np.where(is_open, 2.0 * correlation, 0.0)
    return float(frames.max())
