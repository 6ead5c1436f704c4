"""Filling a recording: every capture traced, exposed and written at its device times, with the IMU between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.frames import Rigid
from anim_real.studio.devices import Device, Studio, imu_samples, stream
from anim_real.studio.kinect import ColorTruth, DepthTruth
from anim_real.studio.multipath import MultipathPatch
from anim_real.studio.timeline import CapturePlan
from anim_real.studio.tracing import Surface
from anim_real.studio.triggers import led_level

COLOR_EXPOSURE_US = 8_000.0
_TAG_CAPTURE, _TAG_IMU, _TAG_MULTIPATH = 12, 13, 16


class CaptureWriter(Protocol):
    """What a recording is written with."""

    def write_capture(
        self,
        color: bytes | None,
        depth_mm: NDArray[np.uint16] | None,
        ir: NDArray[np.uint16] | None,
        color_time_us: int | None,
        depth_time_us: int | None,
    ) -> None:
        """Write one capture; what was lost is None."""
        ...

    def write_imu(
        self, acc_time_us: int, acc: NDArray[np.float64], gyro_time_us: int, gyro: NDArray[np.float64]
    ) -> None:
        """Write one sample, m/s² and rad/s."""
        ...


OpenWriter = Callable[[Path, Device], AbstractContextManager[CaptureWriter]]
SurfaceAt = Callable[[float, int | None], tuple[Surface, Rigid]]  # studio time, placement -> surface, T_world_surface


def record_captures(
    studio: Studio,
    take_number: int,
    order: int,
    device: Device,
    captures: tuple[CapturePlan, ...],
    levels: NDArray[np.float64],
    surface_at: SurfaceAt,
    writer: CaptureWriter,
) -> list[tuple[MultipathPatch, ...]]:
    """Trace, expose and write every capture; what stands still (a placement) is traced once.

    Args:
        studio: the studio.
        take_number: selects the random streams.
        order: the sensor's position in the rig.
        device: the sensor.
        captures: what it delivers.
        levels: (K,) LED level per capture.
        surface_at: the surface at a studio time, or at a placement, and its pose.
        writer: where it goes.

    Returns:
        Per capture the patches of its depth that light by other ways reaches.
    """
    kinect, clock = device.kinect, device.clock
    imu_rng = stream(studio.seed, take_number, _TAG_IMU, order)
    last_us: float | None = None
    placement: int | None = None
    depth_truth: DepthTruth | None = None
    color_truth: ColorTruth | None = None
    patches: list[tuple[MultipathPatch, ...]] = []
    for row, capture in enumerate(captures):
        rng = stream(studio.seed, take_number, _TAG_CAPTURE, order, row)
        if capture.placement is None or capture.placement != placement:
            depth_truth = color_truth = None
            placement = capture.placement
        depth_mm = ir = jpeg = None
        surface, pose = surface_at(capture.time_us, placement)
        if capture.depth_us is not None:
            if depth_truth is None:
                depth_truth = kinect.see_depth(surface, pose, num_samples=1 if placement is None else 4)
                place = row if placement is None else placement
                scene_rng = stream(studio.seed, take_number, _TAG_MULTIPATH, order, place)
                depth_truth = kinect.with_multipath(depth_truth, studio.errors.multipath_m, scene_rng)
            depth_mm, ir = kinect.expose_depth(depth_truth, rng)
        if capture.color_us is not None:
            if capture.depth_us is not None and capture.color_us != capture.depth_us:
                surface, pose = surface_at(capture.color_us, placement)
            color_truth = color_truth or kinect.see_color(surface, pose, num_samples=2 if placement is None else 4)
            jpeg = kinect.expose_color(color_truth, float(levels[row]), rng, device.spec.color_format)
        start_us = capture.time_us - studio.period_us
        patches.append(() if depth_truth is None or capture.depth_us is None else depth_truth.multipath)
        _write_imu(device, max(start_us, last_us or start_us), capture.time_us, imu_rng, writer)
        last_us = capture.time_us
        writer.write_capture(
            jpeg,
            depth_mm,
            ir,
            None if capture.color_us is None else int(clock.read(capture.color_us)),
            None if capture.depth_us is None else int(clock.read(capture.depth_us)),
        )
    return patches


def _write_imu(device: Device, start_us: float, end_us: float, rng: np.random.Generator, writer: CaptureWriter) -> None:
    for time_us, acceleration, rotation in zip(*imu_samples(device, start_us, end_us, rng), strict=True):
        writer.write_imu(int(time_us), acceleration, int(time_us), rotation)


def led_levels(studio: Studio, captures: tuple[CapturePlan, ...], led_start_us: float | None) -> NDArray[np.float64]:
    """(K,) share of each colour exposure during which the LED shone; zeros when it is off."""
    if led_start_us is None or studio.rig.led is None:
        return np.zeros(len(captures))
    centers = [capture.time_us if capture.color_us is None else capture.color_us for capture in captures]
    return led_level(studio.rig.led, led_start_us, centers, COLOR_EXPOSURE_US)
