"""Solve a rig's sensors against its scanner, and their clocks, from one calibration take.

Reads the take's recordings, textured scans and LED table. The result is written only if every gate of the
protocol passes; otherwise <output stem>.refused.json holds the numbers and the exit code is 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, DataError, RefusedError

if TYPE_CHECKING:
    from anim_real.calibrate.boards import Target
    from anim_real.calibrate.observe import PlacementImages
    from anim_real.calibrate.protocol import ProtocolSpec
    from anim_real.calibrate.report import SensorEvidence
    from anim_real.calibrate.scan_corners import ScanCorners
    from anim_real.calibrate.sensor import SensorSolution
    from anim_real.calibration import Calibration, ClockMap, SensorCalibration
    from anim_real.capture.k4a_mkv import Recording
    from anim_real.mesh import Mesh
    from anim_real.rig import RigSpec, SensorSpec
    from anim_real.take import Take

_MAX_CAPTURES = 16  # per placement: more only cost time
_MAX_CORNER_MOTION_PX = 1.0


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``anim-real calibrate``.

    Attributes:
        take: folder of the calibration take.
        output: the calibration to write (.json).
        rig: name or path of the rig.
        protocol: name or path of the protocol; the rig's own by default.
    """

    take: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    rig: str
    protocol: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedRig:
    """A calibration and the evidence for its report, by sensor id."""

    calibration: Calibration
    solutions: dict[str, SensorSolution]
    images: dict[str, dict[int, PlacementImages]]

    def evidence(self) -> dict[str, SensorEvidence]:
        """Residuals and pictures of every sensor."""
        from anim_real.calibrate.report import sensor_evidence

        return {key: sensor_evidence(solved, self.images[key]) for key, solved in self.solutions.items()}


def run(arguments: Arguments, console: Console) -> Result:
    """Solve, write, and refuse if a gate failed."""
    from anim_real.calibration import save_calibration
    from anim_real.files import refuse_existing

    if arguments.output.suffix != ".json":
        raise ConfigError(
            "a calibration is a .json file", where=arguments.output, fix="Give -o a name that ends in .json"
        )
    refuse_existing(arguments.output)
    solved = calibrate_take(arguments.take, arguments.rig, arguments.protocol, console)
    calibration = solved.calibration
    written = save_calibration(arguments.output, calibration)
    if not calibration.is_accepted:
        raise RefusedError(
            f"calibration refused: {calibration.refusal()}", where=arguments.take, fix=f"The numbers are in {written}"
        )
    return Result(path=written, record=_record(solved), lines=tuple(_lines(solved)))


def calibrate_take(folder: Path, rig_name: str, protocol_name: str | None, console: Console) -> SolvedRig:
    """Solve every sensor of the rig from a calibration take; judged, but neither written nor refused here."""
    from anim_real.calibrate.protocol import load_protocol
    from anim_real.calibrate.targets import load_target
    from anim_real.calibration import Calibration
    from anim_real.rig import load_rig
    from anim_real.take import load_take

    rig, rig_path, rig_sha256 = load_rig(rig_name)
    protocol, protocol_path = load_protocol(protocol_name or rig.protocol)
    take = load_take(folder)
    _check_take(take, rig)
    target = load_target(take.spec.target or rig.target)
    scans = _Scans(take, rig, target, console)
    sensors: dict[str, SensorCalibration] = {}
    solutions, images = {}, {}
    for spec in rig.sensors:
        prefix = f"{spec.id}: " if len(rig.sensors) > 1 else ""
        sensors[spec.id], solutions[spec.id], images[spec.id] = _solve_one(
            take, rig, spec, protocol, target, scans, console, prefix
        )
    calibration = Calibration(
        rig=rig.name,
        rig_sha256=rig_sha256,
        target=target.name,
        protocol=protocol.name,
        take_id=take.spec.take_id,
        sensors=sensors,
        gates=tuple(gate for solved in solutions.values() for gate in solved.gates),
        inputs_sha256=_inputs(take, rig, [rig_path, protocol_path]),
        tool_version=_version(),
        created=_now(),
    )
    return SolvedRig(calibration=calibration, solutions=solutions, images=images)


