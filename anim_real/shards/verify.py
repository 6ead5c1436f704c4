"""Verifying a whole data set: bytes, schema, counts, geometry. Nothing stops at the first problem; all are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import AnimRealError
from anim_real.files import inside, sha256_file
from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import Mesh, WatertightMesh
from anim_real.samples import PointSamples, Region
from anim_real.shards.container import ShardFile
from anim_real.shards.index import FrameKey, count_split, load_record, scan_id, subject_splits
from anim_real.shards.read import Dataset
from anim_real.shards.schema import DatasetRecord, ShardEntry

Inside = Callable[[Mesh, NDArray[np.float64]], NDArray[np.bool_]]
_SPOT_POINTS = 1000
_MAX_WRONG_SHARE = 0.01  # where the mesh's cells cut off a fold thicker than the margin
_MARGIN_CELLS = 2.0  # labels belong to the raw scan; the stored mesh departs from it by less than a cell
_PERSON_M = 3.0
_BAND_KINDS = 3


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was checked and what is wrong.

    Attributes:
        problems: one sentence each, naming shard, scan or frame.
        num_shards, num_frames, num_scans, num_spot_points: how much was looked at.
    """

    problems: tuple[str, ...]
    num_shards: int
    num_frames: int
    num_scans: int
    num_spot_points: int


def verify_dataset(
    folder: Path,
    *,
    is_inside: Inside,
    rng: np.random.Generator,
    progress: Callable[[Iterable[ShardEntry]], Iterable[ShardEntry]] = iter,
) -> Verification:
    """Read everything once and check it.

    Args:
        folder: the data set.
        is_inside: answers which points (P, 3) lie inside a mesh, by winding number.
        rng: chooses the sample points whose signs are checked.
        progress: wraps the list of shards.

    Raises:
        NotFoundError, SchemaVersionError, DataError: dataset.json itself cannot be used.
    """
    record = load_record(folder)
    dataset = Dataset(folder)
    problems = [*_record_problems(folder, record)]
    num_frames = num_scans = 0
    for number, entry in enumerate(progress(record.shards)):
        shard_problems = _shard_problems(folder, entry, record)
        problems += shard_problems
        if shard_problems:
            continue
        for row in range(entry.num_frames):
            key = FrameKey(subject=entry.subject, take=entry.take, shard=number, row=row)
            problems += _guarded(lambda key=key: _frame_problems(dataset, key), f"{entry.path} row {row}")
            num_frames += 1
        for scan in (scan_id(entry.take, index) for index in entry.scans):
            problems += _guarded(
                lambda scan=scan: _scan_problems(dataset, scan, is_inside, rng), f"{entry.path} {scan}"
            )
            num_scans += 1
    dataset.close()
    return Verification(
        problems=tuple(problems),
        num_shards=len(record.shards),
        num_frames=num_frames,
        num_scans=num_scans,
        num_spot_points=num_scans * _SPOT_POINTS,
    )


def _record_problems(folder: Path, record: DatasetRecord) -> Iterator[str]:
    """Counts, files beside the record, and consents against the list of shards."""
    for split, subjects in record.splits.items():
        if record.counts.get(split) != count_split(record.shards, subjects):
            yield f"dataset.json: counts of split {split} are not those of its shards"
    listed = {entry.path for entry in record.shards}
    for path in sorted((folder / "shards").glob("*")):
        if f"shards/{path.name}" not in listed:
            yield f"shards/{path.name} is not in dataset.json"
    missing = {entry.take for entry in record.shards} - {consent.take for consent in record.consents}
    if missing:
        yield f"dataset.json: takes {sorted(missing)} have no licence entry"
    idle = set(subject_splits(record)) - {entry.subject for entry in record.shards}
    if idle:
        yield f"dataset.json: subjects {sorted(idle)} have no shard"


def _shard_problems(folder: Path, entry: ShardEntry, record: DatasetRecord) -> list[str]:
    """Hash, structure and every checksum of one shard."""
    try:
        shard = ShardFile(inside(folder, entry.path), entry, record)
    except AnimRealError as error:
        return [str(error)]
    try:
        shard.read_all()
        if sha256_file(shard.path) != entry.sha256:
            return [f"{entry.path}: sha256 differs from dataset.json"]
    except AnimRealError as error:
        return [str(error)]
    finally:
        shard.close()
    return []


def _guarded(check: Callable[[], Iterable[str]], where: str) -> list[str]:
    """Run a check; what it raises is a problem too."""
    try:
        return [f"{where}: {problem}" for problem in check()]
    except AnimRealError as error:
        return [f"{where}: {error}"]


def _frame_problems(dataset: Dataset, key: FrameKey) -> Iterator[str]:
    frame = dataset.frame(key)
    depth = frame.depth_mm[frame.mask]
    if not frame.mask.any():
        yield "the mask is empty"
    elif not (depth > 0).any():
        yield "no depth on the person"
    elif np.linalg.norm(frame.T_color_scan.translation) > 100.0:
        yield f"the camera is {np.linalg.norm(frame.T_color_scan.translation):.0f} m away (metres?)"


def _scan_problems(dataset: Dataset, scan: str, is_inside: Inside, rng: np.random.Generator) -> Iterator[str]:
    mesh = dataset.mesh(scan)  # the constructor proves it closed
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    if extent > _PERSON_M:
        yield f"the mesh is {extent:.1f} m large (metres?)"
    evidence = dataset.evidence(scan)
    if not 0 <= evidence.fit_m < evidence.cell_m / 2:
        fit_mm, cell_mm = 1000 * evidence.fit_m, 1000 * evidence.cell_m
        yield f"the mesh is {fit_mm:.2f} mm from its raw scan, more than half a cell of {cell_mm:.2f} mm"
    samples = dataset.samples(scan)
    if samples.region.max() > max(Region) or samples.band.max() >= _BAND_KINDS:
        yield "samples have an unknown region or band"
    chosen = rng.choice(len(samples.sdf), size=min(_SPOT_POINTS, len(samples.sdf)), replace=False)
    yield from _label_problems(mesh, samples, chosen, is_inside, _MARGIN_CELLS * evidence.cell_m)


def _label_problems(
    mesh: WatertightMesh, samples: PointSamples, chosen: NDArray[np.int64], is_inside: Inside, margin: float
) -> Iterator[str]:
    """Signs against winding numbers, magnitudes against the distance to the stored mesh.

    Labels were made from the raw scan, so both may differ by the mesh's own error: points nearer than
    ``margin`` metres are left out of the sign check, and distances may differ by as much.
    """
    points, sdf = samples.points[chosen].astype(np.float64), samples.sdf[chosen].astype(np.float64)
    clear = np.abs(sdf) > margin
    wrong = is_inside(mesh, points[clear]) != (sdf[clear] < 0)
    if wrong.sum() > _MAX_WRONG_SHARE * len(chosen):
        yield f"{int(wrong.sum())} of {int(clear.sum())} signs disagree with the winding number"
    distance = SurfaceDistance(mesh.vertices, mesh.faces).closest(points).distance
    far = np.abs(np.abs(sdf) - distance) > margin
    if far.sum() > _MAX_WRONG_SHARE * len(chosen):
        yield f"{int(far.sum())} of {len(chosen)} distances are off by more than {1000 * margin:.1f} mm (metres?)"
