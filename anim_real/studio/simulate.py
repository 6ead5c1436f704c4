"""Recording takes in the virtual studio: raw files as a real rig writes them, and their truth beside them.

Layouts: ``anim_real.take`` (takes) and ``anim_real.studio.truth`` (truth). Whoever calls passes in
the writer of recordings, the performers and the target's mesh.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import CameraModel, RigidModel
from anim_real.files import write_text
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh, save_mesh
from anim_real.studio.devices import Device, Studio, stream
from anim_real.studio.multipath import MultipathPatch
from anim_real.studio.recording import OpenWriter, SurfaceAt, led_levels, record_captures
from anim_real.studio.scanner import TARGET_FAULTS, ScanFaults, raw_scan
from anim_real.studio.scene import performer_pose, target_poses
from anim_real.studio.tables import TakeName, take_toml, write_table
from anim_real.studio.timeline import Timeline, calibration_timeline, performance_timeline
from anim_real.studio.tracing import Surface
from anim_real.studio.triggers import led_level, pulse_log, true_clock_map
from anim_real.studio.truth import (
    BendTruth,
    CaptureTruth,
    MultipathTruth,
    PlacementTruth,
    SensorTruth,
    TakeTruth,
    save_truth,
    truth_path,
)

_SCANNER_EXPOSURE_US = 3_000.0
_LED_NOISE = 0.015
_LOST_PULSES = 0.03
_ERROR_RANGE_M = np.round(np.arange(0.5, 4.01, 0.05), 3)
_TAG_TIMELINE, _TAG_SCAN, _TAG_LOG, _TAG_PLACE = 10, 11, 14, 15


class Poser(Protocol):
    """A performer: a closed mesh (metres, y up) for every moment of an action."""

    @property
    def ir_albedo(self) -> NDArray[np.float64]:
        """(V,) infrared albedo 0..1."""
        ...

    def pose(self, action: str, time_s: float) -> Mesh:
        """Closed mesh at a time of an action."""
        ...


def record_performance(
    studio: Studio,
    name: TakeName,
    performer: Poser,
    *,
    start_us: float,
    num_frames: int,
    output: Path,
    open_writer: OpenWriter,
) -> TakeTruth:
    """Record a subject's take of ``num_frames`` scanner frames; return its truth (also written)."""
    rng = stream(studio.seed, name.number, _TAG_TIMELINE)
    timeline = performance_timeline(
        start_us=start_us,
        num_frames=num_frames,
        period_us=studio.period_us,
        jitter_us=studio.jitter_us,
        scan_latency_us=studio.scan_latency_us,
        sensors={key: device.timing for key, device in studio.devices.items()},
        rng=rng,
    )
    T_world_body = performer_pose(rng)
    phase_s = float(rng.uniform(0.3, 2.5))

    def surface_at(time_us: float, _: int | None) -> tuple[Surface, Rigid]:
        mesh = performer.pose(name.action, phase_s + (time_us - start_us) * 1e-6)
        return Surface(mesh=mesh, ir_albedo=performer.ir_albedo), T_world_body

    truth_folder = truth_path(output, name.take_id).parent
    for frame in timeline.mesh_frames:
        surface, pose = surface_at(float(timeline.scans_us[frame]), None)
        _write_scan(studio, name, frame, surface, pose, ScanFaults(), output)
        closed = Mesh(
            vertices=studio.T_scan_world.apply(pose.apply(surface.mesh.vertices)),
            faces=surface.mesh.faces,
            colors=surface.mesh.colors,
        )
        save_mesh(truth_folder / "meshes" / f"frame-{frame:06d}.ply", closed)
        if frame == timeline.mesh_frames[0] and surface.mesh.regions is not None:
            np.save(truth_folder / "regions.npy", surface.mesh.regions)
    return _finish_take(studio, name, timeline, surface_at, output, open_writer, led_start_us=None, placements=())