class _Scans:
    """The take's scans in metres with their corners, each found once for all sensors."""

    def __init__(self, take: Take, rig: RigSpec, target: Target, console: Console) -> None:
        from anim_real.calibrate.detect import CornerDetector
        from anim_real.calibrate.scan_corners import TexturedScan, find_scan_corners
        from anim_real.capture.scanner import load_scan

        self.detector = CornerDetector(target)
        self.meshes: dict[int, Mesh] = {}
        self.corners: dict[int, ScanCorners] = {}
        for frame, path in console.progress(sorted(take.scan_paths.items()), "scans", len(take.scan_paths)):
            mesh = load_scan(path, rig.scanner)
            try:
                self.corners[frame] = find_scan_corners(
                    TexturedScan(mesh), target, self.detector, up=rig.scanner.up_vector
                )
            except DataError as error:
                raise type(error)(error.what, where=path, fix=error.fix) from error
            self.meshes[frame] = mesh


def _solve_one(
    take: Take,
    rig: RigSpec,
    spec: SensorSpec,
    protocol: ProtocolSpec,
    target: Target,
    scans: _Scans,
    console: Console,
    prefix: str,
) -> tuple[SensorCalibration, SensorSolution, dict[int, PlacementImages]]:
    """Clock, observations and solve of one sensor."""
    import numpy as np

    from anim_real.calibrate.observations import Placement, SensorObservations
    from anim_real.calibrate.observe import observe_placement
    from anim_real.calibrate.sensor import sensor_calibration, solve_sensor
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.capture.k4a_mkv import open_recording

    with open_recording(take.recording(spec.id)) as recording:
        _check_recording(recording, spec)
        factory = parse_calibration(recording.calibration_json)
        console.say(f"{spec.id}: reading the LED")
        clock = _clock(recording, take, rig, spec)
        placements: list[Placement] = []
        images: dict[int, PlacementImages] = {}
        wanted = _captures_of_scans(recording, take, clock, protocol.segments.window_s, scans)
        for index, (scan_frame, captures) in enumerate(console.progress(wanted, f"{spec.id}: placements", len(wanted))):
            if not captures:
                continue
            frames = [recording.capture(number) for number in captures]
            placement, shown = observe_placement(
                index,
                scan_frame,
                scans.meshes[scan_frame],
                frames,
                target,
                scans.detector,
                up=rig.scanner.up_vector,
                scan_corners=scans.corners[scan_frame],
                max_motion_px=_MAX_CORNER_MOTION_PX,
            )
            placements.append(placement)
            images[index] = shown
        observations = SensorObservations(
            sensor=spec.id,
            color=factory.camera("color", spec.color_mode),
            depth=factory.camera("depth", spec.depth_mode),
            T_color_depth=factory.T_color_depth,
            placements=tuple(placements),
        )
        serial = recording.info.serial
    console.say(f"{spec.id}: solving {len(placements)} placements with {observations.num_corners} corners")
    solved = solve_sensor(
        observations,
        target,
        protocol,
        floor_center=np.array(rig.volume.center),
        up=rig.scanner.up_vector,
        gate_prefix=prefix,
    )
    record = sensor_calibration(
        solved, serial=serial, color_mode=spec.color_mode, depth_mode=spec.depth_mode, clock=clock
    )
    return record, solved, images


def _clock(recording: Recording, take: Take, rig: RigSpec, spec: SensorSpec) -> ClockMap:
    """Device clock to scanner clock from the coded LED."""
    import numpy as np

    from anim_real.sync.clocks import calibrate_clock, rig_stamps
    from anim_real.sync.led import LedSamples, locate_led

    if rig.led is None or take.led is None:
        raise DataError(
            "which capture shows which scan is told by a coded LED, and there is none",
            where=take.folder / "scans" / "led.csv",
            fix="Describe the LED under [led] in the rig and export its brightness per scanner frame as scans/led.csv",
        )
    stamps = recording.stamps()
    colored = np.flatnonzero(stamps.color_time_us >= 0)

    def frames() -> Any:
        for number in colored:
            capture = recording.capture(int(number))
            if capture.color is not None:
                yield int(stamps.color_time_us[number]), capture.color

    scanner = LedSamples(time_us=take.led["time_us"].to_numpy(np.int64), level=take.led["level"].to_numpy(np.float64))
    with_depth = stamps.depth_time_us[stamps.depth_time_us >= 0]
    times = rig_stamps(rig, spec, device_us=with_depth, scanner_us=take.scan_time_us)
    return calibrate_clock(spec.id, times, locate_led(frames(), rig.led), scanner, rig.led)


