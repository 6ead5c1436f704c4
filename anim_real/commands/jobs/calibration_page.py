"""The calibration's pages of a report: gates, residuals, overlays of every placement, uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anim_real.calibrate.overlays import MAP_RANGE_MM
from anim_real.calibrate.report import SensorEvidence
from anim_real.calibrate.solve.state import PARAMETER_NAMES
from anim_real.calibration import SensorCalibration
from anim_real.commands.jobs.calibration_charts import residual_maps, volume_chart
from anim_real.commands.jobs.solve_rig import SolvedRig
from anim_real.report import Report, histogram, side_by_side

if TYPE_CHECKING:
    from anim_real.calibrate.sensor import SensorSolution

_LABELS = {
    "color": "corner residual in colour, px",
    "ir": "corner residual in IR, px",
    "depth": "depth residual, mm",
    "sphere": "error of spheres' centres, mm",
}
_KIND_NAMES = {"color": "colour corners", "ir": "IR corners", "depth": "depth pixels", "sphere": "spheres"}
_STRONG_CORRELATION = 0.9


def add_calibration(report: Report, solved: SolvedRig) -> None:
    """Add the gates' verdicts and, per sensor, residuals and pictures."""
    report.heading("Calibration")
    report.table(
        ("gate", "value", "limit", "unit", "passed", "advice"),
        [
            (gate.name, _fine(gate.value), gate.limit, gate.unit, gate.passed, "" if gate.passed else gate.advice)
            for gate in solved.calibration.gates
        ],
    )
    if len(solved.calibration.sensors) > 1:
        _add_between(report, solved)
    for name, evidence in solved.evidence().items():
        report.heading(f"{name}: residuals")
        _add_residuals(report, solved.calibration.sensors[name], evidence)
        report.chart(
            residual_maps(solved.solutions[name]),
            "where the residuals are: what is left must look random over the images and over distance",
        )
        report.heading(f"{name}: expected errors")
        _add_uncertainty(report, solved.solutions[name])
        report.heading(f"{name}: before and after")
        _add_left_out(report, evidence)
        report.heading(f"{name}: every placement")
        report.text(
            "Before: the factory's cameras at the first pose. After: as solved. "
            f"{_drawn(solved.solutions[name], evidence)} Depth minus scan: blue -{MAP_RANGE_MM:.0f} mm (too near) to "
            f"red +{MAP_RANGE_MM:.0f} mm, grey where nothing was measured."
        )
        for placement in evidence.placements:
            images = [placement.factory_overlay, placement.color_overlay]
            images += [] if placement.ir_overlay is None else [placement.ir_overlay]
            images.append(placement.depth_map)
            used = f"{len(placement.captures)} captures, {placement.num_moving} left out as moving"
            report.picture(
                side_by_side(images),
                f"{name}, placement {placement.placement} (scan {placement.scan_frame}; {used})",
            )


def _add_between(report: Report, solved: SolvedRig) -> None:
    """How well the sensors agree with each other."""
    report.table(
        (
            "between sensors, mm over a person",
            "common scans",
            "expected, solved together",
            "expected, solved apart",
            "moved by solving together",
            "held out: mean",
            "held out: largest (scan)",
        ),
        [
            (
                f"{pair.first} to {pair.second}",
                pair.num_scans,
                round(pair.predicted_mm, 2),
                round(pair.separate_mm, 2),
                round(pair.moved_mm, 2),
                None if pair.mean_held_out_mm is None else round(pair.mean_held_out_mm, 2),
                _largest(pair.held_out_mm),
            )
            for pair in solved.between
        ]
        or [("no two sensors saw the same scan: each was solved on its own", "", "", "", "", "", "")],
    )


def _largest(held_out_mm: dict[int, float]) -> str:
    worst = max(held_out_mm, key=lambda scan: held_out_mm[scan], default=None)
    return "" if worst is None else f"{held_out_mm[worst]:.2f} ({worst})"


def _drawn(solved: SensorSolution, evidence: SensorEvidence) -> str:
    """What the overlays show."""
    if solved.color_is_factory:
        return "Blue: the scan's outline (no corners: the target has no boards)."
    return (
        f"Green: corners seen; yellow: their residuals, {evidence.arrow_scale} times longer (red: left out); blue: the "
        "scan's outline."
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2) + 0.0  # no -0


def _fine(value: float | None) -> float | None:
    return None if value is None else round(value, 3) + 0.0


