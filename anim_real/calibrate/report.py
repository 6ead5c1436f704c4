"""Evidence for people: residual arrays and overlay pictures of a solved sensor. No files are written here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import Placement
from anim_real.calibrate.observe import PlacementImages
from anim_real.calibrate.overlays import arrow_scale, corner_picture, depth_picture, outline_pixels
from anim_real.calibrate.sensor import SensorSolution
from anim_real.calibrate.solve.depth_bias import associate
from anim_real.calibrate.solve.residuals import Block, Kind
from anim_real.calibrate.solve.state import NUM_SHARED, State
from anim_real.calibrate.spheres.evidence import sphere_errors_m
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_KINDS: tuple[tuple[Kind, int], ...] = (("color", 2), ("ir", 2), ("depth", 1), ("sphere", 3))  # with their width


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacementEvidence:
    """Pictures and residuals of one placement.

    Attributes:
        placement, scan_frame: which one.
        captures: capture indices averaged.
        num_moving: captures left out because something moved.
        factory_overlay: (H, W, 3) uint8: as ``color_overlay`` with the factory's cameras at the first pose.
        color_overlay: (H, W, 3) uint8: corners seen with residuals and the scan's outline (``overlays``).
        ir_overlay: (h, w, 3) uint8 or None.
        depth_map: (h, w, 3) uint8: measured minus expected depth (``overlays.depth_picture``).
    """

    placement: int
    scan_frame: int
    captures: tuple[int, ...]
    num_moving: int
    factory_overlay: NDArray[np.uint8]
    color_overlay: NDArray[np.uint8]
    ir_overlay: NDArray[np.uint8] | None
    depth_map: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Observations of one kind at one placement that the solution does not explain.

    Attributes:
        kind: color, ir (pixels), depth or sphere (millimetres).
        placement: index of the placement.
        num, num_seen: left out, of how many.
        median, largest: length of the residuals left out.
        corners: ids of the corners (or spheres), worst first; empty for depth.
    """

    kind: Kind
    placement: int
    num: int
    num_seen: int
    median: float
    largest: float
    corners: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SensorEvidence:
    """Everything a report shows of one sensor.

    Attributes:
        sensor: its id.
        residuals: kept residuals per kind: (N, 2) px, (N, 1) mm of depth, (N, 3) mm of spheres' centres.
        outliers: number of observations left out per kind.
        left_out: the same by placement, the worst first.
        before, after: median residual per kind with the factory's cameras at the first pose, and as solved.
        correlation: (S, S) of the parameters, in the order of ``state.PARAMETER_NAMES``.
        sigma: (S,) standard deviations: rad and m (poses), m and 1 (bias), 1 (focal lengths), px (centres), m (curve).
        predicted_target_mm, predicted_px: error over a person-sized volume that the covariance predicts.
        arrow_scale: how many times longer the pictures draw residuals.
        placements: pictures.
    """

    sensor: str
    residuals: dict[Kind, Array]
    outliers: dict[Kind, int]
    left_out: tuple[LeftOut, ...]
    before: dict[Kind, float]
    after: dict[Kind, float]
    correlation: Array
    sigma: Array
    predicted_target_mm: float
    predicted_px: float
    arrow_scale: int
    placements: tuple[PlacementEvidence, ...]


def sensor_evidence(solved: SensorSolution, images: dict[int, PlacementImages]) -> SensorEvidence:
    """Collect residuals and draw the overlays; ``images`` by placement index."""
    solution = solved.solution
    residuals: dict[Kind, Array] = {}
    outliers: dict[Kind, int] = {}
    for kind, width in _KINDS:
        kept = [(b, k) for b, k in zip(solution.blocks, solution.inliers, strict=True) if b.kind == kind]
        parts = [_in_units(solved, block)[keep] for block, keep in kept]
        residuals[kind] = np.concatenate(parts) if parts else np.zeros((0, width))
        outliers[kind] = sum(int((~keep).sum()) for _, keep in kept)
    covariance = solution.covariance[:NUM_SHARED, :NUM_SHARED]
    sigma = np.sqrt(np.diag(covariance))
    scale = np.where(sigma > 0, sigma, 1.0)
    after = _medians(solved, solution.state)
    arrows = arrow_scale(after.get("color", after.get("ir", 1.0)))
    return SensorEvidence(
        sensor=solved.problem.observations.sensor,
        residuals=residuals,
        outliers=outliers,
        left_out=_left_out(solved),
        before=_medians(solved, solved.start),
        after=after,
        correlation=covariance / np.outer(scale, scale),
        sigma=sigma,
        predicted_target_mm=solved.predicted_target_mm,
        predicted_px=solved.predicted_px,
        arrow_scale=arrows,
        placements=tuple(_placement(solved, index, shown, arrows) for index, shown in sorted(images.items())),
    )


