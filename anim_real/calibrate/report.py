"""Evidence for people: residual arrays and overlay pictures of a solved sensor. No files are written here."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.depth_bias import associate
from anim_real.calibrate.intrinsics import project_with_jacobian
from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.observe import PlacementImages
from anim_real.calibrate.residuals import Kind
from anim_real.calibrate.sensor import SensorSolution
from anim_real.calibrate.state import NUM_SHARED, State
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_SEEN, _KEPT, _LEFT_OUT = (40, 220, 60), (255, 200, 0), (255, 30, 30)  # RGB
_ARROW_SCALE = 20.0  # residuals are drawn 20 times their length
_MAP_RANGE_MM = 8.0
_KINDS: tuple[tuple[Kind, float, int], ...] = (("color", 1.0, 2), ("ir", 1.0, 2), ("depth", 1e3, 1))  # unit, width


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacementEvidence:
    """Pictures and residuals of one placement.

    Attributes:
        placement, scan_frame: which one.
        captures: capture indices averaged.
        num_moving: captures left out because something moved.
        factory_overlay: (H, W, 3) uint8: as ``color_overlay`` with the factory's cameras at the first pose.
        color_overlay: (H, W, 3) uint8: corners seen, residuals x20 (red = left out), outline of the scan.
        ir_overlay: (h, w, 3) uint8 or None.
        depth_map: (h, w, 3) uint8: measured minus expected depth, blue -8 mm to red +8 mm.
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
        kind: color, ir (pixels) or depth (millimetres).
        placement: index of the placement.
        num, num_seen: left out, of how many.
        median, largest: length of the residuals left out.
        corners: ids of the corners, worst first; empty for depth.
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
        residuals: kept residuals per kind: (N, 2) px or (N, 1) mm.
        outliers: number of observations left out per kind.
        left_out: the same by placement, the worst first.
        before, after: median residual per kind with the factory's cameras at the first pose, and as solved.
        correlation: (21, 21) of the parameters, in the order of ``state.PARAMETER_NAMES``.
        sigma: (21,) standard deviations: rad and m (poses), m and 1 (bias), 1 (focal lengths), px (centres).
        predicted_target_mm, predicted_px: error over a person-sized volume that the covariance predicts.
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
    placements: tuple[PlacementEvidence, ...]


def sensor_evidence(solved: SensorSolution, images: dict[int, PlacementImages]) -> SensorEvidence:
    """Collect residuals and draw the overlays; ``images`` by placement index."""
    solution = solved.solution
    residuals: dict[Kind, Array] = {}
    outliers: dict[Kind, int] = {}
    for kind, unit, width in _KINDS:
        kept = [(b, k) for b, k in zip(solution.blocks, solution.inliers, strict=True) if b.kind == kind]
        residuals[kind] = (
            np.concatenate([block.residual[keep] for block, keep in kept]) * unit if kept else np.zeros((0, width))
        )
        outliers[kind] = sum(int((~keep).sum()) for _, keep in kept)
    covariance = solution.covariance[:NUM_SHARED, :NUM_SHARED]
    sigma = np.sqrt(np.diag(covariance))
    scale = np.where(sigma > 0, sigma, 1.0)
    return SensorEvidence(
        sensor=solved.problem.observations.sensor,
        residuals=residuals,
        outliers=outliers,
        left_out=_left_out(solved),
        before=_medians(solved, solved.start),
        after=_medians(solved, solution.state),
        correlation=covariance / np.outer(scale, scale),
        sigma=sigma,
        predicted_target_mm=solved.predicted_target_mm,
        predicted_px=solved.predicted_px,
        placements=tuple(_placement(solved, index, shown) for index, shown in sorted(images.items())),
    )


def _left_out(solved: SensorSolution) -> tuple[LeftOut, ...]:
    found = []
    for block, kept in zip(solved.solution.blocks, solved.solution.inliers, strict=True):
        if kept.all():
            continue
        sizes = block.size[~kept] * (1e3 if block.kind == "depth" else 1.0)
        pairs = None
        if block.kind != "depth":
            placement = solved.problem.observations.only(block.placement).placements[0]
            pairs = placement.color if block.kind == "color" else placement.ir
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
    """Median residual per kind at a state: px, px, mm."""
    blocks = solved.problem.blocks(state, solved.solution.depth_points)
    return {
        kind: float(np.median(np.concatenate(sizes))) * unit
        for kind, unit, _ in _KINDS
        if (sizes := [block.size for block in blocks if block.kind == kind])
    }


