"""How the placements fill the volume, and which of them add nothing: numbers for gates, names for their advice.

Metres, in the colour camera's axes where a direction is meant, else in frame ``scan``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution

Array = NDArray[np.float64]
NEAR_M = 0.35  # a point of the volume counts as covered with an observed corner this near: half the target's height
_FLAT = 0.02  # smallest over largest extent of one placement's corners: below it they lie on one plane
_SAME_TURN_DEG, _SAME_PLANE_M = 5.0, 0.03


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How the placements fill the volume; metres.

    Attributes:
        depth_spread_m: range of the placements' centres along the colour camera's z.
        lateral_spread_m: range along x.
        height_span_m: range of all observed corners along y.
        off_plane_m: standard deviation of all observed corners across the plane that fits them best.
        volume_share: share of the person-sized volume with an observed corner within ``NEAR_M``.
        num_placements: placements with observations.
        num_color_corners: colour corners kept.
        depth_m: distance of every observed placement's centre from the colour camera, by placement.
        coplanar: pairs of placements that show one and the same plane.
    """

    depth_spread_m: float
    lateral_spread_m: float
    height_span_m: float
    off_plane_m: float
    volume_share: float
    num_placements: int
    num_color_corners: int
    depth_m: dict[int, float] = field(default_factory=dict)
    coplanar: tuple[tuple[int, int], ...] = ()

    @classmethod
    def empty(cls) -> Coverage:
        """Nothing was seen."""
        return cls(
            depth_spread_m=0.0,
            lateral_spread_m=0.0,
            height_span_m=0.0,
            off_plane_m=0.0,
            volume_share=0.0,
            num_placements=0,
            num_color_corners=0,
        )


def coverage(problem: Problem, solution: Solution, volume_scan: Array) -> Coverage:
    """Where the target stood, as far as observations were kept; ``volume_scan`` (N, 3) fills the volume."""
    seen: dict[int, Array] = {}
    num_corners = 0
    for placement in problem.observations.placements:
        found = solution.block("color", placement.index) or solution.block("ir", placement.index)
        if found is None or not found[1].any():
            continue
        pairs = placement.color if found[0].kind == "color" else placement.ir
        seen[placement.index] = pairs.points_scan[found[1]]
        num_corners += int(found[1].sum()) if found[0].kind == "color" else 0
    if not seen:
        return Coverage.empty()
    corners_scan = np.concatenate(list(seen.values()))
    corners = solution.state.T_color_scan.apply(corners_scan)
    centers = {key: solution.state.T_color_scan.apply(points).mean(0) for key, points in seen.items()}
    ranges = np.ptp(np.array(list(centers.values())), axis=0)
    distance, _ = cKDTree(corners_scan).query(volume_scan)
    return Coverage(
        depth_spread_m=float(ranges[2]),
        lateral_spread_m=float(ranges[0]),
        height_span_m=float(np.ptp(corners[:, 1])),
        off_plane_m=float(extents(corners_scan)[0][2]),
        volume_share=float((distance < NEAR_M).mean()),
        num_placements=len(seen),
        num_color_corners=num_corners,
        depth_m={key: float(center[2]) for key, center in centers.items()},
        coplanar=_coplanar(seen),
    )


def extents(points: Array) -> tuple[Array, Array]:
    """(3,) standard deviations of points (N, 3) along their main axes, largest first, and the axes as rows."""
    _, values, axes = np.linalg.svd(points - points.mean(0), full_matrices=False)
    spread = np.zeros(3)
    spread[: len(values)] = values / np.sqrt(len(points))
    return spread, axes


def _coplanar(seen: dict[int, Array]) -> tuple[tuple[int, int], ...]:
    planes: dict[int, tuple[Array, Array]] = {}
    for key, points in seen.items():
        if len(points) < 4:
            continue
        spread, axes = extents(points)
        if spread[2] < _FLAT * spread[0]:
            planes[key] = points.mean(0), axes[2]
    pairs = []
    keys = sorted(planes)
    for number, first in enumerate(keys):
        for second in keys[number + 1 :]:
            (center, normal), (other_center, other) = planes[first], planes[second]
            turn = np.degrees(np.arccos(min(1.0, abs(float(normal @ other)))))
            if turn < _SAME_TURN_DEG and abs(float(normal @ (other_center - center))) < _SAME_PLANE_M:
                pairs.append((first, second))
    return tuple(pairs)
