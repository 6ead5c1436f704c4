"""Solve a take's clocks alone: offset, drift and lag of every sensor, with residuals and every dropped frame.

With a calibration the take's own stamps continue its clock map, as ingest does. Without one the coded LED tells it.
Where neither does, the performer's motion does, with a larger uncertainty (needs the calibration's pose).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, DataError, RefusedError
from anim_real.files import refuse_existing, write_json

if TYPE_CHECKING:
    from anim_real.calibration import Calibration
    from anim_real.commands.jobs.sync_evidence import SyncEvidence
    from anim_real.rig import RigSpec, SensorSpec
    from anim_real.take import Take

_SCHEMA = "anim-real/sync/1"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``sync``.

    Attributes:
        take: the take's folder.
        rig: name or path of the rig; default: what the take names.
        calibration: solved calibration whose clock maps and poses are used.
        by: what tells the clock; auto tries stamps, led and motion in this order.
        output: JSON to write with the clock maps and what is missing.
        report: HTML page with the residuals.
    """

    take: tyro.conf.Positional[Path]
    rig: str | None = None
    calibration: Path | None = None
    by: Literal["auto", "stamps", "led", "motion"] = "auto"
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    report: Path | None = None


def run(arguments: Arguments, console: Console) -> Result:
    """Solve and show; a sensor that is refused is a failure, all of them refused is exit 4."""
    from anim_real.calibration import load_calibration
    from anim_real.commands.jobs.sync_evidence import trigger_remark
    from anim_real.rig import load_rig
    from anim_real.take import load_take

    for path, suffix in ((arguments.output, ".json"), (arguments.report, ".html")):
        if path is not None:
            if path.suffix.lower() != suffix:
                raise ConfigError(f"its name must end in {suffix}", where=path, fix="Choose another name")
            refuse_existing(path)
    take = load_take(arguments.take)
    rig, _, rig_sha256 = load_rig(arguments.rig or take.spec.rig)
    calibration = None if arguments.calibration is None else load_calibration(arguments.calibration)
    if calibration is not None and calibration.rig_sha256 != rig_sha256:
        raise DataError(
            f"was solved for another version of rig {rig.name!r}",
            where=arguments.calibration,
            fix="Run calibrate again",
        )
    found: list[SyncEvidence] = []
    failures: list[str] = []
    for sensor in rig.sensors:
        try:
            found.append(_sensor(arguments, take, rig, sensor, calibration, console))
        except AnimRealError as error:
            failures.append(f"{sensor.id}: {error}")
    if not found:
        raise RefusedError("no clock could be solved", where=arguments.take, fix=failures[0])
    remark = trigger_remark(take, rig)
    record = {
        "schema": _SCHEMA,
        "take": take.spec.take_id,
        "rig": rig.name,
        "sensors": {evidence.sensor: evidence.record() for evidence in found},
        "trigger_log": remark,
    }
    if arguments.output is not None:
        write_json(arguments.output, record)
    if arguments.report is not None:
        _write_page(arguments.report, take, found, remark)
    lines = [line for evidence in found for line in evidence.lines()] + ([] if remark is None else [remark])
    path = arguments.output if arguments.output is not None else arguments.report
    return Result(path=path, record=record, lines=tuple(lines), failures=tuple(failures))


def _sensor(
    arguments: Arguments,
    take: Take,
    rig: RigSpec,
    sensor: SensorSpec,
    calibration: Calibration | None,
    console: Console,
) -> SyncEvidence:
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.commands.jobs.sync_evidence import sync_evidence
    from anim_real.commands.jobs.take_clocks import MEANS, find_clock

    solved = None if calibration is None else calibration.sensors.get(sensor.id)
    means = MEANS if arguments.by == "auto" else (arguments.by,)
    with open_recording(take.recording(sensor.id)) as recording:
        answer = find_clock(take, recording, rig, sensor, solved, console, means=means)
        return sync_evidence(take, recording, rig, sensor, answer.clock, answer.refusals)


def _write_page(path: Path, take: Take, found: list[SyncEvidence], remark: str | None) -> None:
    from anim_real.commands.jobs.sync_evidence import add_sync
    from anim_real.report import Report

    page = Report(f"Clocks of take {take.spec.take_id}")
    if remark is not None:
        page.text(remark)
    for evidence in found:
        add_sync(page, evidence)
    page.save(path)
