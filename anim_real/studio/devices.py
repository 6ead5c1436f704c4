"""The studio on one day: its empty scene, sensors with their hidden truth, clocks that run on through all takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.rig import RigSpec, SensorSpec
from anim_real.studio.bend import Bend
from anim_real.studio.factory import FactoryErrors, device_factory, true_device
from anim_real.studio.kinect import VirtualKinect
from anim_real.studio.noise import make_depth_error
from anim_real.studio.scanner import scanner_cameras
from anim_real.studio.scene import Scene, make_scene, scan_pose, sensor_pose
from anim_real.studio.timeline import SensorTiming
from anim_real.studio.triggers import Clock, Latency, make_clock, make_latency

IMU_PERIOD_US = 610.0  # 1.64 kHz
_GRAVITY = 9.81
_TAG_BEND = 17


class ParsedCalibration(Protocol):
    """What the studio needs of a parsed ``calibration.json``."""

    @property
    def T_color_depth(self) -> Rigid:
        """Depth camera to colour camera, metres."""
        ...

    @property
    def T_accelerometer_depth(self) -> Rigid | None:
        """Depth camera to accelerometer, if known."""
        ...

    def camera(self, name: Literal["color", "depth"], mode: str) -> Camera:
        """Camera of a mode."""
        ...


ParseCalibration = Callable[[bytes], ParsedCalibration]


@dataclass(frozen=True, kw_only=True, eq=False)
class Device:
    """One sensor of the rig.

    Attributes:
        spec: its entry in the rig.
        serial: its serial number.
        factory_json: the calibration it carries (the recording's attachment).
        kinect: the true device.
        clock: its clock.
        timing: its delays behind a pulse.
        gravity_imu: (3,) acceleration that its accelerometer feels, m/s².
    """

    spec: SensorSpec
    serial: str
    factory_json: bytes
    kinect: VirtualKinect
    clock: Clock
    timing: SensorTiming
    gravity_imu: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StudioErrors:
    """Systematic errors that depend on the scene; 0 switches one off.

    Attributes:
        scanner_m: root mean square length by which the scanner bends space.
        multipath_m: largest depth error by light that takes other ways, metres along the ray.
    """

    scanner_m: float = 0.0002
    multipath_m: float = 0.002

    def __post_init__(self) -> None:
        for name in ("scanner_m", "multipath_m"):
            if not 0.0 <= getattr(self, name) < 0.1:
                raise ConfigError(f"{name} = {getattr(self, name)} is not in 0..0.1", where="errors of the studio")


@dataclass(frozen=True, kw_only=True, eq=False)
class Studio:
    """Everything that stays the same through a day of takes.

    Attributes:
        rig: its specification.
        seed: run seed; every random stream derives from it.
        scene: the empty studio.
        T_scan_world: the scanner's frame.
        scanner_cameras: (C, 3) world.
        scanner_clock, generator_clock: clocks.
        scan_latency_us: pulse to centre of the scanner's exposure.
        devices: by sensor id.
        scanner_bend: how the scanner bends the scan frame.
        errors: sizes of the errors that the scene causes.
    """

    rig: RigSpec
    seed: int
    scene: Scene
    T_scan_world: Rigid
    scanner_cameras: NDArray[np.float64]
    scanner_clock: Clock
    generator_clock: Clock
    scan_latency_us: float
    devices: dict[str, Device]
    scanner_bend: Bend
    errors: StudioErrors

    @property
    def period_us(self) -> float:
        """Pulse period."""
        assert self.rig.trigger is not None
        return 1e6 / self.rig.trigger.fps

    @property
    def jitter_us(self) -> float:
        """Standard deviation of a pulse."""
        assert self.rig.trigger is not None
        return self.rig.trigger.jitter_us


def stream(seed: int, *path: int) -> np.random.Generator:
    """Random numbers of one purpose: same seed and path, same numbers, whatever else was drawn."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def make_studio(
    rig: RigSpec, factory_json: bytes, parse: ParseCalibration, seed: int, *, errors: StudioErrors | None = None
) -> Studio:
    """Set up a studio that can record takes of a rig.

    Args:
        rig: needs a trigger, and sensors with depth at the trigger's rate.
        factory_json: calibration that every device's own one is drawn around.
        parse: reader of k4a calibrations.
        seed: run seed.
        errors: sizes of the errors that the scene causes; ``StudioErrors()`` by default.

    Raises:
        ConfigError: the rig cannot be simulated.
        DataError: ``factory_json`` is not a k4a calibration.
    """
    _check(rig)
    return equip_studio(rig, factory_json, parse, seed, errors=errors)