def record_calibration(
    studio: Studio,
    name: TakeName,
    target: Mesh,
    *,
    start_us: float,
    num_placements: int,
    burst: int,
    output: Path,
    open_writer: OpenWriter,
) -> TakeTruth:
    """Record a calibration take: the target (metres, y up) at places of the volume, the coded LED running."""
    rng = stream(studio.seed, name.number, _TAG_TIMELINE)
    timeline = calibration_timeline(
        start_us=start_us,
        num_placements=num_placements,
        burst=burst,
        period_us=studio.period_us,
        jitter_us=studio.jitter_us,
        scan_latency_us=studio.scan_latency_us,
        sensors={key: device.timing for key, device in studio.devices.items()},
        rng=rng,
    )
    middle = (target.vertices.min(0) + target.vertices.max(0)) / 2
    poses = target_poses(
        num_placements, studio.rig.volume.radius_m, middle, stream(studio.seed, name.number, _TAG_PLACE)
    )
    surface = Surface(mesh=target)

    def surface_at(_: float, placement: int | None) -> tuple[Surface, Rigid]:
        assert placement is not None
        return surface, poses[placement]

    for placement, frame in enumerate(timeline.mesh_frames):
        _write_scan(studio, name, frame, surface, poses[placement], TARGET_FAULTS, output)
    placements = tuple(
        PlacementTruth(placement=index, scan_frame=frame, T_scan_target=RigidModel.of(studio.T_scan_world @ pose))
        for index, (frame, pose) in enumerate(zip(timeline.mesh_frames, poses, strict=True))
    )
    led_start_us = start_us + float(rng.uniform(-2e6, -1e6))
    return _finish_take(
        studio, name, timeline, surface_at, output, open_writer, led_start_us=led_start_us, placements=placements
    )


def _finish_take(
    studio: Studio,
    name: TakeName,
    timeline: Timeline,
    surface_at: SurfaceAt,
    output: Path,
    open_writer: OpenWriter,
    *,
    led_start_us: float | None,
    placements: tuple[PlacementTruth, ...],
) -> TakeTruth:
    """Write tables, recordings, take.toml and the truth."""
    folder = output / "takes" / name.take_id
    rng = stream(studio.seed, name.number, _TAG_LOG)
    write_table(folder / "scans" / "timestamps.csv", ("time_us",), studio.scanner_clock.read(timeline.scans_us))
    if led_start_us is not None and studio.rig.led is not None:
        level = led_level(studio.rig.led, led_start_us, timeline.scans_us, _SCANNER_EXPOSURE_US)
        noisy = np.clip(level + rng.normal(0.0, _LED_NOISE, len(level)), 0.0, 1.0)
        stamps = studio.scanner_clock.read(timeline.scans_us)
        write_table(folder / "scans" / "led.csv", ("time_us", "level"), stamps, np.round(noisy, 4))
    rows, stamps, logged = pulse_log(timeline.pulses_us, studio.generator_clock, rng, lost_share=_LOST_PULSES)
    write_table(folder / "triggers.csv", ("time_us",), stamps, index_name="pulse_index", index=rows)
    sensors = {}
    for order, (sensor_id, device) in enumerate(studio.devices.items()):
        captures = timeline.sensors[sensor_id].captures
        levels = led_levels(studio, captures, led_start_us)
        with open_writer(folder / f"kinect-{sensor_id}.mkv", device) as writer:
            patches = record_captures(studio, name.number, order, device, captures, levels, surface_at, writer)
        sensors[sensor_id] = _sensor_truth(studio, device, timeline, levels, patches, led_start_us is not None)
        np.save(
            _made(truth_path(output, name.take_id).parent) / f"depth_pattern-{sensor_id}.npy",
            device.kinect.error.pattern_m.astype(np.float32),
        )
    write_text(folder / "take.toml", take_toml(studio.rig, name))
    truth = TakeTruth(
        take_id=name.take_id,
        subject=name.subject,
        action=name.action,
        seed=studio.seed,
        T_scan_world=RigidModel.of(studio.T_scan_world),
        scanner_bend=BendTruth.of(studio.scanner_bend),
        sensors=sensors,
        scan_frames=timeline.mesh_frames,
        scan_latency_us=studio.scan_latency_us,
        pulse_time_us=tuple(int(value) for value in studio.generator_clock.read(timeline.pulses_us)),
        logged_pulses=tuple(int(value) for value in logged),
        placements=placements,
    )
    save_truth(output, truth)
    return truth


