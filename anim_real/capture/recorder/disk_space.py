"""How much a recording will write, and whether it fits on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from anim_real.capture.recording.k4a_format import COLOR_SIZES, DEPTH_SIZES
from anim_real.errors import NoSpaceError
from anim_real.rig import SensorSpec

_BYTES_PER_PIXEL = {"MJPG": 0.3, "NV12": 1.5, "YUY2": 2.0, "BGRA": 4.0}  # MJPG: the real 720P images have 0.24
_IMU_BYTES_PER_S = 1600 * 40
_MARGIN = 1.1
_LEAST_S, _SCARCE_S = 30.0, 600.0


def capture_size(sensor: SensorSpec) -> float:
    """Bytes of one complete capture, about."""
    color = COLOR_SIZES[sensor.color_mode][0] * COLOR_SIZES[sensor.color_mode][1]
    depth = DEPTH_SIZES[sensor.depth_mode][0] * DEPTH_SIZES[sensor.depth_mode][1]
    num_images = 1 if sensor.depth_mode == "PASSIVE_IR" else 2
    return _BYTES_PER_PIXEL[sensor.color_format] * color + 2.0 * depth * num_images


def data_rate(sensors: Sequence[SensorSpec]) -> float:
    """Bytes per second that the sensors write together, about."""
    return sum(capture_size(sensor) * sensor.fps + _IMU_BYTES_PER_S for sensor in sensors)


def free_bytes(path: Path) -> int:
    """Free space where ``path`` is, or would be made."""
    nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    return shutil.disk_usage(nearest).free


def check_space(path: Path, sensors: Sequence[SensorSpec], duration_s: float | None) -> tuple[str, ...]:
    """Compare free space with what will be written.

    Returns:
        A remark if an open-ended recording has room for less than ten minutes.

    Raises:
        NoSpaceError: the duration does not fit, or not even half a minute does.
    """
    rate, free = data_rate(sensors), free_bytes(path)
    needed = rate * (duration_s if duration_s is not None else _LEAST_S) * _MARGIN
    told = f"the sensors write about {rate / 1e6:.0f} MB/s, {free / 1e9:.1f} GB are free"
    if free < needed:
        span = f"{duration_s:g} s" if duration_s is not None else f"even {_LEAST_S:.0f} s"
        raise NoSpaceError(
            f"not enough space for {span}: {told}", where=path,
            fix=f"Free {(needed - free) / 1e9:.2f} GB, or name another disk with -o",
        )  # fmt: skip
    if duration_s is None and free < rate * _SCARCE_S * _MARGIN:
        return (f"room for {free / rate / _MARGIN / 60:.1f} min only: {told}",)
    return ()