def _placement(solved: SensorSolution, index: int, shown: PlacementImages) -> PlacementEvidence:
    observations, state = solved.problem.observations, solved.solution.state
    placement = observations.only(index).placements[0]
    color, depth = state.color_camera(observations.color), state.depth_camera(observations.depth)
    scan_points = placement.surface.vertices
    overlay = _overlay(
        shown.color, placement.color, color, state.T_color_scan, scan_points, _kept(solved, "color", index)
    )
    before = solved.start.color_camera(observations.color), solved.start.T_color_scan
    kept = _kept(solved, "color", index)
    factory_overlay = _overlay(shown.color, placement.color, *before, scan_points, kept)
    ir_overlay = None
    if shown.ir is not None:
        grey = np.repeat(shown.ir[..., None], 3, 2)
        ir_overlay = _overlay(grey, placement.ir, depth, state.T_depth_scan, scan_points, _kept(solved, "ir", index))
    return PlacementEvidence(
        placement=index,
        scan_frame=placement.scan_frame,
        captures=shown.captures,
        num_moving=shown.num_moving,
        factory_overlay=factory_overlay,
        color_overlay=overlay,
        ir_overlay=ir_overlay,
        depth_map=_depth_map(solved, index),
    )


def _kept(solved: SensorSolution, kind: Kind, index: int) -> NDArray[np.bool_]:
    found = solved.solution.block(kind, index)
    return np.zeros(0, bool) if found is None else found[1]


def _overlay(
    image: NDArray[np.uint8],
    pairs: CornerPairs,
    camera: Camera,
    pose: Rigid,
    scan_points: Array,
    kept: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Draw the scan's silhouette, the corners seen and their residuals enlarged."""
    canvas = np.ascontiguousarray(image.copy())
    silhouette = np.zeros(canvas.shape[:2], np.uint8)
    pixels = camera.project(pose.apply(scan_points))
    pixels = np.rint(pixels[np.isfinite(pixels).all(1)]).astype(int)
    inside = (pixels >= 0).all(1) & (pixels < (camera.width, camera.height)).all(1)
    silhouette[pixels[inside, 1], pixels[inside, 0]] = 255
    silhouette = cv2.morphologyEx(silhouette, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    contours, _ = cv2.findContours(silhouette, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, contours, -1, (0, 160, 255), 1)
    if len(pairs):
        predicted, _ = project_with_jacobian(camera, pose.apply(pairs.points_scan))
        for seen, expected, is_kept in zip(pairs.pixels, predicted, kept, strict=True):
            start = tuple(int(value) for value in np.rint(seen))
            end = tuple(int(value) for value in np.rint(seen + _ARROW_SCALE * (expected - seen)))
            cv2.circle(canvas, start, 3, _SEEN, 1, cv2.LINE_AA)
            cv2.line(canvas, start, end, _KEPT if is_kept else _LEFT_OUT, 1, cv2.LINE_AA)
    return canvas


def _depth_map(solved: SensorSolution, index: int) -> NDArray[np.uint8]:
    """Measured, bias-free depth minus the scan's depth, as colours."""
    observations, state = solved.problem.observations, solved.solution.state
    placement = observations.only(index).placements[0]
    points = associate(
        placement,
        observations.depth,
        solved.problem.depth_rays,
        state.depth_lens,
        state.T_depth_scan,
        max_points=1 << 30,
        max_error_m=0.05,
    )
    canvas = np.full((observations.depth.height, observations.depth.width, 3), 32, np.uint8)
    if not len(points):
        return canvas
    block = next(b for b in solved.problem.blocks(state, {index: points}) if b.kind == "depth")
    pixels = np.rint(observations.depth.project(points.factory_rays)).astype(int)
    share = np.clip(block.residual[:, 0] * 1e3 / (2 * _MAP_RANGE_MM) + 0.5, 0, 1)
    colors = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    canvas[pixels[:, 1], pixels[:, 0]] = colors
    return canvas
