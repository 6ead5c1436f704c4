"""Scores of a reconstructed mesh against the scan (ANIM, Sec. 4 and 5; constants are ANIM.md's presets).

CD and P2S in centimetres, point to triangle, on seeded samples. The Normal metric compares smooth
orthographic normal maps from yaw 0, 90, 180, 270 degrees. Both meshes are in one frame, in metres,
with y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.mesh import Mesh, WatertightMesh
from anim_real.meshes.render import normal_maps
from anim_real.meshes.winding import INSIDE, WindingNumber

Array = NDArray[np.float64]
CM_PER_M = 100.0
F_SCORE_CM = 1.0
NUM_IOU_POINTS = 20_000
_VIEW_MARGIN = 1.05
_IOU_MARGIN_M = 0.02


@dataclass(frozen=True, kw_only=True)
class MetricPreset:
    """Constants of the metrics; every result names its preset.

    Attributes:
        num_points: samples per surface for CD and P2S.
        range: values that normals take in the maps: ``unit`` is (n + 1) / 2, ``signed`` is n.
        background: value of every channel where a map shows nothing.
        size: side of the normal maps in pixels.
        is_truth_first: P2S samples the truth and measures to the prediction.
    """

    num_points: int = 10_000
    range: Literal["unit", "signed"] = "unit"
    background: float = 1.0
    size: int = 512
    is_truth_first: bool = False


PRESETS: dict[str, MetricPreset] = {
    "pifu": MetricPreset(),
    "icon": MetricPreset(num_points=1_000, background=0.0, is_truth_first=True),
    "anim": MetricPreset(range="signed", background=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one mesh.

    Attributes:
        cd_cm: mean of both directions' mean distances.
        p2s_cm: mean distance in the preset's direction (prediction to truth, but for ``icon``).
        normal: sum over four views of the mean, over all pixels, of the channel-summed squared error.
        iou: volumetric intersection over union, by seeded points in the joint box.
        normal_consistency: mean absolute cosine between normals at nearest points, both directions.
        f_score: harmonic mean of precision and recall at 1 cm.
    """

    cd_cm: float
    p2s_cm: float
    normal: float
    iou: float
    normal_consistency: float
    f_score: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over frames with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    num_frames: int


def metric_preset(name: str) -> MetricPreset:
    """Preset by name; ConfigError lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"no metric preset called {name!r}", where="--metrics", fix=f"Known: {', '.join(PRESETS)}")
    return PRESETS[name]


def score_mesh(prediction: Mesh, truth: WatertightMesh, preset: MetricPreset, rng: np.random.Generator) -> Scores:
    """Compare a mesh with the scan's watertight mesh; both in one frame with y up, metres."""
    forward = _Direction(prediction, truth, preset.num_points, rng)
    backward = _Direction(truth, prediction, preset.num_points, rng)
    precision, recall = forward.share_within(F_SCORE_CM), backward.share_within(F_SCORE_CM)
    return Scores(
        cd_cm=(forward.mean_cm + backward.mean_cm) / 2,
        p2s_cm=backward.mean_cm if preset.is_truth_first else forward.mean_cm,
        normal=normal_error(prediction, truth, preset),
        iou=volume_iou(prediction, truth, rng),
        normal_consistency=(forward.mean_cosine + backward.mean_cosine) / 2,
        f_score=2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0,
    )


class _Direction:
    """Samples of one surface measured against another."""

    def __init__(self, source: Mesh, target: Mesh, num_points: int, rng: np.random.Generator) -> None:
        points, face = sample_surface(source.vertices, source.faces, num_points, rng)
        closest = SurfaceDistance(target.vertices, target.faces).closest(points)
        self._distance_cm = closest.distance * CM_PER_M
        self.mean_cm = float(self._distance_cm.mean())
        cosine = np.einsum("pd,pd->p", _face_normals(source, face), _face_normals(target, closest.face))
        self.mean_cosine = float(np.abs(cosine).mean())

    def share_within(self, limit_cm: float) -> float:
        return float((self._distance_cm < limit_cm).mean())


def _face_normals(mesh: Mesh, face: NDArray[np.int64]) -> Array:
    a, b, c = np.moveaxis(mesh.corners[face], 1, 0)
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def normal_error(prediction: Mesh, truth: Mesh, preset: MetricPreset) -> float:
    """Reprojection error of the normals (PIFu's metric); the window is the truth's box with a margin."""
    low, high = truth.vertices.min(0), truth.vertices.max(0)
    half = _VIEW_MARGIN * float((high - low).max()) / 2
    maps = []
    for mesh in (prediction, truth):
        normals, mask = normal_maps(mesh, size=preset.size, center=(low + high) / 2, half_extent_m=half)
        values = (normals + 1) / 2 if preset.range == "unit" else normals
        maps.append(np.where(mask[..., None], values, preset.background))
    squared = ((maps[0] - maps[1]) ** 2).sum(-1)
    return float(squared.mean((1, 2)).sum())


def volume_iou(prediction: Mesh, truth: Mesh, rng: np.random.Generator, num_points: int = NUM_IOU_POINTS) -> float:
    """Share of points inside both among points inside either, drawn uniformly in the joint box."""
    low = np.minimum(prediction.vertices.min(0), truth.vertices.min(0)) - _IOU_MARGIN_M
    high = np.maximum(prediction.vertices.max(0), truth.vertices.max(0)) + _IOU_MARGIN_M
    points = rng.uniform(low, high, (num_points, 3))
    first, second = (WindingNumber(mesh.vertices, mesh.faces).at(points) > INSIDE for mesh in (prediction, truth))
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 0.0


def bootstrap(values: Sequence[float], rng: np.random.Generator, num_draws: int = 2_000) -> Interval:
    """Mean and 95 % percentile interval over frames, drawn with replacement."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ConfigError("needs at least one finite score", where="bootstrap")
    means = array[rng.integers(0, array.size, (num_draws, array.size))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean=float(array.mean()), low=float(low), high=float(high), num_frames=int(array.size))


def summary(scores: Sequence[Scores], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Mean and interval of every metric over frames, ready for JSON."""
    return {
        field.name: asdict(bootstrap([getattr(score, field.name) for score in scores], rng)) for field in fields(Scores)
    }
