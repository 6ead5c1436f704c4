"""Pairs of one take: stamps to clock map, clock map to matches, every match checked against its scan.

Here capture and sync meet. Nothing is written; what is left out is listed with its reason.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.calibration import Calibration, ClockMap, SensorCalibration
from anim_real.capture.person_mask import mask_folder
from anim_real.capture.person_reader import PersonReader
from anim_real.capture.recording.k4a_mkv import Recording, open_recording
from anim_real.capture.scanner import load_scan
from anim_real.commands.jobs.sync_evidence import trigger_remark
from anim_real.commands.jobs.take_clocks import find_clock
from anim_real.console import Console
from anim_real.errors import DataError, NotFoundError
from anim_real.files import sha256_file
from anim_real.manifest import ManifestTake
from anim_real.rig import RigSpec, SensorSpec
from anim_real.sync.audit import Audit, PairLimits, PairQuality, Surfaces, audit_shift, pair_quality
from anim_real.sync.matching import Captures, FrameMatch, Matching, Scans, Unmatched, match_frames
from anim_real.take import Take

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PairingSetup:
    """What all takes share: rig, calibration, limits of a pair, tolerance in frames, seed."""

    rig: RigSpec
    calibration: Calibration
    limits: PairLimits
    tolerance: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class TakePairs:
    """A take for the manifest: its entry, its rows, what went wrong, what a person should know."""

    entry: ManifestTake
    rows: tuple[Row, ...]
    failures: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _SensorPairs:
    clock: ClockMap
    refusals: tuple[str, ...]
    audit: Audit
    rows: list[Row]
    unreadable: list[str]
    person_sources: dict[str, Any]
    num_captures: int
    num_incomplete: int
    num_dropped: int


def pair_take(take: Take, folder: str, setup: PairingSetup, console: Console) -> TakePairs:
    """Pair every capture of every sensor of a take with its scan.

    A sensor whose clock is refused or whose files are unreadable is listed as a failure, the others go on.

    Args:
        take: an opened take.
        folder: how the manifest names its folder.
        setup: rig, calibration and limits.
        console: progress.
    """
    done: dict[str, _SensorPairs] = {}
    failures, rows = [], []
    for sensor in setup.rig.sensors:
        try:
            done[sensor.id] = _pair_sensor(take, sensor, setup, console)
            rows += done[sensor.id].rows
        except (DataError, NotFoundError) as error:
            failures.append(f"take {take.spec.take_id}, sensor {sensor.id}: {error}")
            rows.append(_row(take, sensor.id, verdict="excluded", reason=str(error)))
            continue
        failures += [f"take {take.spec.take_id}: {problem}" for problem in done[sensor.id].unreadable]
        shift = done[sensor.id].audit.best_shift
        if shift != 0:
            failures.append(
                f"take {take.spec.take_id}, sensor {sensor.id}: the sync slipped, "
                f"depth fits the scans best at {shift:+d} frames"
            )
    entry = ManifestTake(
        take_id=take.spec.take_id,
        folder=folder,
        subject=take.spec.subject,
        action=take.spec.action,
        consent=take.spec.consent,
        files_sha256=_hashes(take, setup.rig),
        clocks={key: pairs.clock for key, pairs in done.items()},
        person_sources={key: pairs.person_sources for key, pairs in done.items()},
        best_offset_frames={key: pairs.audit.best_shift for key, pairs in done.items()},
        num_captures={key: pairs.num_captures for key, pairs in done.items()},
        num_incomplete={key: pairs.num_incomplete for key, pairs in done.items()},
        num_dropped={key: pairs.num_dropped for key, pairs in done.items()},
        num_scans=len(take.scan_paths),
        num_pairs=sum(row["verdict"] == "pair" for row in rows),
    )
    return TakePairs(entry=entry, rows=tuple(rows), failures=tuple(failures), remarks=_remarks(take, done, setup.rig))


def _pair_sensor(take: Take, sensor: SensorSpec, setup: PairingSetup, console: Console) -> _SensorPairs:
    if sensor.id not in setup.calibration.sensors:
        raise DataError(f"sensor {sensor.id!r} is not in the calibration", where=take.folder, fix="Calibrate it")
    solved = setup.calibration.sensors[sensor.id]
    with open_recording(take.recording(sensor.id)) as recording:
        require_device(recording, solved)
        stamps = recording.stamps()
        captures = Captures(index=stamps.index, time_us=stamps.time_us, is_complete=stamps.is_complete)
        scans = Scans(
            index=take.scan_index,
            time_us=take.scan_time_us,
            has_mesh=np.isin(take.scan_index, np.fromiter(take.scan_paths, dtype=np.int64)),
        )
        found = find_clock(take, recording, setup.rig, sensor, solved, console)
        matching = match_frames(
            captures,
            scans,
            found.clock,
            scan_period_us=1e6 / setup.rig.scanner.fps,
            device_period_us=1e6 / sensor.fps,
            tolerance=setup.tolerance,
        )
        reader = PersonReader(recording, solved, setup.rig, take.folder)
        audit, rows, unreadable = _check_pairs(take, reader, matching, setup, console)
    return _SensorPairs(
        clock=found.clock,
        refusals=found.refusals,
        audit=audit,
        rows=rows,
        unreadable=unreadable,
        person_sources=reader.sources.record(),
        num_captures=len(stamps.index),
        num_incomplete=int((~stamps.is_complete).sum()),
        num_dropped=matching.num_dropped,
    )


def require_device(recording: Recording, solved: SensorCalibration) -> None:
    """Refuse a recording of another device or mode than was calibrated."""
    modes = ((recording.info.color_mode, solved.color.mode), (recording.info.depth_mode, solved.depth.mode))
    for found, calibrated in modes:
        if found is not None and found != calibrated:
            raise DataError(
                f"was recorded in mode {found}, calibrated is {calibrated}",
                where=recording.path,
                fix="Calibrate this mode",
            )
    if solved.serial and recording.info.serial and recording.info.serial != solved.serial:
        raise DataError(
            f"was recorded by device {recording.info.serial}, the calibration is of {solved.serial}",
            where=recording.path,
            fix="Use the calibration of this device",
        )


def _check_pairs(
    take: Take, reader: PersonReader, matching: Matching, setup: PairingSetup, console: Console
) -> tuple[Audit, list[Row], list[str]]:
    """Audit the take's sync and measure every pair; scans that cannot be read are listed."""
    solved, sensor_id = reader.sensor, reader.sensor.sensor
    T_scan_depth = solved.T_color_scan.rigid().inverse() @ solved.T_color_depth.rigid()
    points: dict[int, np.ndarray] = {}

    def depth_points(kinect_index: int) -> np.ndarray:
        if kinect_index not in points:
            points.clear()
            points[kinect_index] = reader.points_scan(kinect_index)
        return points[kinect_index]

    surfaces = Surfaces(lambda index: load_scan(take.scan_paths[index], setup.rig.scanner), tuple(take.scan_paths))
    usable, rows, unreadable = [], [], []
    label = f"{take.spec.take_id} {sensor_id}: checking pairs"
    for match in console.progress(matching.matches, label):
        rng = _generator(setup.seed, take.spec.take_id, sensor_id, match.kinect_index)
        try:
            mesh, surface = surfaces.get(match.scan_index)
        except DataError as error:
            unreadable.append(str(error))
            rows.append(_pair_row(take, sensor_id, match, None, f"scan: {error.what}. {error.fix or ''}".rstrip(". ")))
            continue
        try:
            points_scan = depth_points(match.kinect_index)
        except (DataError, NotFoundError) as error:
            rows.append(_pair_row(take, sensor_id, match, None, f"depth: {error.what}"))
            continue
        quality = pair_quality(points_scan, mesh, surface, T_scan_depth.translation, rng)
        usable.append(match)
        rows.append(_pair_row(take, sensor_id, match, quality, setup.limits.verdict(quality)))
    audit = audit_shift(usable, surfaces, depth_points, _generator(setup.seed, take.spec.take_id, sensor_id, -1))
    if audit.best_shift != 0:
        for row in rows:
            row["verdict"], row["reason"] = (
                "excluded",
                f"audit: the take's depth fits the scans best at {audit.best_shift:+d} frames",
            )
    rows += [_unmatched_row(take, sensor_id, entry) for entry in matching.unmatched]
    rows.sort(key=lambda row: row["kinect_time_us"])
    return audit, rows, unreadable


