"""What ``inspect`` tells about recordings, takes and factory calibrations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anim_real.errors import DataError
from anim_real.specs import load_toml

if TYPE_CHECKING:
    from anim_real.capture.recording.k4a_mkv import Recording, RecordingInfo
    from anim_real.commands.inspect.recording_health import CalibrationHealth

Description = tuple[dict[str, Any], list[str]]
_OFFSETS = {"tag": "as its tag says", "imu": "by its first inertial sample", "missing": "for the tag is missing"}


def describe_recording(path: Path, *, decode: bool = False) -> Description:
    """A recording: device, modes, captures, clock, IMU, calibration, damage; with ``decode`` its images too."""
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.commands.inspect import recording_health as health

    with open_recording(path) as recording:
        info, stamps = recording.info, recording.stamps()
        clock, problems = health.measure_clock(info, stamps)
        imu, imu_problems = health.measure_imu(recording.imu())
        calibration, calibration_problems = _factory_health(recording)
        problems += [*imu_problems, *calibration_problems]
        clock_record, imu_record, calibration_record = health.as_record(clock, imu, calibration)
        record: dict[str, Any] = asdict(info) | {
            "first_time_us": int(stamps.time_us.min()),
            "last_time_us": int(stamps.time_us.max()),
            "is_damaged": info.is_damaged,
            "is_orbbec": info.is_orbbec,
            "clock": clock_record,
            "imu": imu_record,
            "calibration": calibration_record,
            "custom_tracks": _custom_tracks(recording),
            "problems": problems,
        }
        lines = _device_lines(record, info)
        lines += [*health.clock_lines(clock), health.imu_line(imu)]
        lines += ["  calibration missing"] if calibration is None else health.calibration_lines(calibration)
        lines += [
            f"  custom      {track['name']} ({track['codec_id']}), {track['num_frames']} frames"
            for track in record["custom_tracks"]
        ]
        lines += [f"  CHECK       {problem}" for problem in problems]
        if info.is_damaged:
            lines.append(f"  DAMAGED     {_damage(info)}; the rest was salvaged")
        if decode:
            decoded = _decoded(recording)
            record |= decoded
            lines.append(
                f"  images      {decoded['num_corrupt_color']} corrupt colour, {decoded['num_corrupt_depth']} corrupt"
                f" depth, {decoded['num_bad_clusters']} clusters with a wrong checksum;"
                f" depth coverage {decoded['depth_coverage']:.1%}, median {decoded['median_depth_mm']:.0f} mm"
            )
    return record, lines


def _device_lines(record: dict[str, Any], info: RecordingInfo) -> list[str]:
    """What the device was and how it ran."""
    maker = "Orbbec" if info.is_orbbec else "Azure Kinect"
    offset = f"{info.start_offset_us} µs, {_OFFSETS[info.start_offset_source]}"
    return [
        f"  device      {maker}, serial {info.serial or '?'}, firmware colour {info.color_firmware or '?'},"
        f" depth {info.depth_firmware or '?'}; written by {info.writing_app or '?'}",
        f"  colour      {_mode(info.color_format, info.color_mode, info.color_size)}",
        f"  depth       {_mode(None, info.depth_mode, info.depth_size)}",
        f"  trigger     {info.sync_mode}, {info.fps} fps, depth delay {info.depth_delay_us} µs,"
        f" subordinate delay {info.subordinate_delay_us} µs",
        f"  captures    {info.num_captures}, of them {info.num_incomplete} incomplete;"
        f" {info.num_dropped} dropped by the device",
        f"  device time {record['first_time_us']} to {record['last_time_us']} µs; {info.length_us / 1e6:.3f} s"
        f" of file begin at {offset}",
    ]


def _damage(info: RecordingInfo) -> str:
    """What was lost, in words; only what applies."""
    parts = [
        (info.missing_bytes, f"{info.missing_bytes} bytes missing at the end"),
        (info.skipped_bytes, f"{info.skipped_bytes} bytes unreadable"),
        (info.num_cut_frames, f"{info.num_cut_frames} images cut"),
        (info.num_wrong_size, f"{info.num_wrong_size} images of a wrong size"),
        (info.num_stray_frames, f"{info.num_stray_frames} blocks of no track or time"),
        (info.is_unfinished, "never closed by its writer (or still being recorded)"),
        (info.lost_metadata, f"lost: {', '.join(info.lost_metadata)}"),
        (info.bad_tags, f"tags without a sensible value: {', '.join(info.bad_tags)}"),
    ]
    return ", ".join(text for is_so, text in parts if is_so)


def _factory_health(recording: Recording) -> tuple[CalibrationHealth | None, list[str]]:
    """Figures of the attached factory calibration, None if there is none to read, and what is wrong with it."""
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.commands.inspect.recording_health import measure_calibration

    if not recording.info.has_calibration:
        return None, ["no factory calibration is attached"]
    try:
        factory = parse_calibration(recording.calibration_json)
    except DataError as error:
        return None, [f"the factory calibration {error.what}"]
    return measure_calibration(recording.info, factory)


def _custom_tracks(recording: Recording) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "codec_id": track.codec_id,
            "codec_private_bytes": len(track.codec_private),
            "num_frames": recording.num_custom_frames(name),
        }
        for name, track in recording.custom_tracks.items()
    ]


def describe_take(path: Path) -> Description:
    """A take folder: its spec and what was recorded."""
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.take import load_take

    take = load_take(path, require_scans=False)
    captures: dict[str, int] = {}
    for sensor, recording_path in take.recordings.items():
        with open_recording(recording_path) as recording:
            captures[sensor] = recording.info.num_captures
    spec = take.spec
    num_pulses = 0 if take.pulse_index is None else len(take.pulse_index)
    record = spec.model_dump(mode="json", by_alias=True) | {
        "num_captures": captures,
        "num_scan_frames": len(take.scan_index),
        "num_scans": len(take.scan_paths),
        "num_pulses": num_pulses,
        "has_led": take.led is not None,
    }
    consent = "none" if spec.consent is None else f"{', '.join(spec.consent.scope)} ({spec.consent.licence})"
    scanner = (
        f"{len(take.scan_index)} frames, {len(take.scan_paths)} meshes, LED {'no' if take.led is None else 'yes'}"
        if len(take.scan_index)
        else "no scans yet"
    )
    lines = [
        f"  take        {spec.take_id} ({spec.kind}), rig {spec.rig}{'' if spec.date is None else f', {spec.date}'}",
        f"  subject     {spec.subject}, action {spec.action or '-'}",
        f"  consent     {consent}",
        *(f"  sensor {sensor:<5}{count} captures" for sensor, count in captures.items()),
        f"  scanner     {scanner}",
        f"  triggers    {num_pulses} pulses",
        *([f"  note        {spec.note}"] if spec.note else []),
    ]
    return record, lines


def describe_takes(path: Path) -> Description:
    """A folder of takes: one line each."""
    from anim_real.take import TakeSpec, find_takes

    specs = {str(folder.relative_to(path)): load_toml(TakeSpec, folder / "take.toml") for folder in find_takes(path)}
    record = {"takes": {name: spec.model_dump(mode="json", by_alias=True) for name, spec in specs.items()}}
    return record, [f"  {name:<24} {spec.kind:<12} {spec.subject:<12} {spec.action}" for name, spec in specs.items()]


def describe_factory(path: Path) -> Description:
    """Describe a factory calibration: both cameras at full resolution and their distance."""
    from anim_real.calibration import CameraModel, RigidModel
    from anim_real.capture.k4a_calibration import parse_calibration

    factory = parse_calibration(path.read_bytes(), where=path)
    color, depth = factory.camera("color", "1536P"), factory.camera("depth", "WFOV_UNBINNED")
    record = {
        "serial": factory.serial,
        "color": CameraModel.of(color, "1536P").model_dump(),
        "depth": CameraModel.of(depth, "WFOV_UNBINNED").model_dump(),
        "T_color_depth": RigidModel.of(factory.T_color_depth).model_dump(),
    }
    baseline_mm = float(np.linalg.norm(factory.T_color_depth.translation)) * 1e3
    lines = [
        f"  factory calibration of device {factory.serial or '?'}",
        f"  colour 1536P f {color.fx:.2f} {color.fy:.2f} c {color.cx:.2f} {color.cy:.2f} px",
        f"  depth WFOV_UNBINNED f {depth.fx:.2f} {depth.fy:.2f} c {depth.cx:.2f} {depth.cy:.2f} px",
        f"  depth to colour {baseline_mm:.2f} mm",
    ]
    return record, lines


def _decoded(recording: Recording) -> dict[str, Any]:
    """Figures that need every image."""
    corrupt_color = corrupt_depth = 0
    coverage: list[float] = []
    medians: list[float] = []
    stamps = recording.stamps()
    for frame in recording.captures():
        corrupt_color += frame.color is None and stamps.color_time_us[frame.index] >= 0
        corrupt_depth += frame.depth_mm is None and stamps.depth_time_us[frame.index] >= 0
        if frame.depth_mm is not None:
            coverage.append(float((frame.depth_mm > 0).mean()))
            medians.append(float(np.median(frame.depth_mm[frame.depth_mm > 0])) if coverage[-1] else 0.0)
    return {
        "num_corrupt_color": int(corrupt_color),
        "num_corrupt_depth": int(corrupt_depth),
        "num_bad_clusters": recording.num_bad_clusters(),
        "depth_coverage": float(np.mean(coverage)) if coverage else 0.0,
        "median_depth_mm": float(np.median(medians)) if medians else 0.0,
    }


def _mode(color_format: str | None, mode: str | None, size: tuple[int, int] | None) -> str:
    if mode is None or size is None:
        return "none"
    return f"{mode} {size[0]}x{size[1]}{'' if color_format is None else f' {color_format}'}"


def describe_record(path: Path) -> Description:
    """How a take was recorded, as ``record`` said it."""
    from anim_real.capture.recorder.record_log import SCHEMA, RecordLog
    from anim_real.commands.jobs.record_lines import record_lines
    from anim_real.specs import load_json

    log = load_json(RecordLog, path, schema=SCHEMA)
    head = f"  take {log.take_id}, rig {log.rig}, begun {log.began_at:%Y-%m-%d %H:%M:%S} UTC"
    return log.model_dump(mode="json", by_alias=True), [head, *(f"  {line}" for line in record_lines(log))]
