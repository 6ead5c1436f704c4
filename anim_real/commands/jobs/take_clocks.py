"""The clock map of one sensor in one take, by the best means the take offers.

In this order: the calibration's map continued by the take's own stamps; the coded LED; the performer's motion.
Each refusal is kept, so that a person can see why a weaker means was used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import ClockMap, SensorCalibration
from anim_real.capture.person_reader import PersonReader
from anim_real.capture.recording.k4a_mkv import Recording
from anim_real.commands.jobs.motion_tracks import device_track, scan_track
from anim_real.console import Console
from anim_real.errors import DataError, RefusedError
from anim_real.rig import RigSpec, SensorSpec
from anim_real.sync.clocks import Stamps, calibrate_clock, rig_stamps, take_clock, tied_drift, window_sigma_us
from anim_real.sync.led import LedSamples, locate_led
from anim_real.sync.motion import DRIFT_SIGMA_PPM, motion_clock
from anim_real.take import Take

Means = Literal["stamps", "led", "motion"]
MEANS: tuple[Means, ...] = ("stamps", "led", "motion")


@dataclass(frozen=True, kw_only=True)
class FoundClock:
    """A clock map, and why each means before the one that gave it did not."""

    clock: ClockMap
    refusals: tuple[str, ...]


def find_clock(
    take: Take,
    recording: Recording,
    rig: RigSpec,
    sensor: SensorSpec,
    solved: SensorCalibration | None,
    console: Console,
    *,
    means: tuple[Means, ...] = MEANS,
) -> FoundClock:
    """Solve a sensor's clock against the scanner's by the first of ``means`` that tells it.

    Args:
        take: an opened take.
        recording: the sensor's recording of it.
        rig: tells rates, roles, LED and volume.
        sensor: the sensor.
        solved: its calibration; needed by ``stamps`` (its clock map) and ``motion`` (its pose).
        console: progress.
        means: which to try, in this order.

    Raises:
        RefusedError: none of them tells it; every reason is given.
    """
    stamps = recording.stamps()
    times = rig_stamps(
        rig, sensor, device_us=stamps.depth_time_us[stamps.depth_time_us >= 0], scanner_us=take.scan_time_us
    )
    ways: dict[Means, Callable[[], ClockMap]] = {
        "stamps": lambda: _continued(solved, times),
        "led": lambda: led_clock(take, recording, rig, sensor),
        "motion": lambda: _from_motion(take, recording, rig, sensor, solved, times, console),
    }
    refusals: list[str] = []
    advice: list[str] = []
    for name in means:
        try:
            return FoundClock(clock=ways[name](), refusals=tuple(refusals))
        except DataError as error:
            refusals.append(f"{name}: {error.what}")
            advice.append(error.fix or "")
            if len(means) == 1:
                raise
    raise RefusedError(
        f"nothing tells which scan belongs to which capture ({'; '.join(refusals)})",
        where=recording.path,
        fix=next((line for line in advice if line), None),
    )


def led_clock(take: Take, recording: Recording, rig: RigSpec, sensor: SensorSpec) -> ClockMap:
    """Device clock to scanner clock from the coded LED in the colour images and in scans/led.csv.

    Raises:
        DataError: there is no LED in the rig or the take, or too little of it.
        RefusedError: it is not found, or its place in the code is ambiguous.
    """
    if rig.led is None or take.led is None:
        raise DataError(
            "which capture shows which scan is told by a coded LED, and there is none",
            where=_led_path(take.folder),
            fix="Describe the LED under [led] in the rig and export its brightness per scanner frame as scans/led.csv",
        )
    stamps = recording.stamps()
    colored = np.flatnonzero(stamps.color_time_us >= 0)

    def frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number in colored:
            capture = recording.capture(int(number))
            if capture.color is not None:
                yield int(stamps.color_time_us[number]), capture.color

    scanner = LedSamples(time_us=take.led["time_us"].to_numpy(np.int64), level=take.led["level"].to_numpy(np.float64))
    with_depth = stamps.depth_time_us[stamps.depth_time_us >= 0]
    times = rig_stamps(rig, sensor, device_us=with_depth, scanner_us=take.scan_time_us)
    return calibrate_clock(sensor.id, times, locate_led(frames(), rig.led), scanner, rig.led)


def _led_path(folder: Path) -> Path:
    return folder / "scans" / "led.csv"


def _continued(solved: SensorCalibration | None, times: Stamps) -> ClockMap:
    if solved is None:
        raise DataError("no calibration is given", where="clock", fix="Give --calibration")
    if solved.clock is None:
        raise DataError("the calibration has no clock map of this sensor", where="clock", fix="Calibrate with an LED")
    if solved.clock.method == "stillness":
        sigma_ms = 1e-3 * (solved.clock.offset_sigma_us or 0.0)
        raise DataError(
            f"the calibration's clock map was told by stillness, to ±{sigma_ms:.0f} ms: too coarse to continue",
            where="clock",
            fix="Calibrate with an LED, or record one in this take",
        )
    return take_clock(solved.clock, times)


def _from_motion(
    take: Take,
    recording: Recording,
    rig: RigSpec,
    sensor: SensorSpec,
    solved: SensorCalibration | None,
    times: Stamps,
    console: Console,
) -> ClockMap:
    if solved is None:
        raise DataError("without a calibration depth and scans cannot be compared", where="clock", fix="Calibrate")
    reader = PersonReader(recording, solved, rig, take.folder)
    tied = tied_drift(times)
    drift = (0.0, DRIFT_SIGMA_PPM) if tied is None else (tied.drift_ppm, tied.sigma_ppm)
    device = device_track(reader, sensor, console)
    scans = scan_track(take, solved, rig, console)
    return motion_clock(sensor.id, device, scans, drift=drift, window_sigma_us=window_sigma_us(times))
