"""Check data sets, shards' bytes, manifests and takes in full; list every problem (exit 4 if there is any).

A data set: sha256 of every shard, schema, checksums, finite values, closed meshes, signs of samples
against winding numbers, splits by subject. A manifest: its table, takes and the files' sha256. A take:
its tables, recordings and scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, DataError, NotFoundError
from anim_real.flags import require_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anim_real.mesh import Mesh

_MAX_SHOWN = 20


@dataclass(frozen=True)
class Arguments:
    """Arguments of ``validate``."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """data set folders, manifest files, takes or folders of takes"""
    seed: int = 0
    """chooses the sample points whose signs are checked"""


def run(arguments: Arguments, console: Console) -> Result:
    """Check every path; DataError lists all problems."""
    if not arguments.paths:
        raise ConfigError("no path was given", where="paths", fix="Name a data set, a manifest or a take")
    require_seed(arguments.seed)
    problems: list[str] = []
    records: list[dict[str, Any]] = []
    for path in arguments.paths:
        record = _validate(path, arguments.seed, console)
        problems += [f"{path}: {problem}" for problem in record["problems"]]
        records.append({"path": str(path), **record})
    if problems:
        for problem in problems[:_MAX_SHOWN]:
            console.say(problem)
        more = f", the first {_MAX_SHOWN} are shown" if len(problems) > _MAX_SHOWN else ""
        listed = "\n  ".join(problems[:_MAX_SHOWN])
        raise DataError(f"{len(problems)} problems{more}:\n  {listed}")
    lines = tuple(f"{record['path']}: {record['kind']} is sound ({record['summary']})" for record in records)
    return Result(record={"checked": records}, lines=lines)


def _validate(path: Path, seed: int, console: Console) -> dict[str, Any]:
    """Dispatch by what lies at ``path``."""
    if not path.exists():
        raise NotFoundError("no such file or folder", where=path, fix="Check the path")
    if path.is_file():
        if path.suffix == ".json":
            return _manifest(path)
        raise DataError("is not a data set folder, a manifest (.json) or a take", where=path)
    if (path / "dataset.json").is_file() or (path / "shards").is_dir():
        return _dataset(path, seed, console)
    return _takes(path, console)


def _dataset(path: Path, seed: int, console: Console) -> dict[str, Any]:
    import numpy as np

    from anim_real.shards.verify import verify_dataset

    found = verify_dataset(
        path,
        is_inside=_is_inside,
        rng=np.random.default_rng(seed),
        progress=lambda entries: console.progress(entries, "shards"),
    )
    summary = (
        f"{found.num_shards} shards, {found.num_frames} frames, {found.num_scans} scans, "
        f"{found.num_spot_points} labels checked"
    )
    return {"kind": "data set", "summary": summary, "problems": list(found.problems)}


def _is_inside(mesh: Mesh, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    from anim_real.meshes.winding import INSIDE, WindingNumber

    return WindingNumber(mesh.vertices, mesh.faces).at(points) > INSIDE


def _manifest(path: Path) -> dict[str, Any]:
    from anim_real.files import inside, sha256_file
    from anim_real.manifest import load_manifest

    manifest, frames = load_manifest(path)
    problems = list(_manifest_problems(manifest, frames))
    for take in manifest.takes:
        folder = path.parent / take.folder
        for name, sha256 in take.files_sha256.items():
            try:
                if sha256_file(inside(folder, name)) != sha256:
                    problems.append(f"take {take.take_id}: {name} changed since ingest")
            except AnimRealError as error:
                problems.append(f"take {take.take_id}: {error}")
    summary = f"{len(manifest.takes)} takes, {manifest.num_pairs} pairs, {manifest.num_excluded} excluded"
    return {"kind": "manifest", "summary": summary, "problems": problems}


def _manifest_problems(manifest: Any, frames: Any) -> list[str]:
    """Splits, counts and reasons, against the table."""
    problems = []
    listed = [subject for subjects in manifest.splits.values() for subject in subjects]
    repeated = sorted({subject for subject in listed if listed.count(subject) > 1})
    if repeated:
        problems.append(f"subjects {repeated} are in more than one split")
    is_pair = frames["verdict"] == "pair"
    homeless = sorted(set(frames.loc[is_pair, "subject"]) - set(listed))
    if homeless:
        problems.append(f"subjects {homeless} have pairs and are in no split")
    counted = (int(is_pair.sum()), int((frames["verdict"] == "excluded").sum()))
    if counted != (manifest.num_pairs, manifest.num_excluded) or sum(counted) != len(frames):
        stated = (manifest.num_pairs, manifest.num_excluded)
        problems.append(f"states {stated} pairs and excluded frames, its table of {len(frames)} rows has {counted}")
    for take in manifest.takes:
        found = int((is_pair & (frames["take"] == take.take_id)).sum())
        if found != take.num_pairs:
            problems.append(f"take {take.take_id} states {take.num_pairs} pairs, its table has {found}")
    if frames.loc[~is_pair, "reason"].isna().any():
        problems.append("an excluded frame has no reason")
    if frames.loc[is_pair, ["kinect_index", "scan_index", "dt_us"]].isna().any(axis=None):
        problems.append("a pair lacks kinect_index, scan_index or dt_us")
    if frames[is_pair].duplicated(["take", "sensor", "kinect_index"]).any():
        problems.append("a capture is in two pairs")
    return problems


def _takes(path: Path, console: Console) -> dict[str, Any]:
    from anim_real.take import find_takes

    folders = find_takes(path)
    problems: list[str] = []
    num_captures = num_scans = 0
    for folder in console.progress(folders, "takes"):
        try:
            captures, scans = _take(folder, problems)
        except AnimRealError as error:
            problems.append(str(error))
            continue
        num_captures += captures
        num_scans += scans
    summary = f"{len(folders)} takes, {num_captures} captures, {num_scans} scans"
    return {"kind": "take", "summary": summary, "problems": problems}


def _take(folder: Path, problems: list[str]) -> tuple[int, int]:
    """Open every recording and scan of a take; return how many captures and scans it has."""
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.capture.scanner import load_scan
    from anim_real.rig import load_rig
    from anim_real.take import load_take

    take = load_take(folder)
    rig, _, _ = load_rig(take.spec.rig)
    for sensor in rig.sensors:
        if sensor.id not in take.recordings:
            problems.append(f"{folder}: no recording of the rig's sensor {sensor.id}")
    num_captures = 0
    for recording in take.recordings.values():
        num_captures += open_recording(recording).info.num_captures
    for scan in take.scan_paths.values():
        try:
            load_scan(scan, rig.scanner)
        except AnimRealError as error:
            problems.append(str(error))
    if take.spec.kind == "subject" and take.spec.consent is None:
        problems.append(f"{folder / 'take.toml'}: no consent is recorded")
    return num_captures, len(take.scan_paths)
