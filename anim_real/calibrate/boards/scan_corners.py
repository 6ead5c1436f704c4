"""ChArUco corners on a scan: render its texture in parallel views, detect, lift to 3D by the ray hits.

Nothing is assumed of the scanner's texture layout. Frame ``scan``, metres. Coarse views around the
object find the boards; one frontal view per board measures its corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.detect import CornerDetector, Corners
from anim_real.calibrate.boards.scan_views import NUM_AZIMUTHS, ParallelView, TexturedScan, views_around
from anim_real.calibrate.boards.target import Board, Target
from anim_real.errors import DataError

Array = NDArray[np.float64]
_COARSE_PX_PER_SQUARE = 24  # 17 px per marker: enough to read it at up to 50 degrees of obliquity
_FINE_PX_PER_SQUARE = 90
_PLANE_WINDOW_SQUARES = 0.12  # half width of the patch a corner's height is fitted on
_MIN_PATCH_HITS = 12
_MIN_BOARD_CORNERS = 4  # fewer do not fix a board's plane
_FEW_CORNERS = 12  # fewer may be markers misread in a mirrored image


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanCorners:
    """Corners found on one scan.

    Attributes:
        ids: (N,) corner ids of the target.
        points: (N, 3) positions, frame scan, metres.
        normals: (N, 3) unit normals of the surface there.
    """

    ids: NDArray[np.int64]
    points: Array
    normals: Array

    def __len__(self) -> int:
        return len(self.ids)


def find_scan_corners(scan: TexturedScan, target: Target, detector: CornerDetector, *, up: Array) -> ScanCorners:
    """Find the target's corners on a scan.

    Args:
        scan: textured scan, metres.
        target: what it shows.
        detector: detector of that target.
        up: (3,) upward direction in the scan frame.

    Raises:
        DataError: the scan has no texture, or shows the target mirrored.
    """
    if not scan.has_texture:
        raise DataError(
            "the scan has neither texture nor colours",
            where="calibration scan",
            fix="Export the scans with their texture",
        )
    square = min(board.spec.pitch_m for board in target.boards)
    views = views_around(scan, square / _COARSE_PX_PER_SQUARE, up)
    best = _best_views(scan, target, detector, views)
    if sum(len(corners) for corners, _ in best.values()) < _FEW_CORNERS:
        _refuse_mirrored(scan, detector, views[:NUM_AZIMUTHS])
    parts = [_measure_board(scan, target.boards[index], detector, *found) for index, found in sorted(best.items())]
    parts = [part for part in parts if len(part)]
    if not parts:
        return ScanCorners(ids=np.zeros(0, np.int64), points=np.zeros((0, 3)), normals=np.zeros((0, 3)))
    return ScanCorners(
        ids=np.concatenate([part.ids for part in parts]),
        points=np.concatenate([part.points for part in parts]),
        normals=np.concatenate([part.normals for part in parts]),
    )


def _best_views(
    scan: TexturedScan, target: Target, detector: CornerDetector, views: list[ParallelView]
) -> dict[int, tuple[Corners, ParallelView]]:
    """Per board index the view that shows most of its corners, with them; boards that no view shows are absent."""
    best: dict[int, tuple[Corners, ParallelView]] = {}
    most = {board.index: _MIN_BOARD_CORNERS - 1 for board in target.boards}
    for view in views:
        seen = detector.detect(scan.render(view)[0])
        for board in target.boards:
            own = np.isin(seen.ids, board.corner_ids)
            if own.sum() > most[board.index]:
                most[board.index] = int(own.sum())
                best[board.index] = (Corners(ids=seen.ids[own], pixels=seen.pixels[own]), view)
        if all(most[board.index] == board.spec.num_corners for board in target.boards):
            break  # no later view can show more
    return best


def _refuse_mirrored(scan: TexturedScan, detector: CornerDetector, views: list[ParallelView]) -> None:
    images = [scan.render(view)[0] for view in views]
    mirrored = sum(detector.num_markers(np.ascontiguousarray(image[:, ::-1])) for image in images)
    if mirrored > 2 * sum(detector.num_markers(image) for image in images):
        raise DataError(
            "the scan shows the target's markers mirrored",
            where="calibration scan",
            fix="Check the axes of the scanner's export: one is flipped",
        )


def _measure_board(
    scan: TexturedScan, board: Board, detector: CornerDetector, seen: Corners, view: ParallelView
) -> ScanCorners:
    """Look at one board from its front and lift its corners."""
    none = ScanCorners(ids=np.zeros(0, np.int64), points=np.zeros((0, 3)), normals=np.zeros((0, 3)))
    _, points = scan.hits(view, seen.pixels)
    front = frontal_view(board, seen.ids, points, scale_px=_FINE_PX_PER_SQUARE)
    if front is None:
        return none
    image, surface = scan.render(front)
    fine = detector.detect(image)
    own = np.isin(fine.ids, board.corner_ids)
    ids, pixels = fine.ids[own], fine.pixels[own]
    kept, lifted, normals = [], [], []
    half = round(_PLANE_WINDOW_SQUARES * _FINE_PX_PER_SQUARE)
    for index, pixel in zip(ids, pixels, strict=True):
        answer = _lift(front, surface, pixel, half)
        if answer is not None:
            kept.append(index)
            lifted.append(answer[0])
            normals.append(answer[1])
    if not kept:
        return none
    return ScanCorners(ids=np.array(kept), points=np.array(lifted), normals=np.array(normals))


def frontal_view(board: Board, ids: NDArray[np.int64], points: Array, *, scale_px: int) -> ParallelView | None:
    """Parallel view of a whole board from its front, from rough corner positions (N, 3); None if they do not fit it."""
    valid = np.isfinite(points).all(1)
    if valid.sum() < _MIN_BOARD_CORNERS:
        return None
    plane = board.corners_board()[ids[valid] - board.first_corner]
    rotation, translation = align_points(plane, points[valid])
    residual = np.linalg.norm(plane @ rotation.T + translation - points[valid], axis=1)
    if np.median(residual) > 0.5 * board.spec.pitch_m:
        return None
    px_m = board.spec.pitch_m / scale_px
    width, height = (round(side / px_m) + scale_px // 2 for side in board.size)
    return ParallelView(
        center=translation, right=rotation[:, 0], up=rotation[:, 1], px_m=px_m, width=width, height=height
    )


def align_points(source: Array, destination: Array, *, allow_mirror: bool = False) -> tuple[Array, Array]:
    """Rotation (3, 3) and translation (3,) that map source (N, 3) to destination best (Kabsch 1976, Umeyama 1991)."""
    mean_source, mean_destination = source.mean(0), destination.mean(0)
    left, _, right = np.linalg.svd((destination - mean_destination).T @ (source - mean_source))
    sign = 1.0 if allow_mirror else np.sign(np.linalg.det(left @ right))
    rotation = left @ np.diag([1.0, 1.0, sign]) @ right
    return rotation, mean_destination - rotation @ mean_source


def _lift(view: ParallelView, surface: Array, pixel: Array, half: int) -> tuple[Array, Array] | None:
    """Position and normal at a pixel from a plane fitted to the patch around it: averages the scanner's noise."""
    column, row = np.rint(pixel).astype(int)
    if not (half <= column < view.width - half and half <= row < view.height - half):
        return None
    patch = surface[row - half : row + half + 1, column - half : column + half + 1].reshape(-1, 3)
    patch = patch[np.isfinite(patch).all(1)]
    if len(patch) < _MIN_PATCH_HITS:
        return None
    start = view.origins(pixel, 0.0)
    local = patch - start
    x, y, z = local @ view.right, local @ view.up, local @ view.out
    near = np.abs(z - np.median(z)) < 4 * half * view.px_m
    design = np.stack([np.ones(near.sum()), x[near], y[near]], 1)
    (height, slope_x, slope_y), *_ = np.linalg.lstsq(design, z[near], rcond=None)
    normal = view.out - slope_x * view.right - slope_y * view.up
    return start + height * view.out, normal / np.linalg.norm(normal)
