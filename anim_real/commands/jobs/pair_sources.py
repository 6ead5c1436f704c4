"""What build-shards packs from: a manifest with its rig, calibration and takes, checked against its hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anim_real import __version__
from anim_real.calibration import Calibration, load_calibration
from anim_real.capture.person_mask import background_file
from anim_real.commands.jobs.aligned_pairs import LostTake, PairFrame, PairOptions, PairTask
from anim_real.commands.jobs.region_labels import source_sha256
from anim_real.errors import ConsentError, DataError, NotFoundError
from anim_real.files import inside, require_folder, sha256_file
from anim_real.manifest import Manifest, ManifestTake, load_manifest
from anim_real.regions import RegionSpec
from anim_real.rig import RigSpec, load_rig
from anim_real.shards.plan import BuildPlan, Remainder, TakePlan, content_key
from anim_real.shards.schema import SHARD_SCHEMA, TakeConsent
from anim_real.take import load_take

_KEYS = ("take", "sensor", "kinect_index", "scan_index", "kinect_time_us", "scan_time_us")
_QUALITY = ("dt_us", "depth_coverage", "depth_to_scan_mm", "depth_bias_mm")


@dataclass(frozen=True, kw_only=True, eq=False)
class PairSources:
    """Everything read before packing.

    Attributes:
        path, sha256: of the manifest.
        takes: the manifest's takes that have pairs, by id.
        pairs: take -> scan -> the captures paired with it; scans ascend, captures by sensor.
    """

    path: Path
    sha256: str
    manifest: Manifest
    takes: dict[str, ManifestTake]
    pairs: dict[str, dict[int, tuple[PairFrame, ...]]]
    rig: RigSpec
    calibration: Calibration


def load_sources(manifest_path: Path, calibration_path: Path | None) -> PairSources:
    """Read manifest, table, rig and calibration.

    Raises:
        NotFoundError: one of the files is missing.
        DataError: the calibration or rig is not the one the manifest was made with, no frame is a
            pair, a subject is in no split or in two, or a take of the table is not in the manifest.
        ConsentError: a take has no consent.
    """
    manifest, table = load_manifest(manifest_path)
    calibration_path = calibration_path or manifest_path.parent / manifest.calibration
    if sha256_file(calibration_path) != manifest.calibration_sha256:
        raise DataError(
            "is not the calibration the manifest was made with", where=calibration_path, fix="Run ingest again"
        )
    calibration = load_calibration(calibration_path)
    rig, rig_path, rig_sha256 = load_rig(manifest.rig)
    if rig_sha256 != manifest.rig_sha256:
        raise DataError("is not the rig file the manifest was made with", where=rig_path, fix="Run ingest again")
    pairs = _pairs(manifest_path, table)
    if not pairs:
        raise DataError(
            "no frame of the manifest is a pair", where=manifest_path, fix="Look at the reasons in its table"
        )
    takes = {take.take_id: take for take in manifest.takes if take.take_id in pairs}
    _check_takes(manifest_path, manifest, set(pairs), takes)
    return PairSources(
        path=manifest_path,
        sha256=sha256_file(manifest_path),
        manifest=manifest,
        takes=takes,
        pairs=pairs,
        rig=rig,
        calibration=calibration,
    )


def _pairs(path: Path, table: pd.DataFrame) -> dict[str, dict[int, tuple[PairFrame, ...]]]:
    """Rows whose verdict is ``pair``, by take and scan."""
    found: dict[str, dict[int, tuple[PairFrame, ...]]] = {}
    records: list[Any] = table.to_dict("records")
    chosen = [row for row in records if str(row["verdict"]) == "pair"]
    if any(pd.isna(row[name]) for row in chosen for name in _KEYS):
        raise DataError("a pair of its table lacks take, sensor, index or time", where=path, fix="Run ingest again")
    for row in sorted(chosen, key=lambda row: (row["take"], row["scan_index"], row["sensor"], row["kinect_index"])):
        scans = found.setdefault(str(row["take"]), {})
        scan_index = int(row["scan_index"])
        scans[scan_index] = (*scans.get(scan_index, ()), _pair_frame(row))
    return found


def _check_takes(path: Path, manifest: Manifest, paired: set[str], takes: dict[str, ManifestTake]) -> None:
    unknown = sorted(paired - set(takes))
    if unknown:
        raise DataError(
            f"its table has takes {unknown} that the manifest does not list", where=path, fix="Run ingest again"
        )
    homes = [subject for subjects in manifest.splits.values() for subject in subjects]
    for take in takes.values():
        if take.consent is None:
            raise ConsentError("no consent is recorded", where=f"{path} take {take.take_id}", fix="Add it to take.toml")
        if homes.count(take.subject) != 1:
            problem = f"subject {take.subject} is in {homes.count(take.subject)} splits, not in one"
            raise DataError(problem, where=path, fix="Run ingest again")


def build_plan(sources: PairSources, options: PairOptions) -> BuildPlan:
    """Say what will be packed, with the keys by which a later run knows it again."""
    manifest = sources.manifest
    provenance = {
        "manifest": manifest.name,
        "manifest_sha256": sources.sha256,
        "calibration_sha256": manifest.calibration_sha256,
        "rig": manifest.rig,
        "rig_sha256": manifest.rig_sha256,
        "depth_filters": manifest.depth_filters,
        "options": options.record(),
    }
    shared = {
        "schema": SHARD_SCHEMA,
        "tool": __version__,
        "options": options.record(),
        "calibration": manifest.calibration_sha256,
        "rig": manifest.rig_sha256,
        "depth_filters": manifest.depth_filters,
    }
    takes = tuple(_take_plan(sources, take, shared, options.regions) for take in sources.takes.values())
    return BuildPlan(
        name=manifest.name,
        kind="pairs",
        size=options.size,
        color=options.color,
        splits={split: tuple(subjects) for split, subjects in manifest.splits.items()},
        takes=takes,
        build_key=content_key([shared, [take.input_key for take in takes]]),
        provenance=provenance,
    )


def _take_plan(
    sources: PairSources, take: ManifestTake, shared: dict[str, Any], regions: RegionSpec | None
) -> TakePlan:
    pairs = sources.pairs[take.take_id]
    assert take.consent is not None
    consent = TakeConsent(
        take=take.take_id, subject=take.subject, action=take.action, consent=take.consent, licence=take.consent.licence
    )
    rows = [[scan_index, [repr(frame) for frame in frames]] for scan_index, frames in pairs.items()]
    region_files = source_sha256(regions, sources.path.parent / take.folder)
    inputs = [shared, take.take_id, take.files_sha256, rows, consent.model_dump(mode="json"), region_files]
    inputs.append(take.person_sources)
    return TakePlan(
        take=take.take_id,
        subject=take.subject,
        sensors=tuple(sorted({frame.sensor for frames in pairs.values() for frame in frames})),
        num_scans=len(pairs),
        input_key=content_key(inputs),
        consent=consent,
        provenance=shared | {"region_files_sha256": region_files, "person_sources": take.person_sources},
    )


def remaining_tasks(sources: PairSources, options: PairOptions, left: list[Remainder]) -> Iterator[PairTask | LostTake]:
    """Tasks of what is left to pack, in order; a take is opened, and its hashes checked, when its turn comes."""
    for remainder in left:
        take = remainder.plan.take
        try:
            yield from pair_tasks(sources, options, take)[remainder.num_done :]
        except (DataError, NotFoundError) as error:
            yield LostTake(take=take, reason=str(error))


def pair_tasks(sources: PairSources, options: PairOptions, take_id: str) -> list[PairTask]:
    """One task per scan of a take that has pairs, ascending.

    Raises:
        NotFoundError: the take or one of its files is gone.
        DataError: a file changed since ingest, or a sensor is not in the calibration.
    """
    entry = sources.takes[take_id]
    folder = require_folder(sources.path.parent / entry.folder, "take")
    for name, sha256 in entry.files_sha256.items():
        if sha256_file(inside(folder, name)) != sha256:
            raise DataError("changed since ingest", where=folder / name, fix="Run ingest again")
    take = load_take(folder)
    pairs = sources.pairs[take_id]
    names = sorted({frame.sensor for frames in pairs.values() for frame in frames})
    unknown = [name for name in names if name not in sources.calibration.sensors]
    if unknown:
        raise DataError(f"sensors {unknown} are not in the calibration", where=folder, fix="Calibrate and ingest again")
    _check_backgrounds(sources.rig, entry, names, folder)
    missing = sorted(set(pairs) - set(take.scan_paths))
    if missing:
        raise NotFoundError(
            f"scans {missing[:5]} of the manifest are gone", where=folder / "scans", fix="Restore the take"
        )
    return [
        PairTask(
            take=take_id,
            folder=folder,
            scan_index=scan_index,
            scan_path=take.scan_paths[scan_index],
            frames=frames,
            recordings={name: take.recording(name) for name in names},
            sensors={name: sources.calibration.sensors[name] for name in names},
            rig=sources.rig,
            options=options,
        )
        for scan_index, frames in pairs.items()
    ]


def _check_backgrounds(rig: RigSpec, entry: ManifestTake, names: list[str], folder: Path) -> None:
    """Refuse a recording of the empty studio that is not the one ingest used (it may lie outside the take)."""
    if rig.person.background is None:
        return
    for name in names:
        path = background_file(rig.person.background, name, folder)
        if sha256_file(path) != entry.person_sources.get(name, {}).get("background", {}).get("sha256"):
            raise DataError("changed since ingest", where=path, fix="Run ingest again")


def _pair_frame(row: dict[str, Any]) -> PairFrame:
    numbers = {name: float("nan") if pd.isna(row[name]) else float(row[name]) for name in _QUALITY}
    return PairFrame(
        sensor=str(row["sensor"]),
        kinect_index=int(row["kinect_index"]),
        kinect_time_us=int(row["kinect_time_us"]),
        scan_time_us=int(row["scan_time_us"]),
        **numbers,
    )