def _add_residuals(report: Report, sensor: SensorCalibration, evidence: SensorEvidence) -> None:
    report.table(
        (f"{evidence.sensor}: placement", "colour rms px", "IR rms px", "depth rms mm")
        + (("held out mm along depth",) if sensor.color_is_factory else ("held out mm", "held out px")),
        [
            (p.placement, _fine(p.color_rms_px), _fine(p.ir_rms_px), _short(p.depth_rms_mm))
            + (
                (_short(p.held_out_depth_mm),)
                if sensor.color_is_factory
                else (_short(p.held_out_target_mm), _fine(p.held_out_color_px))
            )
            for p in sensor.placements
        ],
    )
    spheres = [(p.placement, sphere) for p in sensor.placements for sphere in p.spheres]
    if spheres:
        report.table(
            (f"{evidence.sensor}: placement", "sphere", "error mm", "radius mm: scan", "depth", "used", "why not"),
            [
                (
                    number,
                    sphere.sphere,
                    _short(sphere.error_mm),
                    _short(sphere.scan_radius_error_mm),
                    _short(sphere.depth_radius_error_mm),
                    sphere.used,
                    sphere.reason,
                )
                for number, sphere in spheres
            ],
        )
    if sensor.color_is_factory:
        report.text(
            "The target has no markers: depth alone was observed. The colour camera and the transform from depth to "
            "colour are the factory's. What is expected in px is what the protocol expects of the factory: where "
            "colour must lie on the scan, calibrate with a target that has boards."
        )
    for kind, residuals in evidence.residuals.items():
        if len(residuals):
            caption = f"{len(residuals)} kept, {evidence.outliers[kind]} left out"
            report.chart(histogram(residuals.ravel(), _LABELS[kind]), caption)
    report.facts(
        {
            "depth bias": sensor.depth_bias.describe(),
            "expected over a person": f"{evidence.predicted_target_mm:.2f} mm"
            + f", {evidence.predicted_px:.3f} px"
            + (" (the factory's colour)" if sensor.color_is_factory else ""),
        }
    )


def _add_uncertainty(report: Report, solved: SensorSolution) -> None:
    """Where the target stood, and how large the covariance expects the error to be over the volume."""
    covered = solved.coverage
    check = solved.bootstrap
    seen = "depth pixel" if solved.color_is_factory else "corner"
    report.facts(
        {
            "placements seen": f"{covered.num_placements}"
            + ("" if solved.color_is_factory else f", {covered.num_color_corners} colour corners kept"),
            "spread in depth, sideways, in height": f"{covered.depth_spread_m:.2f} m, "
            f"{covered.lateral_spread_m:.2f} m, {covered.height_span_m:.2f} m",
            f"volume within 0.35 m of a {seen}": f"{100 * covered.volume_share:.0f} %",
            "bootstrap over placements / covariance": "too few placements"
            if check is None
            else f"{check.bootstrap_mm:.2f} / {check.jacobian_mm:.2f} mm = {check.ratio:.2f}",
        }
    )
    report.chart(
        volume_chart(solved),
        f"A person's volume from the side and as the camera sees it: {seen}s observed (dots; grey: the volume), and "
        "the error expected there",
    )


def _add_left_out(report: Report, evidence: SensorEvidence) -> None:
    """What the solution does not explain, and which parameters it can hardly tell apart."""
    report.table(
        ("left out", "placement", "of", "share %", "median", "largest", "unit", "worst corners"),
        [
            (
                f"{item.num} {_KIND_NAMES[item.kind]}",
                item.placement,
                item.num_seen,
                round(100 * item.num / item.num_seen, 1),
                round(item.median, 2),
                round(item.largest, 2),
                "px" if item.kind in ("color", "ir") else "mm",
                " ".join(str(key) for key in item.corners[:8]),
            )
            for item in evidence.left_out
        ],
    )
    report.table(
        ("median residual", "before (factory)", "after"),
        [(_LABELS[kind], round(before, 3), round(evidence.after[kind], 3)) for kind, before in evidence.before.items()],
    )
    report.table(
        ("strongly correlated", "with", "correlation"),
        _strong_pairs(evidence) or [("nothing above 0.9", "", "")],
    )


def _strong_pairs(evidence: SensorEvidence) -> list[tuple[str, str, float]]:
    """Name the parameters that the data can hardly tell apart."""
    upper = np.triu(np.abs(np.nan_to_num(evidence.correlation)), 1)
    rows, columns = np.nonzero(upper > _STRONG_CORRELATION)
    return [
        (PARAMETER_NAMES[i], PARAMETER_NAMES[j], round(float(evidence.correlation[i, j]), 3))
        for i, j in zip(rows, columns, strict=True)
    ]
