"""Is the match in time right? Depth must lie on its scan, and better than on the scans before and after.

Everything is in the scan frame, metres. Depth points and scans come through functions that the caller
passes in, so this module reads no file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh
from anim_real.sync.matching import FrameMatch

Array = NDArray[np.float64]
MAX_SHIFT = 2  # frames to either side
_POINTS_PER_PAIR = 4000
_SURFACE_SAMPLES = 3000
_COVERED_M = 0.02  # a depth point this near covers a spot: specified noise and bias stay below (SENSOR.md)
_FAR_M = 0.10  # points further from the scan are not the person
_MIN_GAIN_MM = 0.05  # a difference smaller than this decides nothing
_NUM_SIGMAS = 2.0


@dataclass(frozen=True, kw_only=True)
class PairQuality:
    """How well a depth image and its scan agree.

    Attributes:
        depth_coverage: share (0..1) of the scan's surface that faces the camera unoccluded and has depth within 20 mm.
        depth_to_scan_mm: median distance of depth points to the scan.
        depth_bias_mm: median signed distance; positive = depth in front of the surface, towards the camera.
        num_points: depth points used.
    """

    depth_coverage: float
    depth_to_scan_mm: float
    depth_bias_mm: float
    num_points: int


@dataclass(frozen=True, kw_only=True)
class PairLimits:
    """What a pair must keep to be used. Defaults: twice what a good calibration leaves at 2 m (SENSOR.md, Noise).

    Attributes:
        min_coverage: least ``depth_coverage``.
        max_distance_mm: largest ``depth_to_scan_mm``.
        max_bias_mm: largest absolute ``depth_bias_mm``.
    """

    min_coverage: float = 0.4
    max_distance_mm: float = 15.0
    max_bias_mm: float = 10.0

    def verdict(self, quality: PairQuality) -> str:
        """Why the pair is refused; empty if it is good."""
        reasons = []
        if quality.depth_coverage < self.min_coverage:
            reasons.append(
                f"depth covers {quality.depth_coverage:.0%} of the visible scan (at least {self.min_coverage:.0%})"
            )
        if quality.depth_to_scan_mm > self.max_distance_mm:
            reasons.append(
                f"depth is {quality.depth_to_scan_mm:.1f} mm from the scan (at most {self.max_distance_mm:g})"
            )
        if abs(quality.depth_bias_mm) > self.max_bias_mm:
            reasons.append(f"depth is biased by {quality.depth_bias_mm:+.1f} mm (at most {self.max_bias_mm:g})")
        return "; ".join(reasons)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Fit of depth against scans shifted in time.

    Attributes:
        cost_mm: shift in frames -> mean distance of depth to scan, over the pairs that have all shifts.
        best_shift: shift that fits best; 0 unless another is better beyond doubt.
        is_decisive: whether 0 beats its neighbours beyond doubt (False for a performer who stands still).
        num_pairs: pairs compared.
    """

    cost_mm: dict[int, float]
    best_shift: int
    is_decisive: bool
    num_pairs: int


class Surfaces:
    """Scans prepared for distance queries, the last few kept.

    Args:
        load: scan index -> mesh in metres, scan frame.
        known: scan indices that exist.
        keep: how many to keep in memory.
    """

    def __init__(self, load: Callable[[int], Mesh], known: Sequence[int], *, keep: int = 2 * MAX_SHIFT + 2) -> None:
        self._load, self._known, self._keep = load, set(known), keep
        self._cache: OrderedDict[int, tuple[Mesh, SurfaceDistance]] = OrderedDict()

    def __contains__(self, scan_index: int) -> bool:
        return scan_index in self._known

    def get(self, scan_index: int) -> tuple[Mesh, SurfaceDistance]:
        """Return a scan and its distance structure; one that cannot be loaded raises and is unknown from then on."""
        if scan_index not in self._cache:
            try:
                mesh = self._load(scan_index)
            except DataError:
                self._known.discard(scan_index)
                raise
            self._cache[scan_index] = (mesh, SurfaceDistance(mesh.vertices, mesh.faces))
            while len(self._cache) > self._keep:
                self._cache.popitem(last=False)
        self._cache.move_to_end(scan_index)
        return self._cache[scan_index]


