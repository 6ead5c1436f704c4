"""The calibration's pages of a report: gates, residuals, overlays of every placement, uncertainty."""

from __future__ import annotations

import numpy as np

from anim_real.calibrate.report import SensorEvidence
from anim_real.calibrate.state import PARAMETER_NAMES
from anim_real.calibration import SensorCalibration
from anim_real.commands.jobs.solve_rig import SolvedRig
from anim_real.report import Report, histogram, side_by_side

_LABELS = {
    "color": "corner residual in colour, px",
    "ir": "corner residual in IR, px",
    "depth": "depth residual, mm",
}
_STRONG_CORRELATION = 0.9


def add_calibration(report: Report, solved: SolvedRig) -> None:
    """Add the gates' verdicts and, per sensor, residuals and pictures."""
    report.heading("Calibration")
    report.table(
        ("gate", "value", "limit", "unit", "passed", "advice"),
        [
            (gate.name, gate.value, gate.limit, gate.unit, gate.passed, "" if gate.passed else gate.advice)
            for gate in solved.calibration.gates
        ],
    )
    for name, evidence in solved.evidence().items():
        _add_residuals(report, solved.calibration.sensors[name], evidence)
        for placement in evidence.placements:
            images = [placement.color_overlay, placement.depth_map]
            if placement.ir_overlay is not None:
                images.append(placement.ir_overlay)
            used = f"{len(placement.captures)} captures, {placement.num_moving} left out as moving"
            report.picture(
                side_by_side(images),
                f"{name}, placement {placement.placement} (scan {placement.scan_frame}; {used}): corners with "
                "residuals drawn 20 times longer and the scan's outline; depth minus scan, blue -8 mm to red +8 mm; IR",
            )


def _add_residuals(report: Report, sensor: SensorCalibration, evidence: SensorEvidence) -> None:
    report.table(
        (f"{evidence.sensor}: placement", "colour rms px", "IR rms px", "depth rms mm", "held out mm", "held out px"),
        [
            (p.placement, p.color_rms_px, p.ir_rms_px, p.depth_rms_mm, p.held_out_target_mm, p.held_out_color_px)
            for p in sensor.placements
        ],
    )
    for kind, residuals in evidence.residuals.items():
        if len(residuals):
            caption = f"{len(residuals)} kept, {evidence.outliers[kind]} left out"
            report.chart(histogram(residuals.ravel(), _LABELS[kind]), caption)
    report.facts(
        {
            "depth bias": f"{1e3 * sensor.depth_bias.offset_m:.2f} mm + {1e3 * sensor.depth_bias.slope:.3f} mm per m",
            "expected over a person": f"{evidence.predicted_target_mm:.2f} mm, {evidence.predicted_px:.3f} px",
            "strongly correlated": "; ".join(_strong_pairs(evidence)) or "nothing above 0.9",
        }
    )


def _strong_pairs(evidence: SensorEvidence) -> list[str]:
    """Name the parameters that the data can hardly tell apart."""
    upper = np.triu(np.abs(np.nan_to_num(evidence.correlation)), 1)
    rows, columns = np.nonzero(upper > _STRONG_CORRELATION)
    return [
        f"{PARAMETER_NAMES[i]} / {PARAMETER_NAMES[j]} ({evidence.correlation[i, j]:+.2f})"
        for i, j in zip(rows, columns, strict=True)
    ]
