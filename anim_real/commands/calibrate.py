"""Solve a rig's sensors against its scanner, and their clocks, from one calibration take.

Reads the take's recordings, scans (textured, where the target has boards) and LED table. The result is written only
if every gate of the protocol passes; otherwise <output stem>.refused.json holds the numbers and the exit code is 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from anim_real.calibrate.sensor import SensorSolution
    from anim_real.commands.jobs.solve_rig import SolvedRig


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``anim-real calibrate``.

    Attributes:
        take: folder of the calibration take.
        output: the calibration to write (.json).
        rig: name or path of the rig.
        protocol: name or path of the protocol; the rig's own by default.
        report: HTML report to write as well: residuals, overlays, correlations.
    """

    take: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    rig: str
    protocol: str | None = None
    report: Path | None = None


def run(arguments: Arguments, console: Console) -> Result:
    """Solve, write, and refuse if a gate failed."""
    return run_with_evidence(arguments, console)[0]


def run_with_evidence(arguments: Arguments, console: Console) -> tuple[Result, SolvedRig]:
    """Do what ``run`` does, and hand over the residuals and pictures too."""
    from anim_real.calibration import save_calibration
    from anim_real.files import refuse_existing

    if arguments.output.suffix != ".json":
        raise ConfigError(
            "a calibration is a .json file", where=arguments.output, fix="Give -o a name that ends in .json"
        )
    for path in (arguments.output, arguments.report):
        if path is not None:
            refuse_existing(path)
    from anim_real.commands.jobs.solve_rig import solve_rig

    solved = solve_rig(arguments.take, arguments.rig, arguments.protocol, console)
    calibration = solved.calibration
    written = save_calibration(arguments.output, calibration)
    if arguments.report is not None:
        _write_report(arguments.report, solved)
    if not calibration.is_accepted:
        raise RefusedError(
            f"calibration refused: {calibration.refusal()}", where=arguments.take, fix=f"The numbers are in {written}"
        )
    return Result(path=written, record=_record(solved), lines=tuple(_lines(solved))), solved


def _write_report(path: Path, solved: SolvedRig) -> None:
    from anim_real.commands.jobs.calibration_page import add_calibration
    from anim_real.report import Report

    report = Report(f"Calibration of rig {solved.calibration.rig} from take {solved.calibration.take_id}")
    add_calibration(report, solved)
    report.save(path)


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
                "held_out_depth_mm": list(item.held_out_depth_mm.values()),
                "color_is_factory": item.color_is_factory,
                "clock": None if (clock := solved.calibration.sensors[key].clock) is None else clock.model_dump(),
            }
            for key, item in solved.solutions.items()
        },
        "between": [
            {
                "first": pair.first,
                "second": pair.second,
                "scans": pair.num_scans,
                "predicted_mm": pair.predicted_mm,
                "predicted_separate_mm": pair.separate_mm,
                "moved_mm": pair.moved_mm,
                "held_out_mm": list(pair.held_out_mm.values()),
            }
            for pair in solved.between
        ],
        "gates": [gate.model_dump() for gate in solved.calibration.gates],
    }


def _lines(solved: SolvedRig) -> list[str]:
    lines = []
    for key, item in solved.solutions.items():
        lines += _depth_lines(key, item) if item.color_is_factory else [_corner_line(key, item)]
        clock = solved.calibration.sensors[key].clock
        if clock is not None:
            lines.append(
                f"{key}: clock offset {clock.offset_us / 1e6:.6f} s, drift {clock.drift_ppm:.2f} ppm, "
                f"residual {clock.residual_us:.0f} us, "
                f"margin {_number(clock.lag_margin, 'nats')}"
            )
            if clock.method == "stillness":
                sigma_ms = 1e-3 * (clock.offset_sigma_us or 0.0)
                lines.append(
                    f"{key}: the clock was told by stillness, to ±{sigma_ms:.0f} ms: enough for this calibration, "
                    "not for takes, which need an LED or motion of their own"
                )
    lines += [
        f"{pair.first} to {pair.second}: {pair.num_scans} common scans; "
        f"held out {_number(pair.mean_held_out_mm, 'mm')}; "
        f"expected between them {pair.predicted_mm:.2f} mm, {pair.separate_mm:.2f} mm if solved apart"
        for pair in solved.between
    ]
    passed = sum(gate.passed for gate in solved.calibration.gates)
    return [*lines, f"gates: {passed} of {len(solved.calibration.gates)} passed"]


def _corner_line(key: str, item: SensorSolution) -> str:
    held = [entry.target_mm for entry in item.held_out]
    return (
        f"{key}: {item.coverage.num_placements} placements; residuals "
        f"{_number(item.solution.rms('color'), 'px')} in colour, "
        f"{_number(item.solution.rms('ir'), 'px')} in IR, "
        f"{_number(item.solution.rms('depth'), 'mm', 1e3)} in depth; "
        f"held out {_number(sum(held) / len(held) if held else None, 'mm')}; "
        f"expected over a person {item.predicted_target_mm:.2f} mm, {item.predicted_px:.2f} px"
    )


def _depth_lines(key: str, item: SensorSolution) -> list[str]:
    held = list(item.held_out_depth_mm.values())
    return [
        f"{key}: {item.coverage.num_placements} placements without markers; residual "
        f"{_number(item.solution.rms('depth'), 'mm', 1e3)} in depth; "
        f"held out {_number(sum(held) / len(held) if held else None, 'mm')} in depth; "
        f"expected over a person {item.predicted_target_mm:.2f} mm",
        f"{key}: the colour camera was not observed: it and its place by the depth camera are the factory's; "
        f"expected over a person {item.predicted_pose_mm:.0f} mm, {item.predicted_px:.1f} px. Where colour must lie on "
        "the scan, calibrate with a target that has boards",
    ]


def _number(value: float | None, unit: str, factor: float = 1.0) -> str:
    return "none" if value is None else f"{value * factor:.2f} {unit}"