def _generator(seed: int, take_id: str, sensor_id: str, index: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{take_id}:{sensor_id}:{index}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _row(take: Take, sensor_id: str, *, verdict: str, reason: str, **values: Any) -> Row:
    return {
        "take": take.spec.take_id,
        "subject": take.spec.subject,
        "sensor": sensor_id,
        "verdict": verdict,
        "reason": reason,
        **values,
    }


def _pair_row(take: Take, sensor_id: str, match: FrameMatch, quality: PairQuality | None, reason: str) -> Row:
    measured = {}
    if quality is not None and np.isfinite(quality.depth_to_scan_mm):
        measured = {
            "depth_coverage": round(quality.depth_coverage, 4),
            "depth_to_scan_mm": round(quality.depth_to_scan_mm, 3),
            "depth_bias_mm": round(quality.depth_bias_mm, 3),
        }
    return _row(
        take,
        sensor_id,
        verdict="excluded" if reason else "pair",
        reason=reason,
        kinect_index=match.kinect_index,
        scan_index=match.scan_index,
        kinect_time_us=match.kinect_time_us,
        scan_time_us=match.scan_time_us,
        dt_us=round(match.dt_us, 1),
        **measured,
    )


def _unmatched_row(take: Take, sensor_id: str, entry: Unmatched) -> Row:
    return _row(
        take,
        sensor_id,
        verdict="excluded",
        reason=entry.reason,
        kinect_index=entry.kinect_index,
        scan_index=entry.scan_index,
        kinect_time_us=entry.kinect_time_us,
        scan_time_us=entry.scan_time_us,
    )


def _remarks(take: Take, done: dict[str, _SensorPairs], rig: RigSpec) -> tuple[str, ...]:
    """What the trigger log and the audits tell a person."""
    remarks = [
        f"take {take.spec.take_id}, sensor {key}: too little motion (or too few pairs) to confirm the sync by geometry"
        for key, pairs in done.items()
        if pairs.audit.best_shift == 0 and not pairs.audit.is_decisive
    ]
    for key, pairs in done.items():
        if pairs.refusals:
            sigma_ms = (pairs.clock.offset_sigma_us or 0.0) * 1e-3
            told = f"the clock is told by {pairs.clock.method}, to ±{sigma_ms:.2f} ms"
            reasons = "; not by ".join(pairs.refusals)
            remarks.append(f"take {take.spec.take_id}, sensor {key}: {told}; not by {reasons}")
    lost = trigger_remark(take, rig)
    if lost is not None:
        remarks.append(f"take {take.spec.take_id}: {lost}")
    return tuple(remarks)


def _hashes(take: Take, rig: RigSpec) -> dict[str, str]:
    """SHA-256 of every file of the take, by path relative to it; a background outside it is hashed on its own."""
    paths: list[Path] = [take.folder / "take.toml", *take.recordings.values(), take.folder / "scans" / "timestamps.csv"]
    paths += [path for path in (take.folder / "triggers.csv", take.folder / "scans" / "led.csv") if path.is_file()]
    paths += list(take.scan_paths.values())
    if rig.person.masks is not None:
        paths += [
            path for sensor_id in take.recordings for path in sorted(mask_folder(sensor_id, take.folder).glob("*.png"))
        ]
    return {path.relative_to(take.folder).as_posix(): sha256_file(path) for path in paths}
