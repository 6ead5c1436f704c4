"""The calibration's pages of a report: gates, residuals, overlays of every placement, uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anim_real.calibrate.report import SensorEvidence
from anim_real.calibrate.state import PARAMETER_NAMES
from anim_real.calibration import SensorCalibration
from anim_real.commands.jobs.solve_rig import SolvedRig
from anim_real.report import Report, histogram, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anim_real.calibrate.sensor import SensorSolution

_LABELS = {
    "color": "corner residual in colour, px",
    "ir": "corner residual in IR, px",
    "depth": "depth residual, mm",
}
_KIND_NAMES = {"color": "colour corners", "ir": "IR corners", "depth": "depth pixels"}
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
        _add_uncertainty(report, solved.solutions[name])
        _add_left_out(report, evidence)
        for placement in evidence.placements:
            images = [placement.factory_overlay, placement.color_overlay, placement.depth_map]
            if placement.ir_overlay is not None:
                images.append(placement.ir_overlay)
            used = f"{len(placement.captures)} captures, {placement.num_moving} left out as moving"
            report.picture(
                side_by_side(images),
                f"{name}, placement {placement.placement} (scan {placement.scan_frame}; {used}): before "
                f"(factory cameras, first pose) and after: {_drawn(solved.solutions[name])}; depth minus scan, "
                "blue -8 mm to red +8 mm; IR",
            )


def _drawn(solved: SensorSolution) -> str:
    """What the overlays show."""
    if solved.color_is_factory:
        return "the scan's outline (no corners: the target has no boards)"
    return "corners with residuals drawn 20 times longer, and the scan's outline"


def _add_residuals(report: Report, sensor: SensorCalibration, evidence: SensorEvidence) -> None:
    report.table(
        (f"{evidence.sensor}: placement", "colour rms px", "IR rms px", "depth rms mm")
        + (("held out mm along depth",) if sensor.color_is_factory else ("held out mm", "held out px")),
        [
            (p.placement, p.color_rms_px, p.ir_rms_px, p.depth_rms_mm)
            + ((p.held_out_depth_mm,) if sensor.color_is_factory else (p.held_out_target_mm, p.held_out_color_px))
            for p in sensor.placements
        ],
    )
    if sensor.color_is_factory:
        report.text(
            "The target has no markers: depth alone was observed. The colour camera and the transform from depth to "
            "colour are the factory's, and the expected error does not hold theirs."
        )
    for kind, residuals in evidence.residuals.items():
        if len(residuals):
            caption = f"{len(residuals)} kept, {evidence.outliers[kind]} left out"
            report.chart(histogram(residuals.ravel(), _LABELS[kind]), caption)
    report.facts(
        {
            "depth bias": f"{1e3 * sensor.depth_bias.offset_m:.2f} mm + {1e3 * sensor.depth_bias.slope:.3f} mm per m",
            "expected over a person": f"{evidence.predicted_target_mm:.2f} mm"
            + ("" if sensor.color_is_factory else f", {evidence.predicted_px:.3f} px"),
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
    report.chart(_volume_chart(solved), f"left: {seen}s observed (dots) and the volume's grid; right: expected error")


def _volume_chart(solved: SensorSolution) -> Figure:
    """Two views of the volume in the colour camera's axes: what was observed, and the expected target error."""
    from matplotlib.figure import Figure

    state = solved.solution.state
    grid = state.T_color_scan.apply(solved.volume_scan)
    observed = [placement.color.points_scan for placement in solved.problem.observations.placements]
    if solved.color_is_factory:
        observed = [points.anchors_scan for points in solved.solution.depth_points.values()]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(grid[:, 2], -grid[:, 1], "s", color="0.85", markersize=3)
    for points_scan in observed:
        if not len(points_scan):
            continue
        points = state.T_color_scan.apply(points_scan)
        left.plot(points[:, 2], -points[:, 1], ".", markersize=3)
    shown = right.scatter(grid[:, 2], -grid[:, 1], c=solved.target_map_mm, s=30, cmap="viridis")
    figure.colorbar(shown, ax=right, label="expected target error, mm")
    for axes in (left, right):
        axes.set_xlabel("away from the camera, m")
        axes.set_ylabel("up, m")
        axes.set_aspect("equal")
    return figure


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
                "mm" if item.kind == "depth" else "px",
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