def _write_scan(
    studio: Studio,
    name: TakeName,
    frame: int,
    surface: Surface,
    T_world_surface: Rigid,
    faults: ScanFaults,
    output: Path,
) -> None:
    """Scan a surface and write it as the scanner does: its own frame and unit, textured GLB with regions."""
    rng = stream(studio.seed, name.number, _TAG_SCAN, frame)
    in_world = surface.mesh.moved(T_world_surface.apply(surface.mesh.vertices))
    scan = raw_scan(in_world, studio.scanner_cameras, faults, rng, ir_albedo=surface.ir_albedo)
    bent = studio.scanner_bend(studio.T_scan_world.apply(scan.vertices))
    in_scan = scan.moved(bent).scaled(1.0 / studio.rig.scanner.metres_per_unit)
    save_mesh(output / "takes" / name.take_id / "scans" / f"frame-{frame:06d}.glb", in_scan)


def _sensor_truth(
    studio: Studio,
    device: Device,
    timeline: Timeline,
    levels: NDArray[np.float64],
    patches: list[tuple[MultipathPatch, ...]],
    is_coded: bool,
) -> SensorTruth:
    kinect, plan = device.kinect, timeline.sensors[device.spec.id]
    near_us = float(timeline.pulses_us[0])
    led = kinect.led_pixel()
    captures = tuple(
        CaptureTruth(
            capture_index=row,
            pulse=capture.pulse,
            color_time_us=None if capture.color_us is None else int(device.clock.read(capture.color_us)),
            depth_time_us=None if capture.depth_us is None else int(device.clock.read(capture.depth_us)),
            scan_frame=capture.scan_frame,
            scan_dt_us=capture.scan_dt_us,
            led_level=float(levels[row]) if is_coded else None,
            multipath=tuple(
                MultipathTruth(
                    center_depth=tuple(float(value) for value in patch.center_depth),  # type: ignore[arg-type]
                    amplitude_m=patch.amplitude_m,
                    radius_m=patch.radius_m,
                )
                for patch in patches[row]
            ),
        )
        for row, capture in enumerate(plan.captures)
    )
    return SensorTruth(
        sensor=device.spec.id,
        serial=device.serial,
        T_color_scan=RigidModel.of(kinect.T_color_world @ studio.T_scan_world.inverse()),
        T_color_depth=RigidModel.of(kinect.T_color_depth),
        color=CameraModel.of(kinect.color, device.spec.color_mode),
        depth=CameraModel.of(kinect.depth, device.spec.depth_mode),
        depth_error_range_m=tuple(float(value) for value in _ERROR_RANGE_M),
        depth_error_m=tuple(float(value) for value in kinect.error.of_range(_ERROR_RANGE_M)),
        clock_to_scanner=true_clock_map(device.clock, studio.scanner_clock, near_us),
        clock_to_generator=true_clock_map(device.clock, studio.generator_clock, near_us),
        latency_us=device.timing.latency.total_us(studio.period_us),
        lag=device.timing.latency.lag,
        led_px=(float(led[0]), float(led[1])) if np.isfinite(led).all() else None,
        captures=captures,
        dropped_pulses=plan.dropped,
        incomplete=tuple(
            row for row, capture in enumerate(plan.captures) if None in (capture.color_us, capture.depth_us)
        ),
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