def _left_out(solved: SensorSolution) -> tuple[LeftOut, ...]:
    found = []
    for block, kept in zip(solved.solution.blocks, solved.solution.inliers, strict=True):
        if kept.all():
            continue
        sizes = np.linalg.norm(_in_units(solved, block)[~kept], axis=1)
        pairs = None
        if block.kind != "depth":
            placement = solved.problem.observations.only(block.placement).placements[0]
            pairs = {"color": placement.color, "ir": placement.ir, "sphere": placement.spheres}[block.kind]
        ids = () if pairs is None else tuple(int(key) for key in pairs.ids[~kept][np.argsort(-sizes)])
        found.append(
            LeftOut(
                kind=block.kind,
                placement=block.placement,
                num=len(sizes),
                num_seen=len(kept),
                median=float(np.median(sizes)),
                largest=float(sizes.max()),
                corners=ids,
            )
        )
    return tuple(sorted(found, key=lambda item: -item.num / item.num_seen))


def _medians(solved: SensorSolution, state: State) -> dict[Kind, float]:
    """Median residual per kind at a state: px, px, mm, mm."""
    blocks = solved.problem.blocks(state, solved.solution.depth_points)
    return {
        kind: float(np.median(np.concatenate(sizes)))
        for kind, _ in _KINDS
        if (sizes := [np.linalg.norm(_in_units(solved, block), axis=1) for block in blocks if block.kind == kind])
    }


def _in_units(solved: SensorSolution, block: Block) -> Array:
    """(N, d) residuals of a block as people read them: px, or mm of depth and of spheres' centres."""
    if block.kind == "sphere":
        return sphere_errors_m(solved.problem, block) * 1e3
    return block.residual * (1e3 if block.kind == "depth" else 1.0)


def _placement(solved: SensorSolution, index: int, shown: PlacementImages, scale: int) -> PlacementEvidence:
    observations, state = solved.problem.observations, solved.solution.state
    placement = observations.only(index).placements[0]
    color, depth = state.color_camera(observations.color), state.depth_camera(observations.depth)
    vertices = placement.surface.vertices

    def drawn(image: NDArray[np.uint8], kind: Kind, camera: Camera, pose: Rigid, label: str) -> NDArray[np.uint8]:
        pairs = placement.color if kind == "color" else placement.ir
        found = solved.solution.block(kind, index)
        kept = np.zeros(len(pairs), bool) if found is None else found[1]
        predicted = outline_pixels(pairs.points_scan, camera, pose)
        outline = outline_pixels(vertices, camera, pose)
        return corner_picture(image, pairs, predicted, kept, outline, scale=scale, label=label)

    before = solved.start.color_camera(observations.color), solved.start.T_color_scan
    ir_overlay = None
    if shown.ir is not None:
        ir_overlay = drawn(np.repeat(shown.ir[..., None], 3, 2), "ir", depth, state.T_depth_scan, "IR, after")
    return PlacementEvidence(
        placement=index,
        scan_frame=placement.scan_frame,
        captures=shown.captures,
        num_moving=shown.num_moving,
        factory_overlay=drawn(shown.color, "color", *before, "colour, before"),
        color_overlay=drawn(shown.color, "color", color, state.T_color_scan, "colour, after"),
        ir_overlay=ir_overlay,
        depth_map=_depth_map(solved, placement, outline_pixels(vertices, depth, state.T_depth_scan)),
    )


def _depth_map(solved: SensorSolution, placement: Placement, outline: Array) -> NDArray[np.uint8]:
    """Measured, bias-free depth minus the scan's depth, as colours."""
    observations, state = solved.problem.observations, solved.solution.state
    points = associate(
        placement,
        observations.depth,
        solved.problem.depth_rays,
        state.depth_lens,
        state.T_depth_scan,
        max_points=1 << 30,
        max_error_m=0.05,
    )
    size = observations.depth.width, observations.depth.height
    pixels, error_mm = np.zeros((0, 2), np.int64), np.zeros(0)
    if len(points):
        blocks = solved.problem.blocks(state, {placement.index: points})
        block = next(b for b in blocks if b.kind == "depth" and b.placement == placement.index)
        pixels = np.rint(observations.depth.project(points.factory_rays)).astype(np.int64)
        error_mm = block.residual[:, 0] * 1e3
    return depth_picture(size, pixels, error_mm, outline, label="depth minus scan")
