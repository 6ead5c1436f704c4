"""Gates: the measured numbers that accept or refuse a calibration, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anim_real.calibrate.bootstrap import BootstrapCheck
from anim_real.calibrate.coverage import Coverage
from anim_real.calibrate.evidence import HeldOut
from anim_real.calibrate.protocol import COLOR_REFERENCE_WIDTH_PX, DEPTH_REFERENCE_WIDTH_PX, ProtocolSpec
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibration import GateVerdict

_FAR = 5.0  # times the largest mean residual that passes: such a corner is wrong whatever the others do


def judge(
    problem: Problem,
    solution: Solution,
    coverage: Coverage,
    held_out: list[HeldOut],
    predicted_mm: float,
    bootstrap: BootstrapCheck | None,
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
            "Show more of the boards to the camera, sharp and lit, or at more places",
        ),
        _least(
            "spread in depth",
            coverage.depth_spread_m,
            limits.min_depth_spread_m,
            "m",
            f"Add placements nearer to and farther from the camera{_distances(coverage)}",
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
            "corners off one plane",
            coverage.off_plane_m,
            limits.min_off_plane_m,
            "m",
            f"{_coplanar(coverage)}: add placements that are turned, tilted or off that plane",
        ),
        _least(
            "share of the volume near a corner",
            coverage.volume_share,
            limits.min_volume_share,
            "",
            "Add placements where the person will be: low and high, left and right, near and far",
        ),
        _least(
            "share of corners kept",
            inlier_fraction(problem, solution),
            limits.min_inlier_fraction,
            "",
            f"Corners contradict each other{_worst_kept(problem, solution)}: did the target move between scan and "
            "capture, do scans and captures belong to different placements, or has every scan a frame of its own?",
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
            "bootstrap over covariance",
            None if bootstrap is None else bootstrap.ratio,
            limits.max_bootstrap_ratio,
            "",
            "Placements differ by more than the noise explains"
            + (
                ""
                if worst is None
                else f"; begin with placement {worst.placement}: did it move between scan and capture?"
            ),
        ),
        *_scan_shift(problem, solution),
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


def _scan_shift(problem: Problem, solution: Solution) -> list[GateVerdict]:
    """How far whole scans are from where the target stood; nothing where scans were taken for exact."""
    wobbles = problem.free_wobbles()
    if len(wobbles) == 0:
        return []
    return [
        _most(
            "scans' own error of place",
            float(solution.prior_sigma[wobbles[0, -1]]) * 1e3,
            problem.protocol.gates.max_scan_shift_mm,
            "mm",
            "The scanner places the target less exactly than the protocol allows for: calibrate the scanner, and check "
            "that it exports all scans in one frame",
        )
    ]


def inlier_fraction(problem: Problem, solution: Solution, placement: int | None = None) -> float:
    """Share of colour and IR corners that the solution explains, of one placement or of all.

    A corner must be no outlier among the others, and near in pixels: where everything is wrong nothing is an outlier.
    """
    limits, observations = problem.protocol.gates, problem.observations
    near_px = {
        "color": _FAR * limits.max_color_rms_px * observations.color.width / COLOR_REFERENCE_WIDTH_PX,
        "ir": _FAR * limits.max_color_rms_px * observations.depth.width / DEPTH_REFERENCE_WIDTH_PX,
    }
    kept = [
        inliers & (block.size < near_px[block.kind])
        for block, inliers in zip(solution.blocks, solution.inliers, strict=True)
        if block.kind in near_px and placement in (None, block.placement)
    ]
    return float(np.concatenate(kept).mean()) if kept else 0.0


def _worst_kept(problem: Problem, solution: Solution) -> str:
    limit = problem.protocol.gates.min_inlier_fraction
    seen = {block.placement for block in solution.blocks if block.kind in ("color", "ir")}
    bad = [key for key in sorted(seen) if inlier_fraction(problem, solution, key) < limit]
    return f" at placements {_names(bad)}" if bad else ""


def protocol_advice(protocol: ProtocolSpec) -> str:
    """What a good take looks like, in one sentence."""
    return f"Record at least {protocol.gates.min_placements} placements: near and far, left and right, low and high"


def _distances(coverage: Coverage) -> str:
    if not coverage.depth_m:
        return ""
    near, far = min(coverage.depth_m.values()), max(coverage.depth_m.values())
    return f": placements {_names(coverage.depth_m)} all stand {near:.2f} to {far:.2f} m away"


def _coplanar(coverage: Coverage) -> str:
    if not coverage.coplanar:
        return "All corners lie near one plane"
    pairs = [f"placements {first} and {second}" for first, second in coverage.coplanar[:3]]
    return " and ".join(pairs).capitalize() + " show the same plane"


def _names(keys: Iterable[int]) -> str:
    return ", ".join(str(key) for key in sorted(keys))


def _rounded(value: float) -> float:
    """Four significant digits: what a message needs."""
    return float(f"{value:.4g}")


def _least(name: str, value: float | int, limit: float, unit: str, advice: str) -> GateVerdict:
    return GateVerdict(
        name=name, value=_rounded(value), limit=float(limit), unit=unit, passed=bool(value >= limit), advice=advice
    )


def _most(name: str, value: float | None, limit: float, unit: str, advice: str) -> GateVerdict:
    """A number that could not be measured does not pass."""
    return GateVerdict(
        name=name,
        value=None if value is None else _rounded(value),
        limit=float(limit),
        unit=unit,
        passed=value is not None and value <= limit,
        advice=advice,
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
