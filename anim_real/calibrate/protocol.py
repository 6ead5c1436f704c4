"""The protocol: what the solver estimates, how strongly it trusts the factory, and which results are refused.

Written by people as ``calibration/protocols/<name>.toml``; units are in the keys' names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from anim_real.resources import find
from anim_real.specs import Spec, load_toml

COLOR_REFERENCE_WIDTH_PX, DEPTH_REFERENCE_WIDTH_PX = 1280.0, 640.0  # image widths that limits in pixels refer to
Estimated = Literal[
    "depth_bias", "depth_curve", "depth_to_color", "color_focal", "color_center", "depth_lens", "depth_ripple",
    "scan_wobble",
]  # fmt: skip


class SolverSpec(Spec):
    """What is estimated beside the pose, and the weights at the start (rescaled by the residuals' spread later).

    Attributes:
        estimate: groups of parameters that are free; the others keep the factory's values.
        depth_points: depth pixels used per placement.
        depth_effective: how many independent samples they count for at most: neighbours share their errors.
        depth_sigma_mm, corner_sigma_px: expected errors before anything is known.
        sphere_sigma_mm: what a sphere's centre errs by, per axis, beyond the spread of its own pixels.
    """

    estimate: tuple[Estimated, ...] = (
        "depth_bias", "depth_curve", "depth_to_color", "color_focal", "color_center", "depth_lens", "depth_ripple",
        "scan_wobble",
    )  # fmt: skip
    depth_points: int = Field(default=1500, gt=0)
    depth_effective: float = Field(default=100.0, gt=0)
    depth_sigma_mm: float = Field(default=3.0, gt=0)
    sphere_sigma_mm: float = Field(default=0.15, gt=0)
    corner_sigma_px: float = Field(default=0.3, gt=0)


class PriorsSpec(Spec):
    """Standard deviations about the factory's values; pixels are those of a 1280 pixel wide image.

    Users report 10 to 20 mm between colour and depth at 2 m per unit: 0.3 to 0.6 degrees. ``focal_percent`` is of both
    focal lengths together, ``aspect_percent`` of their ratio.

    No observation tells a shift of the depth lens from a turn of its camera, so the covariance is only as honest as the
    belief about that lens. Nothing is published about it: ``depth_focal_percent`` and ``depth_center_px`` are what the
    simulated factory gets wrong (``studio.factory.FactoryErrors``; a test holds them equal). ``scan_shift_mm``,
    ``scan_turn_deg`` and ``scan_bend_m`` are those of a scanner that bends space by 0.2 mm over 0.8 to 2.5 m
    (``studio.bend``: 0.09 mm, 0.0105 degrees and 0.42 m by maximum likelihood), with half on top. A take that shows
    more gets wider ones, up to the gate ``max_scan_shift_mm``.
    """

    depth_to_color_deg: float = Field(default=0.3, gt=0)
    depth_to_color_mm: float = Field(default=3.0, gt=0)
    bias_offset_mm: float = Field(default=12.0, gt=0)
    bias_slope: float = Field(default=0.01, gt=0)
    depth_curve_mm: float = Field(default=0.8, gt=0, description="depth error over range beyond offset and slope")
    depth_curve_m: float = Field(default=0.14, gt=0, description="range over which that error stays alike")
    focal_percent: float = Field(default=0.3, gt=0)
    aspect_percent: float = Field(default=0.1, gt=0)
    center_px: float = Field(default=2.0, gt=0)
    depth_focal_percent: float = Field(default=0.02, gt=0)
    depth_center_px: float = Field(default=0.1, gt=0, description="of a 640 pixel wide depth image")
    depth_ripple_mm: float = Field(
        default=0.5, gt=0, description="systematic depth error of a placement beyond offset, slope and curve"
    )
    depth_tilt_mm: float = Field(default=0.25, gt=0, description="how much that error changes over 0.2 m")
    scan_shift_mm: float = Field(default=0.135, gt=0, description="error of a whole scan's place: scanners bend space")
    scan_turn_deg: float = Field(default=0.0152, gt=0, description="error of a whole scan's turn")
    scan_bend_m: float = Field(default=0.4, gt=0, description="distance over which the scanner's errors stay alike")


class SegmentsSpec(Spec):
    """Which captures show a placement: those near the scan's time during which nothing moved.

    Attributes:
        window_s: how far a capture may be from its scan.
        max_captures: at most so many, the nearest in time: more only cost time.
        max_motion_px: how far corners may move from the middle capture (median; pixels of a 1280 pixel wide image).
    """

    window_s: float = Field(default=0.6, gt=0)
    max_captures: int = Field(default=16, ge=1)
    max_motion_px: float = Field(default=1.0, gt=0)


class GatesSpec(Spec):
    """Limits that a calibration must keep; pixels are those of a 1280 pixel wide image."""

    min_placements: int = Field(default=6, ge=2)
    min_color_corners: int = Field(default=80, ge=6)
    min_depth_spread_m: float = Field(default=0.35, gt=0)
    min_lateral_spread_m: float = Field(default=0.30, gt=0)
    min_height_span_m: float = Field(default=0.60, gt=0)
    min_off_plane_m: float = Field(default=0.1, gt=0)
    min_volume_share: float = Field(default=0.4, gt=0, le=1)
    min_inlier_fraction: float = Field(default=0.8, gt=0, le=1)
    max_color_rms_px: float = Field(default=0.6, gt=0)
    max_depth_rms_mm: float = Field(default=6.0, gt=0)
    max_held_out_mm: float = Field(default=2.5, gt=0)
    max_held_out_px: float = Field(default=0.8, gt=0)
    max_predicted_target_mm: float = Field(default=1.5, gt=0)
    max_bootstrap_ratio: float = Field(
        default=1.6, gt=0, description="spread of the target error between placements over what the covariance predicts"
    )
    max_scan_shift_mm: float = Field(
        default=0.14,
        gt=0,
        description="standard deviation of a whole scan's place, per axis, as the placements show it",
    )
    max_scale_error_percent: float = Field(default=1.0, gt=0)
    max_depth_to_color_deg: float = Field(default=2.0, gt=0)
    max_depth_to_color_mm: float = Field(default=25.0, gt=0)
    max_focal_percent: float = Field(default=1.5, gt=0)


class ProtocolSpec(Spec):
    """Content of ``calibration/protocols/<name>.toml``."""

    schema_: Literal["anim-real/protocol/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    solver: SolverSpec = SolverSpec()
    priors: PriorsSpec = PriorsSpec()
    segments: SegmentsSpec = SegmentsSpec()
    gates: GatesSpec = GatesSpec()


def load_protocol(name: str) -> tuple[ProtocolSpec, Path]:
    """Find and read a protocol by name or path; return it with its file."""
    path = find("calibration/protocols", name)
    return load_toml(ProtocolSpec, path), path