def pair_quality(
    points_scan: Array, mesh: Mesh, surface: SurfaceDistance, camera_scan: Array, rng: np.random.Generator
) -> PairQuality:
    """Compare depth points (N, 3) with their scan; ``camera_scan`` is the depth camera's centre in the scan frame."""
    points = _thinned(points_scan, _POINTS_PER_PAIR, rng)
    closest = surface.closest(points)
    near = closest.distance <= _FAR_M
    if near.sum() < 100:
        return PairQuality(
            depth_coverage=0.0, depth_to_scan_mm=np.inf, depth_bias_mm=np.inf, num_points=int(near.sum())
        )
    normals = _facing_normals(mesh, closest.face[near], closest.point[near], camera_scan)
    signed = np.einsum("nk,nk->n", points[near] - closest.point[near], normals)
    return PairQuality(
        depth_coverage=_coverage(points_scan, mesh, camera_scan, rng),
        depth_to_scan_mm=float(np.median(closest.distance) * 1000.0),
        depth_bias_mm=float(np.median(signed) * 1000.0),
        num_points=len(points_scan),
    )


def audit_shift(
    matches: Sequence[FrameMatch],
    surfaces: Surfaces,
    depth_points: Callable[[int], Array],
    rng: np.random.Generator,
    *,
    max_pairs: int = 6,
) -> Audit:
    """Compare depth with the scans at ±2 frames, in up to ``max_pairs`` pairs spread over the take.

    Args:
        matches: pairs in time.
        surfaces: the take's scans.
        depth_points: kinect index -> (N, 3) person's depth points, metres, scan frame.
        rng: draws the points.
        max_pairs: how many pairs to compare.
    """
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    full = [match for match in matches if all(match.scan_index + shift in surfaces for shift in shifts)]
    spread = np.unique(np.linspace(0, max(len(full) - 1, 0), min(len(full), max_pairs)).astype(int))
    costs = []
    for match in (full[row] for row in spread):
        points = _thinned(depth_points(match.kinect_index), _POINTS_PER_PAIR, rng)
        with suppress(DataError):  # a neighbour that no pair uses may be unreadable
            costs.append([_cost_mm(points, surfaces.get(match.scan_index + shift)[1]) for shift in shifts])
    if not costs:
        return Audit(cost_mm={}, best_shift=0, is_decisive=False, num_pairs=0)
    return _judge(np.array(costs), list(shifts))


def _cost_mm(points: Array, surface: SurfaceDistance) -> float:
    """Mean distance, what is far counted as just far: stray points must not decide."""
    return float(np.minimum(surface.closest(points).distance, _FAR_M).mean() * 1000.0)


def _judge(costs: Array, shifts: list[int]) -> Audit:
    """Paired comparison of every shift with none: a shift wins or loses only beyond two standard errors."""
    gain = costs - costs[:, [MAX_SHIFT]]  # positive = worse than no shift
    mean = gain.mean(0)
    spread = gain.std(0, ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.full(len(shifts), np.inf)
    doubt = np.maximum(_NUM_SIGMAS * spread, _MIN_GAIN_MM)
    better = mean < -doubt
    best = shifts[int(np.argmin(np.where(better, mean, np.inf)))] if better.any() else 0
    others = [column for column, shift in enumerate(shifts) if shift != 0]
    return Audit(
        cost_mm=dict(zip(shifts, costs.mean(0).tolist(), strict=True)),
        best_shift=best,
        is_decisive=bool(best == 0 and (mean[others] > doubt[others]).all()),
        num_pairs=len(costs),
    )


def _thinned(points: Array, limit: int, rng: np.random.Generator) -> Array:
    return points if len(points) <= limit else points[rng.choice(len(points), limit, replace=False)]


def _facing_normals(mesh: Mesh, face: NDArray[np.int64], point: Array, camera_scan: Array) -> Array:
    """Unit normals of faces, turned to the camera (raw scans hold flipped patches)."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces[face]], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    away = np.einsum("nk,nk->n", normals, camera_scan - point) < 0
    return np.where(away[:, None], -normals, normals)


def _coverage(points: Array, mesh: Mesh, camera_scan: Array, rng: np.random.Generator) -> float:
    """Share of visible surface samples that have a depth point within 20 mm."""
    samples, _ = sample_surface(mesh.vertices, mesh.faces, _SURFACE_SAMPLES, rng)
    scene = RayScene(mesh.vertices, mesh.faces)
    visible = samples[~scene.occluded(np.broadcast_to(camera_scan, samples.shape), samples, margin=0.003)]
    if len(visible) == 0 or len(points) == 0:
        return 0.0
    distance, _ = cKDTree(points).query(visible, distance_upper_bound=_COVERED_M)
    return float(np.isfinite(distance).mean())