def _captures_of_scans(
    recording: Recording, take: Take, clock: ClockMap, window_s: float, scans: _Scans
) -> list[tuple[int, list[int]]]:
    """Per scan its frame index and the captures nearest in time within the window, in time order."""
    import numpy as np

    stamps = recording.stamps()
    on_scanner = clock.to_dst(stamps.time_us)
    scan_time = dict(zip(take.scan_index.tolist(), take.scan_time_us.tolist(), strict=True))
    answer = []
    for frame in sorted(scans.meshes):
        away = np.abs(on_scanner - scan_time[frame])
        near = np.argsort(away)[:_MAX_CAPTURES]
        answer.append((frame, sorted(int(stamps.index[k]) for k in near if away[k] <= window_s * 1e6)))
    return answer


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
    if not take.scan_paths:
        raise DataError(
            "the take holds no scans", where=take.folder / "scans", fix="Export one textured scan per placement"
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
    from anim_real.files import sha256_file
    from anim_real.resources import find

    target = find("calibration/targets", take.spec.target or rig.target)
    files = [take.recording(spec.id) for spec in rig.sensors] + [
        take.scan_paths[key] for key in sorted(take.scan_paths)
    ]
    files += [take.folder / "take.toml", take.folder / "scans" / "timestamps.csv", take.folder / "scans" / "led.csv"]
    inside = {path.relative_to(take.folder).as_posix(): sha256_file(path) for path in files if path.is_file()}
    return inside | {path.name: sha256_file(path) for path in [*others, target]}


def _record(solved: SolvedRig) -> dict[str, Any]:
    return {
        "sensors": {
            key: {
                "placements": len(item.problem.observations.placements),
                "color_rms_px": item.solution.rms("color"),
                "ir_rms_px": item.solution.rms("ir"),
                "depth_rms_mm": None if (rms := item.solution.rms("depth")) is None else rms * 1e3,
                "predicted_pose_mm": item.predicted_pose_mm,
                "predicted_target_mm": item.predicted_target_mm,
                "predicted_person_px": item.predicted_px,
                "held_out_mm": [held.target_mm for held in item.held_out],
                "clock": None if (clock := solved.calibration.sensors[key].clock) is None else clock.model_dump(),
            }
            for key, item in solved.solutions.items()
        },
        "gates": [gate.model_dump() for gate in solved.calibration.gates],
    }


def _lines(solved: SolvedRig) -> list[str]:
    lines = []
    for key, item in solved.solutions.items():
        held = [entry.target_mm for entry in item.held_out]
        lines.append(
            f"{key}: {item.coverage.num_placements} placements; residuals "
            f"{_number(item.solution.rms('color'), 'px')} in colour, "
            f"{_number(item.solution.rms('ir'), 'px')} in IR, "
            f"{_number(item.solution.rms('depth'), 'mm', 1e3)} in depth; "
            f"held out {_number(sum(held) / len(held) if held else None, 'mm')}; "
            f"expected over a person {item.predicted_target_mm:.2f} mm, {item.predicted_px:.2f} px"
        )
        clock = solved.calibration.sensors[key].clock
        if clock is not None:
            lines.append(
                f"{key}: clock offset {clock.offset_us / 1e6:.6f} s, drift {clock.drift_ppm:.2f} ppm, "
                f"residual {clock.residual_us:.0f} us, "
                f"margin {_number(clock.lag_margin, 'nats')}"
            )
    passed = sum(gate.passed for gate in solved.calibration.gates)
    return [*lines, f"gates: {passed} of {len(solved.calibration.gates)} passed"]


def _number(value: float | None, unit: str, factor: float = 1.0) -> str:
    return "none" if value is None else f"{value * factor:.2f} {unit}"


def _version() -> str:
    from anim_real import __version__

    return __version__


def _now() -> str:
    import datetime

    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
