"""ChArUco corners on a scan: render its texture in parallel views, detect, lift to 3D by the ray hits.

Nothing is assumed of the scanner's texture layout. Frame ``scan``, metres. Coarse views around the
object find the boards; one frontal view per board measures its corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards import Board, Target
from anim_real.calibrate.detect import CornerDetector, Corners
from anim_real.errors import DataError
from anim_real.geometry.raycast import Hits, RayScene
from anim_real.mesh import Mesh

Array = NDArray[np.float64]
_COARSE_PX_PER_SQUARE = 24  # 17 px per marker: enough to read it at up to 50 degrees of obliquity
_FINE_PX_PER_SQUARE = 90
_MAX_VIEW_PX = 1500
_ELEVATIONS_DEG = (8.0, 40.0)
_NUM_AZIMUTHS = 10
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


@dataclass(frozen=True, kw_only=True, eq=False)
class ParallelView:
    """A parallel projection: pixel (u, v) looks along ``-out`` from ``center + px_m*((u-cu) right - (v-cv) up)``."""

    center: Array
    right: Array
    up: Array
    px_m: float
    width: int
    height: int

    @property
    def out(self) -> Array:
        """(3,) direction towards the viewer."""
        return np.cross(self.right, self.up)

    def origins(self, pixels: Array, distance: float) -> Array:
        """(..., 3) ray starts of pixels (..., 2), ``distance`` metres before the centre."""
        u = (pixels[..., 0:1] - (self.width - 1) / 2) * self.px_m
        v = (pixels[..., 1:2] - (self.height - 1) / 2) * self.px_m
        return self.center + distance * self.out + u * self.right - v * self.up

    def pixels(self) -> Array:
        """(H, W, 2) all pixel positions."""
        return np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1).astype(np.float64)


class TexturedScan:
    """A scan prepared for ray casting, with its grey texture or vertex colours."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.scene = RayScene(mesh.vertices, mesh.faces)
        corners = mesh.corners
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.face_normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        self.center = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
        self.radius = float(np.linalg.norm(mesh.vertices - self.center, axis=1).max())
        self._grey = (
            None if mesh.texture is None else np.asarray(cv2.cvtColor(mesh.texture, cv2.COLOR_RGB2GRAY), np.uint8)
        )
        self._vertex_grey = None if mesh.colors is None else mesh.colors.astype(np.float64).mean(1)

    @property
    def has_texture(self) -> bool:
        """Whether corners can be looked for at all."""
        return (self._grey is not None and self.mesh.uv is not None) or self._vertex_grey is not None

    def hits(self, view: ParallelView, pixels: Array) -> tuple[Hits, Array]:
        """Cast the rays of pixels (N, 2); return hits and (N, 3) float64 positions (NaN = none)."""
        distance = 2 * self.radius + float(np.linalg.norm(view.center - self.center))
        origins = view.origins(pixels, distance)
        hits = self.scene.cast(origins, np.broadcast_to(-view.out, origins.shape))
        return hits, origins - np.where(hits.is_hit, hits.distance, np.nan)[:, None] * view.out

    def grey(self, hits: Hits) -> NDArray[np.uint8]:
        """(N,) grey value at hits; 128 where nothing was hit."""
        values = np.full(len(hits.face), 128.0)
        found = hits.is_hit
        faces, weights = self.mesh.faces[hits.face[found]], hits.barycentric[found]
        if self._grey is not None and self.mesh.uv is not None:
            uv = np.einsum("nk,nkc->nc", weights, self.mesh.uv[faces])
            height, width = self._grey.shape
            x = (uv[:, 0] * width - 0.5).astype(np.float32)
            y = ((1.0 - uv[:, 1]) * height - 0.5).astype(np.float32)
            values[found] = _sample(self._grey, x, y)
        elif self._vertex_grey is not None:
            values[found] = np.einsum("nk,nk->n", weights, self._vertex_grey[faces])
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def render(self, view: ParallelView) -> tuple[NDArray[np.uint8], Array]:
        """Grey image (H, W) and positions (H, W, 3) of a view."""
        hits, points = self.hits(view, view.pixels().reshape(-1, 2))
        shape = (view.height, view.width)
        return self.grey(hits).reshape(shape), points.reshape(*shape, 3)


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
    square = min(board.spec.square_m for board in target.boards)
    views = _coarse_views(scan, square / _COARSE_PX_PER_SQUARE, up)
    best = _best_views(scan, target, detector, views)
    if sum(len(corners) for corners, _ in best.values()) < _FEW_CORNERS:
        _refuse_mirrored(scan, detector, views[:_NUM_AZIMUTHS])
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


def _coarse_views(scan: TexturedScan, px_m: float, up: Array) -> list[ParallelView]:
    up = up / np.linalg.norm(up)
    side = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    side /= np.linalg.norm(side)
    px_m = max(px_m, 2 * scan.radius / _MAX_VIEW_PX)
    views = []
    relative = scan.mesh.vertices - scan.center
    for elevation in np.radians(_ELEVATIONS_DEG):
        for azimuth in np.arange(_NUM_AZIMUTHS) * 2 * np.pi / _NUM_AZIMUTHS:
            flat = np.cos(azimuth) * side + np.sin(azimuth) * np.cross(up, side)
            out = np.cos(elevation) * flat + np.sin(elevation) * up
            right = np.asarray(np.cross(up, out) / np.linalg.norm(np.cross(up, out)), dtype=np.float64)
            view_up = np.cross(out, right)
            half_x, half_y = np.abs(relative @ right).max(), np.abs(relative @ view_up).max()
            width, height = (int(np.ceil(2 * half / px_m)) + 8 for half in (half_x, half_y))
            views.append(
                ParallelView(center=scan.center, right=right, up=view_up, px_m=px_m, width=width, height=height)
            )
    return views


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
    if np.median(residual) > 0.5 * board.spec.square_m:
        return None
    px_m = board.spec.square_m / scale_px
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


def _sample(image: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> Array:
    """Bilinear look-up at N positions; ``cv2.remap`` wants fewer than 32768 rows and columns."""
    columns = 1024
    padding = -len(x) % columns
    grid_x, grid_y = (np.pad(values, (0, padding)).reshape(-1, columns) for values in (x, y))
    rows = [
        cv2.remap(
            image,
            grid_x[start : start + 16384],
            grid_y[start : start + 16384],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for start in range(0, len(grid_x), 16384)
    ]
    return np.concatenate(rows).ravel()[: len(x)].astype(np.float64) if rows else np.zeros(0)
