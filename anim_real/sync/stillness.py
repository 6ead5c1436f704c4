"""A coarse clock map of a calibration take without an LED: the target stands still while it is scanned.

The depth images tell when nothing moved, the scans' stamps when each placement was scanned. The map is the offset
at which every scan falls into a stretch of stillness of its own. It says which captures show which scan, and no more:
it is as wide as the stretches leave it. Device and scanner clock, microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import ClockMap
from anim_real.errors import DataError, RefusedError
from anim_real.sync.motion import DRIFT_SIGMA_PPM, MIN_MARGIN

Array = NDArray[np.float64]
_CHANGE_MM = 25.0  # a pixel that changes by more shows something else; noise is some 5 mm at 3 m
_CHANGED_SHARE = 0.004  # of the pixels: a hand is larger
_NOISE_FACTOR = 4.0  # edges flicker: so many times their usual share is motion
_NUM_GLITCHES = 2  # captures in a row that may differ without ending a stretch
_MAX_GAP_US = 1_000_000.0  # nobody knows what happened in a longer one
_MIN_STRETCH_US = 250_000.0
_MISS_NATS = 6.9  # a thousand to one that a target is scanned while it stands still
_MIN_SCANS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class StillClock:
    """A clock map by stillness.

    Attributes:
        clock: device to scanner; its ``offset_sigma_us`` is some tenths of a second.
        stretches: (S, 2) int64 begin and end, device clock, of the stillness in which each scan was made.
    """

    clock: ClockMap
    stretches: NDArray[np.int64]


def still_stretches(images_mm: Sequence[NDArray[np.uint16]], time_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """When nothing moved before a depth camera.

    Args:
        images_mm: N depth images (h, w), a pixel in eight is enough; 0 = no return.
        time_us: (N,) their stamps, ascending.

    Returns:
        (M, 2) stamps of the first and the last image of every stretch.
    """
    if len(images_mm) < 2:
        return np.zeros((0, 2), np.int64)
    noise = np.quantile([_changed(a, b) for a, b in pairwise(images_mm)], 0.2)
    limit = max(_CHANGED_SHARE, _NOISE_FACTOR * float(noise))
    found: list[tuple[int, int]] = []
    first = last = 0  # a stretch's images are held against its first: slow motion adds up
    number = 1
    while number <= len(images_mm):
        ends = number == len(images_mm) or time_us[number] - time_us[last] > _MAX_GAP_US
        if not ends and _changed(images_mm[first], images_mm[number]) <= limit:
            last = number
        elif ends or number - last > _NUM_GLITCHES:
            found.append((first, last))
            first = last = number = last + 1
        number += 1
    spans = np.array([(time_us[a], time_us[b]) for a, b in found], np.int64)
    return spans[spans[:, 1] - spans[:, 0] >= _MIN_STRETCH_US]


def _changed(first: NDArray[np.uint16], second: NDArray[np.uint16]) -> float:
    """Share of the pixels of both images whose depth differs."""
    both = (first > 0) & (second > 0)
    if not both.any():
        return 1.0
    return float((np.abs(first[both].astype(np.float64) - second[both]) > _CHANGE_MM).mean())


def still_clock(sensor_id: str, stretches: NDArray[np.int64], scans_us: NDArray[np.int64]) -> StillClock:
    """Match stretches of stillness (M, 2), device clock, with scans (S,), scanner clock, by order and spacing.

    Raises:
        DataError: fewer than four scans or stretches.
        RefusedError: at no offset does every scan fall into a stretch of its own, or at another one nearly all do.
    """
    where = f"kinect-{sensor_id}"
    if min(len(stretches), len(scans_us)) < _MIN_SCANS:
        raise DataError(
            f"{len(stretches)} stretches of stillness and {len(scans_us)} scans are too few to match",
            where=where,
            fix=f"Scan the target at {_MIN_SCANS} places or more; let it stand still for a second before and after",
        )
    slack = DRIFT_SIGMA_PPM * 1e-6 * float(np.ptp(scans_us)) / 2.0
    begin, end = stretches[:, 0] - slack, stretches[:, 1] + slack
    edges = np.unique(np.concatenate([(scans_us[:, None] - begin).ravel(), (scans_us[:, None] - end).ravel()]))
    offsets = (edges[1:] + edges[:-1]) / 2.0
    device = scans_us - offsets[:, None]
    hit = np.searchsorted(begin, device, side="right") - 1
    is_still = (hit >= 0) & (device <= end[np.maximum(hit, 0)])
    is_own = is_still & (np.diff(np.where(is_still, hit, -2 - np.arange(len(scans_us))), axis=1, prepend=-1) != 0)
    count = is_own.sum(1)
    best = int(np.argmax(count))
    if count[best] < len(scans_us):
        raise RefusedError(
            f"at no offset does every scan fall into a stretch of stillness of its own: {count[best]} of "
            f"{len(scans_us)} do, with {len(stretches)} stretches",
            where=where,
            fix="Let the target stand still while it is scanned and move it in sight of the sensor in between, "
            "or record a coded LED",
        )
    same = (count == count[best]) & (hit == hit[best]).all(1)
    elsewhere = ((hit != hit[best]) & is_own).sum(1)  # one alone may lie between two stretches of the same placement
    rivals = (elsewhere >= 2) | ((count == count[best]) & ~same)
    rival = int(count[rivals].max(initial=0))
    margin = _MISS_NATS * (len(scans_us) - rival)
    if margin < MIN_MARGIN:
        raise RefusedError(
            f"stillness and scans match in several ways: at another offset {rival} of {len(scans_us)} scans fall into "
            f"stretches of their own too (margin {margin:.1f} nats, {MIN_MARGIN:.0f} needed)",
            where=where,
            fix="Wait unequally long between the placements, or record a coded LED",
        )
    cells = np.flatnonzero(same)
    low, high = edges[cells[0]], edges[cells[-1] + 1]
    own = stretches[hit[best]]
    offset_us = float(low + high) / 2.0
    middles = own.mean(1)
    clock = ClockMap(
        src=f"kinect:{sensor_id}",
        dst="scanner",
        origin_us=round(float(middles.mean())),
        offset_us=offset_us,
        drift_ppm=0.0,
        residual_us=float(np.std(scans_us - offset_us - middles)),
        num_observations=len(scans_us),
        lag_margin=margin,
        method="stillness",
        offset_sigma_us=float(high - low) / np.sqrt(12.0),
        drift_sigma_ppm=DRIFT_SIGMA_PPM,
    )
    return StillClock(clock=clock, stretches=own)
