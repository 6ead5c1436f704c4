"""Training examples from a data set's shards.

Randomness derives from (run seed, epoch, stable id of the frame), so an example does not depend on
what was drawn before it, and a resumed run sees the same examples.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anim_real.data.augment import AugmentSpec, augment
from anim_real.data.examples import CM_PER_M, Example, PreparedFrame, prepare, to_model
from anim_real.data.sampling import SamplingSpec, choose
from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.geometry.frames import Rigid
from anim_real.mesh import WatertightMesh
from anim_real.meshes.winding import INSIDE, WindingNumber
from anim_real.samples import PointSamples
from anim_real.specs import Spec

Split = Literal["train", "val", "test"]


class FrameSource(Protocol):
    """What is needed of a data set; ``anim_real.shards.read.Dataset`` is one."""

    @property
    def folder(self) -> Any:
        """Where it lies."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of its record."""
        ...

    def frames(self, split: Any = None) -> Sequence[Any]:
        """Keys of the frames of a split; each has a stable ``name``."""
        ...

    def frame(self, key: Any) -> Any:
        """One frame (see ``anim_real.shards.read.ShardFrame``)."""
        ...

    def num_samples(self, scan: str) -> int:
        """Points in a scan's pool."""
        ...

    def samples(self, scan: str, start: int = 0, count: int | None = None) -> PointSamples:
        """Return a window of a scan's pool; scan frame, metres."""
        ...

    def mesh(self, scan: str) -> WatertightMesh:
        """Return the watertight mesh of a scan; scan frame, metres."""
        ...


class DataSpec(Spec):
    """What a run reads and how."""

    split: Split = "train"
    sampling: SamplingSpec = SamplingSpec()
    augment: AugmentSpec = AugmentSpec()
    depth_points: int = Field(default=15_000, ge=0, description="N_pc; 0 = no L_depth")
    depth_label: Literal["exact", "zero"] = Field(
        default="exact",
        description="label of L_depth: signed distance of the noisy point to the scan, or 0 (Eq. 5 allows both)",
    )
    max_input_points: int = Field(default=200_000, gt=0, description="depth points given to the voxel grid, at most")
    cached_frames: int = Field(default=64, ge=0, description="prepared frames kept in memory")
    replay_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="share of examples drawn from the replay data set"
    )


class _Loaded:
    """A prepared frame with what its labels need."""

    def __init__(self, frame: PreparedFrame, scan: str, T_color_scan: Rigid, depth_sdf: NDArray[np.float32]) -> None:
        self.frame, self.scan, self.T_color_scan, self.depth_sdf = frame, scan, T_color_scan, depth_sdf


class TrainingSet:
    """Examples of one split of one data set, at the network's image size."""

    def __init__(self, source: FrameSource, spec: DataSpec, *, size: int, seed: int) -> None:
        self.source, self.spec = source, spec
        self.keys = tuple(source.frames(spec.split))
        if not self.keys:
            raise DataError(
                f"the split {spec.split!r} has no frames", where=source.folder, fix="Choose another split or data set"
            )
        self._size, self._seed = size, seed
        self._cache: OrderedDict[str, _Loaded] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    def example(self, index: int, epoch: int) -> Example:
        """Example of frame ``index`` as drawn in ``epoch``."""
        key = self.keys[index]
        rng = derived_rng(self._seed, epoch, key.name)
        loaded = self._load(key)
        sampling = self.spec.sampling
        available = self.source.num_samples(loaded.scan)
        count = min(sampling.candidates, available)
        start = int(rng.integers(0, available - count + 1))
        pool = self.source.samples(loaded.scan, start, count)
        rows = choose(pool, sampling, rng)
        frame = loaded.frame
        chosen = rng.permutation(len(frame.points_color))[: self.spec.depth_points]
        example = Example(
            frame=frame,
            points=to_model(loaded.T_color_scan.apply(pool.points[rows]), frame.center),
            sdf=pool.sdf[rows] * np.float32(CM_PER_M),
            is_invented=pool.invented[rows],
            depth_points=to_model(frame.points_color[chosen], frame.center),
            depth_sdf=loaded.depth_sdf[chosen] * np.float32(CM_PER_M),
        )
        return augment(example, self.spec.augment, rng)

    def _load(self, key: Any) -> _Loaded:
        name = key.name
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        loaded = self._prepare(key)
        self._cache[name] = loaded
        while len(self._cache) > max(self.spec.cached_frames, 1):
            self._cache.popitem(last=False)
        return loaded

    def _prepare(self, key: Any) -> _Loaded:
        shard_frame = self.source.frame(key)
        frame = prepare(
            shard_frame.color,
            shard_frame.depth_mm,
            shard_frame.mask,
            shard_frame.camera,
            size=self._size,
            where=key.name,
        )
        frame = thinned(frame, self.spec.max_input_points, derived_rng(self._seed, 0, f"{key.name} points"))
        depth_sdf = np.zeros(len(frame.points_color), dtype=np.float32)
        if self.spec.depth_points and self.spec.depth_label == "exact":
            points_scan = shard_frame.T_color_scan.inverse().apply(frame.points_color)
            depth_sdf = signed_distance(self.source.mesh(shard_frame.scan), points_scan).astype(np.float32)
        return _Loaded(frame, shard_frame.scan, shard_frame.T_color_scan, depth_sdf)


def thinned(frame: PreparedFrame, max_points: int, rng: np.random.Generator) -> PreparedFrame:
    """Keep a random subset of the depth points if there are more than ``max_points``."""
    if len(frame.points_color) <= max_points:
        return frame
    kept = np.sort(rng.permutation(len(frame.points_color))[:max_points])
    return replace(frame, points_color=frame.points_color[kept])


def signed_distance(mesh: WatertightMesh, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P,) signed distance of points (P, 3) to a closed mesh, in its unit: exact distance, sign by winding number."""
    distance = SurfaceDistance(mesh.vertices, mesh.faces).closest(points).distance
    is_inside = WindingNumber(mesh.vertices, mesh.faces).at(points) > INSIDE
    return np.where(is_inside, -distance, distance)


def derived_rng(seed: int, epoch: int, name: str) -> np.random.Generator:
    """Generator for one purpose, derived from the run's seed, the epoch and a stable name."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
