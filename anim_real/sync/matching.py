"""Which capture belongs to which scan, given a clock map; and every one that has no partner, with the reason."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.calibration import ClockMap
from anim_real.errors import ConfigError, RefusedError
from anim_real.sync.pulses import PulseTrain, fit_train

DEFAULT_TOLERANCE = 0.45  # of a scanner period; half a frame would be a toss-up


@dataclass(frozen=True, kw_only=True)
class FrameMatch:
    """A capture and a scan of the same moment. ``dt_us``: capture on the scanner clock minus the scan's stamp."""

    kinect_index: int
    scan_index: int
    kinect_time_us: int
    scan_time_us: int
    dt_us: float


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """A capture, a scan, or an expected capture (``is_dropped``) that is in no pair.

    Attributes:
        kinect_index: the capture; None for a drop.
        scan_index: the scan that lost its capture, where one is concerned.
        kinect_time_us: device time of the capture, or expected for a drop.
        scan_time_us: stamp of the scan.
        reason: why, for people.
        is_dropped: whether the device should have delivered a capture here and did not.
    """

    kinect_index: int | None
    scan_index: int | None
    kinect_time_us: int | None
    scan_time_us: int | None
    reason: str
    is_dropped: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Captures:
    """Stamps of a recording.

    Attributes:
        index: (K,) int64 position in the recording.
        time_us: (K,) int64 device time, ascending.
        is_complete: (K,) bool whether both colour and depth are there.
    """

    index: NDArray[np.int64]
    time_us: NDArray[np.int64]
    is_complete: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scans:
    """Stamps of a scanner.

    Attributes:
        index: (S,) int64 frame index.
        time_us: (S,) int64 scanner time, ascending.
        has_mesh: (S,) bool whether the frame has a mesh file.
    """

    index: NDArray[np.int64]
    time_us: NDArray[np.int64]
    has_mesh: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """All pairs in time, and all that are in none."""

    matches: tuple[FrameMatch, ...]
    unmatched: tuple[Unmatched, ...]

    @property
    def num_dropped(self) -> int:
        """How many captures the device should have delivered and did not."""
        return sum(entry.is_dropped for entry in self.unmatched)