def equip_studio(
    rig: RigSpec,
    factory_json: bytes,
    parse: ParseCalibration,
    seed: int,
    *,
    max_color_width: int | None = None,
    errors: StudioErrors | None = None,
) -> Studio:
    """Set up any rig's scene, devices and clocks; the same devices for the same seed, whatever they are used for.

    Args:
        rig: any rig.
        factory_json: as for ``make_studio``.
        parse: as for ``make_studio``.
        seed: run seed.
        max_color_width: colour is seen through cameras reduced by whole factors to this width, pixels; None = in full.
        errors: as for ``make_studio``.
    """
    errors = StudioErrors() if errors is None else errors
    rng = stream(seed, 0)
    scene = make_scene(rig.volume.radius_m, rng)
    T_scan_world = scan_pose(rig, rng)
    scan_latency_us = float(rng.uniform(4_000.0, 9_000.0))
    period_us = 1e6 / (rig.sensors[0].fps if rig.trigger is None else rig.trigger.fps)
    devices = {
        spec.id: _make_device(
            order, spec, rig, scene, factory_json, parse, period_us, scan_latency_us, stream(seed, 1, order),
            max_color_width,
        )
        for order, spec in enumerate(rig.sensors)
    }  # fmt: skip
    return Studio(
        rig=rig,
        seed=seed,
        scene=scene,
        T_scan_world=T_scan_world,
        scanner_cameras=scanner_cameras(rig.volume.radius_m),
        scanner_clock=make_clock("scanner", rng, max_offset_s=40_000.0, max_drift_ppm=60.0),
        generator_clock=make_clock("generator", rng, max_offset_s=3_000.0, max_drift_ppm=0.0),
        scan_latency_us=scan_latency_us,
        devices=devices,
        scanner_bend=Bend.draw(errors.scanner_m, stream(seed, 0, _TAG_BEND)),
        errors=errors,
    )


def imu_samples(
    device: Device, start_us: float, end_us: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """IMU of a camera on a tripod between two studio times: device stamps (N,), m/s² (N, 3), rad/s (N, 3)."""
    times = np.arange(start_us, end_us, IMU_PERIOD_US)
    acceleration = device.gravity_imu + rng.normal(0.0, 0.02, (len(times), 3))
    return device.clock.read(times), acceleration, rng.normal(0.0, 0.002, (len(times), 3))


def _make_device(
    order: int,
    spec: SensorSpec,
    rig: RigSpec,
    scene: Scene,
    base_json: bytes,
    parse: ParseCalibration,
    period_us: float,
    scan_latency_us: float,
    rng: np.random.Generator,
    max_color_width: int | None,
) -> Device:
    serial = spec.serial or f"{rng.integers(10**11, 10**12):012d}"
    factory_json = device_factory(base_json, serial, rng)
    truth = parse(true_device(factory_json, FactoryErrors(), rng))
    depth = truth.camera("depth", spec.depth_mode)
    T_color_world = sensor_pose(order, rig.volume.radius_m, rng)
    color = truth.camera("color", spec.color_mode)
    if max_color_width is not None:
        color = color.scale(1.0 / math.ceil(color.width / max_color_width))
    kinect = VirtualKinect(
        color=color,
        depth=depth,
        T_color_world=T_color_world,
        T_color_depth=truth.T_color_depth,
        error=make_depth_error(depth.height, depth.width, rng),
        scene=scene,
        mode=spec.depth_mode,
    )
    latency = make_latency(rng, period_us, scan_latency_us)
    delayed = Latency(lag=latency.lag, rest_us=latency.rest_us + spec.subordinate_delay_us + spec.depth_delay_us)
    up_depth = kinect.T_depth_world.rotate((0.0, 1.0, 0.0))
    T_imu_depth = truth.T_accelerometer_depth
    return Device(
        spec=spec,
        serial=serial,
        factory_json=factory_json,
        kinect=kinect,
        clock=make_clock(f"kinect:{spec.id}", rng, max_offset_s=600.0),
        timing=SensorTiming(latency=delayed, depth_delay_us=spec.depth_delay_us),
        gravity_imu=_GRAVITY * (up_depth if T_imu_depth is None else T_imu_depth.rotate(up_depth)),
    )


def _check(rig: RigSpec) -> None:
    where = f"rig {rig.name}"
    if rig.trigger is None:
        raise ConfigError("a rig without [trigger] cannot be simulated", where=where, fix="Add [trigger] fps = 30.0")
    for sensor in rig.sensors:
        if sensor.depth_mode == "PASSIVE_IR":
            raise ConfigError(
                f"depth mode PASSIVE_IR of {sensor.id!r} has no depth to pair with scans",
                where=where,
                fix="Use NFOV_UNBINNED",
            )
        if sensor.fps != rig.trigger.fps or rig.scanner.fps != rig.trigger.fps:
            raise ConfigError(
                f"sensor {sensor.id!r} at {sensor.fps} fps, scanner at {rig.scanner.fps}, trigger at {rig.trigger.fps}",
                where=where,
                fix="The virtual studio runs all of them at one rate",
            )
