"""Which captures of a calibration take show which scan: by the clock of the coded LED, or by stillness where none is.

Stillness tells no more than that; the clock map it leaves is as wide as the stretches in which the target stood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.protocol import SegmentsSpec
from anim_real.calibration import ClockMap
from anim_real.capture.recording.k4a_mkv import Recording
from anim_real.commands.jobs.take_clocks import led_clock
from anim_real.console import Console
from anim_real.errors import DataError, RefusedError
from anim_real.rig import RigSpec, SensorSpec
from anim_real.sync.stillness import still_clock, still_stretches
from anim_real.take import Take

_SHRINK = 8  # of the depth images: what moves is larger than that


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanCaptures:
    """The clock of a sensor in a calibration take, with what shows each scan.

    Attributes:
        clock: device to scanner.
        captures: per scan that has a mesh its frame index, and the captures nearest in time, in time order.
        refusal: why the LED did not tell, where stillness had to; None otherwise.
    """

    clock: ClockMap
    captures: list[tuple[int, list[int]]]
    refusal: str | None = None


def scan_captures(
    take: Take, recording: Recording, rig: RigSpec, sensor: SensorSpec, segments: SegmentsSpec, console: Console
) -> ScanCaptures:
    """Pair scans and captures.

    Raises:
        DataError: neither LED nor stillness tells; both reasons are given.
    """
    time_of = dict(zip(take.scan_index.tolist(), take.scan_time_us.tolist(), strict=True))
    frames = sorted(take.scan_paths)
    scans_us = np.array([time_of[frame] for frame in frames], np.int64)
    console.say(f"{sensor.id}: reading the LED" if rig.led is not None else f"{sensor.id}: no LED in the rig")
    try:
        clock = led_clock(take, recording, rig, sensor)
    except DataError as error:
        refusal = error
    else:
        return ScanCaptures(clock=clock, captures=_nearest(recording, clock, frames, scans_us, segments))
    console.say(f"{sensor.id}: {refusal.what}; looking for stillness")
    try:
        found = still_clock(sensor.id, _stretches(recording, sensor, console), scans_us)
    except DataError as error:
        raise RefusedError(
            f"nothing tells which capture shows which scan (LED: {refusal.what}; stillness: {error.what})",
            where=recording.path,
            fix=f"{refusal.fix}. Or: {error.fix}",
        ) from error
    captures = _nearest(recording, found.clock, frames, scans_us, segments, found.stretches)
    return ScanCaptures(clock=found.clock, captures=captures, refusal=refusal.what)


def _stretches(recording: Recording, sensor: SensorSpec, console: Console) -> NDArray[np.int64]:
    images: list[NDArray[np.uint16]] = []
    times: list[int] = []
    for frame in console.progress(recording.captures(decode_color=False), f"{sensor.id}: stillness", len(recording)):
        if frame.depth_mm is not None and frame.depth_time_us is not None:
            images.append(frame.depth_mm[::_SHRINK, ::_SHRINK])
            times.append(frame.depth_time_us)
    return still_stretches(images, np.array(times, np.int64))


def _nearest(
    recording: Recording,
    clock: ClockMap,
    frames: list[int],
    scans_us: NDArray[np.int64],
    segments: SegmentsSpec,
    stretches: NDArray[np.int64] | None = None,
) -> list[tuple[int, list[int]]]:
    """Per scan the captures nearest in time within the window, and within its stretch of stillness if one is known."""
    stamps = recording.stamps()
    on_scanner = clock.to_dst(stamps.time_us)
    answer = []
    for number, frame in enumerate(frames):
        away = np.abs(on_scanner - scans_us[number])
        if stretches is not None:
            begin, end = stretches[number]
            away[(stamps.time_us < begin) | (stamps.time_us > end)] = np.inf
        limit = np.inf if stretches is not None else segments.window_s * 1e6
        near = np.argsort(away)[: segments.max_captures]
        answer.append((frame, sorted(int(stamps.index[k]) for k in near if away[k] <= limit and np.isfinite(away[k]))))
    return answer