def match_frames(
    captures: Captures,
    scans: Scans,
    clock: ClockMap,
    *,
    scan_period_us: float,
    device_period_us: float,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Matching:
    """Pair every complete capture with the nearest scan within ``tolerance`` scanner periods.

    Each scan is used at most once. Raises ConfigError for a tolerance that allows two scans per capture.
    """
    if not 0.0 < tolerance < 0.5:
        raise ConfigError(f"tolerance is {tolerance} frames", where="tolerance", fix="Give a value between 0 and 0.5")
    limit_us = tolerance * scan_period_us
    on_scanner = clock.to_dst(captures.time_us)
    nearest = _nearest(scans.time_us, on_scanner)
    dt_us = on_scanner - scans.time_us[nearest]
    matches, unmatched = [], []
    owner: dict[int, int] = {}
    for row in np.argsort(np.abs(dt_us), kind="stable"):
        if abs(dt_us[row]) <= limit_us and captures.is_complete[row] and nearest[row] not in owner:
            owner[int(nearest[row])] = int(row)
    for row in range(len(captures.index)):
        scan = int(nearest[row])
        if owner.get(scan) == row and scans.has_mesh[scan]:
            matches.append(_match(captures, scans, row, scan, float(dt_us[row])))
        else:
            unmatched.append(
                _lonely_capture(captures, scans, row, scan, float(dt_us[row]), limit_us, owner.get(scan) == row)
            )
    is_near = np.abs(dt_us) <= limit_us
    typical_us = float(np.median(dt_us[is_near])) if is_near.any() else 0.0
    lonely = np.setdiff1d(np.arange(len(scans.index)), nearest[is_near])
    grid = _Grid.of(captures.time_us, device_period_us)
    unmatched += [_lonely_scan(scans, int(scan), clock, typical_us, grid) for scan in lonely]
    unmatched += _gaps(grid, scans, clock, limit_us)
    return Matching(matches=tuple(matches), unmatched=tuple(unmatched))


def _nearest(sorted_us: NDArray[np.int64], time_us: ArrayLike) -> NDArray[np.int64]:
    """(N,) row of the nearest stamp to each time."""
    time_us = np.asarray(time_us, dtype=np.float64)
    after = np.clip(np.searchsorted(sorted_us, time_us), 1, max(len(sorted_us) - 1, 1))
    before = after - 1
    if len(sorted_us) == 1:
        return np.zeros(len(time_us), dtype=np.int64)
    return np.where(time_us - sorted_us[before] <= sorted_us[after] - time_us, before, after)


def _match(captures: Captures, scans: Scans, row: int, scan: int, dt_us: float) -> FrameMatch:
    return FrameMatch(
        kinect_index=int(captures.index[row]),
        scan_index=int(scans.index[scan]),
        kinect_time_us=int(captures.time_us[row]),
        scan_time_us=int(scans.time_us[scan]),
        dt_us=dt_us,
    )


def _lonely_capture(
    captures: Captures, scans: Scans, row: int, scan: int, dt_us: float, limit_us: float, is_owner: bool
) -> Unmatched:
    is_near = abs(dt_us) <= limit_us
    if is_near and is_owner:
        reason = f"scan {int(scans.index[scan])} has a stamp but no mesh file"
    elif not captures.is_complete[row]:
        reason = "incomplete capture: colour or depth is missing"
    elif is_near:
        reason = f"scan {int(scans.index[scan])} is nearer to another capture"
    else:
        reason = f"no scan within {limit_us / 1000:.1f} ms (nearest is {abs(dt_us) / 1000:.1f} ms away)"
    return Unmatched(
        kinect_index=int(captures.index[row]),
        scan_index=int(scans.index[scan]) if is_near else None,
        kinect_time_us=int(captures.time_us[row]),
        scan_time_us=int(scans.time_us[scan]) if is_near else None,
        reason=reason,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grid:
    """Where the device's captures lie and should lie; ``train`` is None if they follow no grid."""

    first_us: int
    last_us: int
    period_us: float
    train: PulseTrain | None

    @classmethod
    def of(cls, time_us: NDArray[np.int64], period_us: float) -> _Grid:
        train = None
        if len(time_us) >= 3:
            with suppress(RefusedError):
                train = fit_train(time_us, period_us)
        return cls(first_us=int(time_us[0]), last_us=int(time_us[-1]), period_us=period_us, train=train)

    def expects(self, time_us: float) -> bool:
        """Whether the device should have delivered a capture at this device time."""
        if self.train is None:
            return True
        phase = (time_us - self.train.origin_us) / self.train.period_us
        return abs(phase - round(phase)) <= 0.25


def _lonely_scan(scans: Scans, scan: int, clock: ClockMap, typical_us: float, grid: _Grid) -> Unmatched:
    """A scan without capture: dropped by the device, or never expected."""
    expected = round(float(clock.to_src(scans.time_us[scan] + typical_us)))
    is_dropped = False
    if not grid.first_us - grid.period_us / 2 <= expected <= grid.last_us + grid.period_us / 2:
        reason = "the recording does not reach this scan"
    elif not grid.expects(expected):
        reason = "the device exposes no capture at this scan"
    else:
        reason, is_dropped = "dropped: the device delivered no capture for this scan", True
    return Unmatched(
        kinect_index=None,
        scan_index=int(scans.index[scan]),
        kinect_time_us=expected,
        scan_time_us=int(scans.time_us[scan]),
        reason=reason,
        is_dropped=is_dropped,
    )


def _gaps(grid: _Grid, scans: Scans, clock: ClockMap, limit_us: float) -> list[Unmatched]:
    """Captures missing on the recording's own grid where there is no scan either."""
    if grid.train is None:
        return []
    expected = np.rint(grid.train.at(grid.train.missing)).astype(np.int64)
    on_scanner = clock.to_dst(expected)
    is_far = np.abs(on_scanner - scans.time_us[_nearest(scans.time_us, on_scanner)]) > limit_us
    return [
        Unmatched(
            kinect_index=None,
            scan_index=None,
            kinect_time_us=int(time_us),
            scan_time_us=None,
            reason="dropped: a gap in the recording, where no scan is either",
            is_dropped=True,
        )
        for time_us in expected[is_far]
    ]
