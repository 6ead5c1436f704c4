"""Gates: the measured numbers that accept or refuse a calibration, each with what to do about it."""

from __future__ import annotations

import numpy as np

from anim_real.calibrate.evidence import Coverage, HeldOut
from anim_real.calibrate.problem import Problem
from anim_real.calibrate.protocol import COLOR_REFERENCE_WIDTH_PX, ProtocolSpec
from anim_real.calibrate.solver import Solution
from anim_real.calibration import GateVerdict


def judge(
    problem: Problem,
    solution: Solution,
    coverage: Coverage,
    held_out: list[HeldOut],
    predicted_mm: float,
    *,
    prefix: str = "",
) -> tuple[GateVerdict, ...]:
    """Hold a solution against its protocol; every gate is listed, passed or not."""
    limits = problem.protocol.gates
    px_scale = problem.observations.color.width / COLOR_REFERENCE_WIDTH_PX
    delta = solution.state.T_color_depth @ problem.observations.T_color_depth.inverse()
    worst = max(held_out, key=lambda item: item.target_mm, default=None)
    held_px = [item.color_px for item in held_out if item.color_px is not None]
    depth_rms = solution.rms("depth")
    verdicts = [
        _least("placements", coverage.num_placements, limits.min_placements, "", "Record the target at more places"),
        _least(
            "color corners",
            coverage.num_color_corners,
            limits.min_color_corners,
            "",
            "Show more of the boards to the camera, sharp and lit",
        ),
        _least(
            "spread in depth",
            coverage.depth_spread_m,
            limits.min_depth_spread_m,
            "m",
            "Add placements nearer to and farther from the camera",
        ),
        _least(
            "spread sideways",
            coverage.lateral_spread_m,
            limits.min_lateral_spread_m,
            "m",
            "Add placements to the left and right",
        ),
        _least(
            "span in height", coverage.height_span_m, limits.min_height_span_m, "m", "Add placements lower and higher"
        ),
        _least(
            "share of corners kept",
            inlier_fraction(solution),
            limits.min_inlier_fraction,
            "",
            "Corners contradict each other: did the target move between scan and capture, or are captures swapped?",
        ),
        _most(
            "color residual",
            solution.rms("color"),
            limits.max_color_rms_px * px_scale,
            "px",
            "Check focus, motion and the scan's texture",
        ),
        _most(
            "depth residual",
            None if depth_rms is None else depth_rms * 1e3,
            limits.max_depth_rms_mm,
            "mm",
            "Check that the target was scanned where the sensor saw it, and that it is matt",
        ),
        _most(
            "held-out target error",
            _mean([item.target_mm for item in held_out]),
            limits.max_held_out_mm,
            "mm",
            "Placements disagree"
            + ("" if worst is None else f"; the worst is placement {worst.placement} ({worst.target_mm:.2f} mm)"),
        ),
        _most(
            "held-out color error",
            _mean(held_px),
            limits.max_held_out_px * px_scale,
            "px",
            "Placements disagree; spread them more",
        ),
        _most(
            "predicted target error",
            predicted_mm,
            limits.max_predicted_target_mm,
            "mm",
            "Add placements, spread over the volume and turned",
        ),
        _most(
            "depth-to-color turn from factory",
            float(np.degrees(np.linalg.norm(delta.rotvec))),
            limits.max_depth_to_color_deg,
            "deg",
            "Implausible: check the recording's factory calibration and the scanner's axes",
        ),
        _most(
            "depth-to-color shift from factory",
            float(np.linalg.norm(delta.translation) * 1e3),
            limits.max_depth_to_color_mm,
            "mm",
            "Implausible: check the scanner's unit",
        ),
        _most(
            "color focal length from factory",
            float(np.abs(solution.state.relative_focal).max() * 100),
            limits.max_focal_percent,
            "%",
            "Implausible: check the scanner's unit and the target's size",
        ),
        _least(
            "solver converged",
            float(solution.is_converged),
            1.0,
            "",
            "The solve did not settle; check the outliers in the report",
        ),
    ]
    return tuple(verdict.model_copy(update={"name": prefix + verdict.name}) for verdict in verdicts)


def inlier_fraction(solution: Solution) -> float:
    """Share of colour and IR corners that the solution kept."""
    kept = [inliers for block, inliers in zip(solution.blocks, solution.inliers, strict=True) if block.kind != "depth"]
    return float(np.concatenate(kept).mean()) if kept else 0.0


def protocol_advice(protocol: ProtocolSpec) -> str:
    """What a good take looks like, in one sentence."""
    return f"Record at least {protocol.gates.min_placements} placements: near and far, left and right, low and high"


def _least(name: str, value: float | int, limit: float, unit: str, advice: str) -> GateVerdict:
    return GateVerdict(
        name=name, value=float(value), limit=float(limit), unit=unit, passed=bool(value >= limit), advice=advice
    )


def _most(name: str, value: float | None, limit: float, unit: str, advice: str) -> GateVerdict:
    """A number that could not be measured does not pass."""
    return GateVerdict(
        name=name,
        value=value,
        limit=float(limit),
        unit=unit,
        passed=value is not None and value <= limit,
        advice=advice,
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
