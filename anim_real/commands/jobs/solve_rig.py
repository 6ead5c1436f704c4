"""Solve every sensor of a rig from a calibration take: read captures and scans, observe, clock, solve, judge."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anim_real import __version__
from anim_real.calibrate.evidence import person_points
from anim_real.calibrate.joint.evidence import Between
from anim_real.calibrate.joint.rig import between_record, solve_together
from anim_real.calibrate.observations import Placement, SensorObservations
from anim_real.calibrate.observe import PlacementImages
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.report import SensorEvidence, sensor_evidence
from anim_real.calibrate.sensor import FoundSensor, SensorSolution, sensor_calibration
from anim_real.calibration import Calibration, ClockMap, GateVerdict
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.recording.k4a_mkv import Recording, open_recording
from anim_real.commands.jobs.scan_captures import scan_captures
from anim_real.commands.jobs.target_scans import BoardScans, ObjectScans, load_target_scans
from anim_real.console import Console
from anim_real.errors import ConfigError, DataError
from anim_real.files import sha256_file
from anim_real.resources import find
from anim_real.rig import RigSpec, SensorSpec, load_rig
from anim_real.take import Take, load_take


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedRig:
    """A calibration and the evidence for its report, by sensor id."""

    calibration: Calibration
    solutions: dict[str, SensorSolution]
    images: dict[str, dict[int, PlacementImages]]
    between: tuple[Between, ...]

    def evidence(self) -> dict[str, SensorEvidence]:
        """Residuals and pictures of every sensor."""
        return {key: sensor_evidence(solved, self.images[key]) for key, solved in self.solutions.items()}


def solve_rig(folder: Path, rig_name: str, protocol_name: str | None, console: Console) -> SolvedRig:
    """Solve every sensor of the rig from a calibration take; judged, but neither written nor refused here."""
    rig, rig_path, rig_sha256 = load_rig(rig_name)
    protocol, protocol_path = load_protocol(protocol_name or rig.protocol)
    take = load_take(folder)
    _check_take(take, rig)
    scans = load_target_scans(take.spec.target or rig.target, take, rig, protocol, console)
    observed, failures = _observe_all(take, rig, scans, console)
    found = {key: item.found for key, item in observed.items()}
    if len(found) > 1:
        console.say(f"solving {', '.join(found)} together")
    points = person_points(np.array(rig.volume.center), rig.scanner.up_vector)
    solved = solve_together(found, scans.judge, points, is_rig=len(rig.sensors) > 1)
    sensors = {
        key: sensor_calibration(
            item,
            serial=observed[key].serial,
            color_mode=observed[key].spec.color_mode,
            depth_mode=observed[key].spec.depth_mode,
            clock=observed[key].clock,
        )
        for key, item in solved.sensors.items()
    }
    calibration = Calibration(
        rig=rig.name,
        rig_sha256=rig_sha256,
        target=scans.name,
        protocol=protocol.name,
        take_id=take.spec.take_id,
        sensors=sensors,
        between=tuple(between_record(pair) for pair in solved.between),
        gates=(*failures, *solved.gates),
        inputs_sha256=_inputs(take, rig, [rig_path, protocol_path]),
        tool_version=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    images = {key: item.images for key, item in observed.items()}
    return SolvedRig(calibration=calibration, solutions=solved.sensors, images=images, between=solved.between)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Observed:
    """One sensor solved on its own, with what belongs to its record and its report."""

    spec: SensorSpec
    serial: str | None
    clock: ClockMap
    found: FoundSensor
    images: dict[int, PlacementImages]


def _observe_all(
    take: Take, rig: RigSpec, scans: BoardScans | ObjectScans, console: Console
) -> tuple[dict[str, _Observed], list[GateVerdict]]:
    """Every sensor by id, and a failed gate for each that could not be solved while another could.

    Raises:
        DataError: no sensor could be solved; the first one's reason.
    """
    observed: dict[str, _Observed] = {}
    errors: dict[str, DataError] = {}
    for spec in rig.sensors:
        try:
            observed[spec.id] = _observe_one(take, rig, spec, scans, console)
        except DataError as error:
            errors[spec.id] = error
            console.say(f"{spec.id}: not solved: {error}")
    if not observed:
        raise next(iter(errors.values()))
    return observed, [
        GateVerdict(name=f"{key}: solved", value=0.0, limit=1.0, unit="", passed=False, advice=str(error))
        for key, error in errors.items()
    ]


def _observe_one(
    take: Take, rig: RigSpec, spec: SensorSpec, scans: BoardScans | ObjectScans, console: Console
) -> _Observed:
    """Clock, observations and own solve of one sensor."""
    with open_recording(take.recording(spec.id)) as recording:
        _check_recording(recording, spec)
        factory = parse_calibration(recording.calibration_json, where=f"{recording.path}:calibration.json")
        wanted = scan_captures(take, recording, rig, spec, scans.protocol.segments, console)
        check_radius = recording.info.check_radius
        color = factory.camera("color", spec.color_mode, check_radius=check_radius)
        placements: list[Placement] = []
        images: dict[int, PlacementImages] = {}
        pairs = console.progress(wanted.captures, f"{spec.id}: placements", len(wanted.captures))
        for index, (scan_frame, captures) in enumerate(pairs):
            if not captures:
                continue
            frames = [recording.capture(number) for number in captures]
            placement, shown = scans.observe(index, scan_frame, frames, color)
            placements.append(placement)
            images[index] = shown
        observations = SensorObservations(
            sensor=spec.id,
            color=color,
            depth=factory.camera("depth", spec.depth_mode, check_radius=check_radius),
            T_color_depth=factory.T_color_depth,
            placements=tuple(placements),
        )
        serial = recording.info.serial
    remark = scans.remark(images)
    if remark is not None:
        console.say(f"{spec.id}: {remark}")
    console.say(f"{spec.id}: solving {len(placements)} placements with {observations.num_corners} corners")
    return _Observed(spec=spec, serial=serial, clock=wanted.clock, found=scans.solve(observations), images=images)


def _check_take(take: Take, rig: RigSpec) -> None:
    spec_path = take.folder / "take.toml"
    if take.spec.kind != "calibration":
        raise ConfigError(
            f"is a take of kind {take.spec.kind!r}", where=spec_path, fix="calibrate needs a take of kind 'calibration'"
        )
    if take.spec.rig != rig.name:
        raise ConfigError(
            f"was recorded with rig {take.spec.rig!r}, not {rig.name!r}",
            where=spec_path,
            fix=f"Use --rig {take.spec.rig}",
        )


def _check_recording(recording: Recording, spec: SensorSpec) -> None:
    info = recording.info
    for key, found, expected in (
        ("color_mode", info.color_mode, spec.color_mode),
        ("depth_mode", info.depth_mode, spec.depth_mode),
        ("serial", info.serial, spec.serial or info.serial),
    ):
        if found != expected:
            raise ConfigError(
                f"{key} is {found}, the rig says {expected}",
                where=recording.path,
                fix=f"Correct sensor {spec.id} of the rig",
            )


def _inputs(take: Take, rig: RigSpec, others: list[Path]) -> dict[str, str]:
    """SHA-256 of every file that the result depends on: those of the take by path in it, the others by name."""
    target = find("calibration/targets", take.spec.target or rig.target)
    files = [take.recording(spec.id) for spec in rig.sensors] + [
        take.scan_paths[key] for key in sorted(take.scan_paths)
    ]
    files += [take.folder / "take.toml", take.folder / "scans" / "timestamps.csv", take.folder / "scans" / "led.csv"]
    inside = {path.relative_to(take.folder).as_posix(): sha256_file(path) for path in files if path.is_file()}
    return inside | {path.name: sha256_file(path) for path in [*others, target]}
