"""A scene known exactly, for tests of crop and masks: a slab-shaped performer before a wall, on a floor."""

from __future__ import annotations

import numpy as np

from anim_real.calibration import CameraModel, DepthBias, RigidModel, SensorCalibration
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import camera_rays
from anim_real.geometry.frames import Rigid
from anim_real.rig import RigSpec, ScannerSpec, SensorSpec, VolumeSpec
from anim_real.take import RgbdFrame

from .recordings import factory_calibration

BIAS = DepthBias(offset_m=0.008, slope=0.002)
# scan frame: y up, origin on the floor; the sensor stands at z = 2.2 m, 1 m high, and looks along -z
T_DEPTH_SCAN = Rigid.from_parts("depth", "scan", np.diag([1.0, -1.0, -1.0]), [0.0, 1.0, 2.2])
HALF_WIDTH_M, TOP_M, FRONT_Z_M, WALL_Z_M = 0.25, 1.7, 0.1, -1.5


def slab_rig() -> RigSpec:
    """A rig whose volume holds the slab."""
    return RigSpec(
        schema="anim-real/rig/1", name="test", sensors=(SensorSpec(id="k0"),),
        scanner=ScannerSpec(name="s", fps=30.0, unit="mm", up="+y"), volume=VolumeSpec(radius_m=0.8, height_m=2.2),
    )  # fmt: skip


def slab_sensor() -> SensorCalibration:
    """The sensor in front of the slab, with a depth bias."""
    factory = factory_calibration()
    T_color_scan = factory.T_color_depth @ T_DEPTH_SCAN
    return SensorCalibration(
        sensor="k0",
        serial=None,
        color=CameraModel.of(factory.camera("color", "720P"), "720P"),
        depth=CameraModel.of(factory.camera("depth", "NFOV_UNBINNED"), "NFOV_UNBINNED"),
        T_color_depth=RigidModel.of(factory.T_color_depth),
        T_color_scan=RigidModel.of(T_color_scan),
        covariance=((0.0,) * 6,) * 6,
        depth_bias=BIAS,
        placements=(),
        predicted_person_mm=0.0,
    )


def scene_depth(camera: Camera, *, holes: bool = False, is_empty: bool = False) -> np.ndarray:
    """(H, W) true z in metres of slab, wall and floor, by intersecting every ray with the three planes."""
    rays = camera_rays(camera)
    direction = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], -1)
    T_scan_depth = T_DEPTH_SCAN.inverse()
    step = T_scan_depth.rotate(direction)
    origin = T_scan_depth.translation
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = (WALL_Z_M - origin[2]) / step[..., 2]
        floor = -origin[1] / step[..., 1]
        slab = (FRONT_Z_M - origin[2]) / step[..., 2]
    depth = np.where(floor > 0, np.minimum(floor, wall), wall)
    hit = origin + slab[..., None] * step
    on_slab = (np.abs(hit[..., 0]) < HALF_WIDTH_M) & (hit[..., 1] > 0) & (hit[..., 1] < TOP_M)
    on_slab &= not is_empty
    depth = np.where(on_slab, slab, depth)
    if holes:  # a dark belt without return cuts the performer in two; and a dark badge
        depth[on_slab & (hit[..., 1] > 0.95) & (hit[..., 1] < 1.0)] = 0.0
        depth[on_slab & (np.hypot(hit[..., 0], hit[..., 1] - 1.3) < 0.08)] = 0.0
    return np.nan_to_num(depth)


def frame_of(sensor: SensorCalibration, depth_m: np.ndarray, color: np.ndarray | None = None) -> RgbdFrame:
    depth_mm = np.rint(BIAS.apply(depth_m) * 1e3).astype(np.uint16)
    if color is None:
        color = np.zeros((720, 1280, 3), np.uint8)
    return RgbdFrame(index=4, color=color, depth_mm=depth_mm, ir=None, color_time_us=1, depth_time_us=1)
