"""Packing a whole data set: parts of bounded size, resumed where a build stopped, committed by dataset.json.

Every part carries the key of all that it was computed from and how far into the take it reaches, so
a build that was killed goes on after the last part that is whole. One process at a time builds a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from anim_real import __version__
from anim_real.errors import ConfigError, DataError
from anim_real.files import read_json, refuse_unwritable, sha256_bytes, sha256_file, write_json, write_text
from anim_real.shards.container import ShardFile
from anim_real.shards.index import RECORD_NAME, count_split, load_record, record_problems, shard_path
from anim_real.shards.locking import LOCK_NAME, dataset_lock
from anim_real.shards.plan import BuildPlan, Outcome, Outcomes, Remainder, TakePlan
from anim_real.shards.schema import (
    MAX_SHARD_BYTES,
    SPLITS,
    DatasetRecord,
    ItemFailure,
    ShardEntry,
    ShardHeader,
    Split,
    SplitCounts,
    columns,
)
from anim_real.shards.write import ScanUnit, build_image, publish_image

_INTENT_NAME = "build.json"
_PART_BYTES = MAX_SHARD_BYTES - (8 << 20)  # leaves room for HDF5's own tables and the header


def pack_dataset(folder: Path, plan: BuildPlan, outcomes: Outcomes) -> DatasetRecord:
    """Build, or go on building, the data set in ``folder``.

    Args:
        folder: output; new, or an earlier run of the same plan.
        plan: what to pack.
        outcomes: yields one outcome per scan that is left, take by take, scan by scan in order.

    Raises:
        ConfigError: the folder holds something else, or was begun with other inputs or options.
        LockedError: another process builds it.
        NoSpaceError: the disk is full; finished shards stay and are kept by the next run.
        DataError: not one scan could be packed.
    """
    paths = [shard_path(take.subject, take.take, 0) for take in plan.takes]
    if len(set(paths)) != len(paths):
        raise ConfigError(f"takes share a shard name: {sorted({p for p in paths if paths.count(p) > 1})}", where=folder)
    _refuse_foreign(folder, plan)
    with dataset_lock(folder):
        finished = _finished(folder, plan)
        if finished is not None:
            return finished
        write_json(folder / _INTENT_NAME, {"build_key": plan.build_key, "provenance": plan.provenance})
        _remove_partials(folder / "shards")
        packed = {take.take: _kept_parts(folder, take) for take in plan.takes}
        left = [
            Remainder(plan=take, num_done=packed[take.take].num_done)
            for take in plan.takes
            if not packed[take.take].is_whole
        ]
        plans = {remainder.plan.take: remainder.plan for remainder in left}
        for name, stream in groupby(outcomes(left), key=lambda outcome: outcome.take):
            _pack_take(folder, plan, plans[name], packed[name], stream)
        entries = [entry for parts in packed.values() for entry in parts.entries]
        failures = [failure for parts in packed.values() for failure in parts.failures]
        if not entries:
            reasons = "; ".join(f"{failure.take} {failure.item}: {failure.reason}" for failure in failures[:5])
            _remove_empty(folder)
            raise DataError(f"not one scan could be packed: {reasons}", where=folder)
        record = _record(plan, entries, failures)
        assert not record_problems(folder, record), record_problems(folder, record)
        write_text(folder / RECORD_NAME, record.model_dump_json(indent=2, by_alias=True) + "\n")
        (folder / _INTENT_NAME).unlink()
        return record


def _remove_empty(folder: Path) -> None:
    """Take back a build that came to nothing: a later run may choose other inputs for the same folder."""
    (folder / _INTENT_NAME).unlink()
    with suppress(OSError):  # not there, or not empty
        (folder / "shards").rmdir()


def _refuse_foreign(folder: Path, plan: BuildPlan) -> None:
    """Only a new or empty folder, or one begun under the same key, may be written to."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError("output exists and is not a folder", where=folder, fix="Choose another -o")
    refuse_unwritable(folder / RECORD_NAME)
    for name in (RECORD_NAME, _INTENT_NAME):
        if (folder / name).is_file():
            found = read_json(folder / name)
            if not isinstance(found, dict) or found.get("build_key") != plan.build_key:
                raise ConfigError(
                    "holds a data set of other inputs, options or tool version",
                    where=folder,
                    fix="Choose another -o, or move the old one away",
                )
            return
    if folder.is_dir() and any(path.name != LOCK_NAME for path in folder.iterdir()):
        raise ConfigError("output folder is not empty and not a data set", where=folder, fix="Choose another -o")


def _finished(folder: Path, plan: BuildPlan) -> DatasetRecord | None:
    """Return the record of an earlier complete run whose shards are all there in their full size."""
    if not (folder / RECORD_NAME).is_file():
        return None
    record = load_record(folder)
    paths = [(folder / entry.path, entry.bytes) for entry in record.shards]
    is_whole = all(path.is_file() and path.stat().st_size == num_bytes for path, num_bytes in paths)
    return record if is_whole and record.build_key == plan.build_key else None


def _remove_partials(folder: Path) -> None:
    """Remove what a killed run left; nobody else writes here while we hold the lock."""
    for path in folder.glob(".*.partial.h5"):
        path.unlink()


@dataclass(kw_only=True)
class _Packed:
    """Parts of a take that are on disk."""

    entries: list[ShardEntry] = field(default_factory=list)
    failures: list[ItemFailure] = field(default_factory=list)
    num_done: int = 0
    is_whole: bool = False


def _pack_take(folder: Path, plan: BuildPlan, take: TakePlan, packed: _Packed, stream: Iterable[Outcome]) -> None:
    """Collect outcomes into parts and publish each when the next unit no longer fits."""
    units: list[ScanUnit] = []
    pending: list[ItemFailure] = []

    def flush(*, is_last_part: bool) -> None:
        nonlocal units, pending
        if units:
            header = _header(plan, take, packed, is_last_part=is_last_part, failures=tuple(pending))
            packed.entries.append(_write_part(folder, header, units))
        packed.failures += pending
        packed.is_whole = is_last_part
        units, pending = [], []

    for outcome in stream:
        if outcome.unit is not None:
            if sum(unit.num_bytes for unit in units) + outcome.unit.num_bytes > _PART_BYTES:
                flush(is_last_part=False)
            units.append(outcome.unit)
        pending += outcome.failures
        packed.num_done += 1
    flush(is_last_part=True)


def _kept_parts(folder: Path, take: TakePlan) -> _Packed:
    """Parts of the take that an earlier run finished from the same inputs, every checksum read."""
    packed = _Packed()
    while not packed.is_whole:
        path = folder / shard_path(take.subject, take.take, len(packed.entries))
        if not path.is_file():
            break
        try:
            shard = ShardFile(path)
            try:
                shard.read_all()
                entry = _entry(shard, path.stat().st_size, sha256_file(path))
            finally:
                shard.close()
        except DataError:
            break  # damaged: this part and the later ones are built again
        if shard.header.input_key != take.input_key or shard.header.part != len(packed.entries):
            break
        packed.entries.append(entry)
        packed.failures += shard.header.failures
        packed.num_done = shard.header.num_scans_done
        packed.is_whole = shard.header.is_last_part
    return packed


def _header(
    plan: BuildPlan, take: TakePlan, packed: _Packed, *, is_last_part: bool, failures: tuple[ItemFailure, ...]
) -> ShardHeader:
    return ShardHeader(
        subject=take.subject,
        take=take.take,
        part=len(packed.entries),
        is_last_part=is_last_part,
        size=plan.size,
        color=plan.color,
        sensors=take.sensors,
        units={path: column.unit for path, column in columns(plan.size, plan.color).items()},
        input_key=take.input_key,
        num_scans_done=packed.num_done,
        failures=failures,
        provenance={
            **take.provenance,
            "consent": take.consent.model_dump(mode="json"),
            "tool_version": __version__,
        },
    )


def _write_part(folder: Path, header: ShardHeader, units: list[ScanUnit]) -> ShardEntry:
    image = build_image(header, units)
    path = folder / shard_path(header.subject, header.take, header.part)
    publish_image(path, image)
    shard = ShardFile(path)
    try:
        return _entry(shard, len(image), sha256_bytes(image))
    finally:
        shard.close()


def _entry(shard: ShardFile, num_bytes: int, sha256: str) -> ShardEntry:
    header = shard.header
    return ShardEntry(
        path=shard_path(header.subject, header.take, header.part),
        sha256=sha256,
        bytes=num_bytes,
        subject=header.subject,
        take=header.take,
        part=header.part,
        input_key=header.input_key,
        scans=tuple(shard.scan_index.tolist()),
        num_frames=shard.num_rows("frames/projection"),
        num_points=shard.num_rows("samples/sdf"),
        num_vertices=shard.num_rows("scans/vertices"),
        num_unlabelled=int((shard.read("scans/has_regions", slice(None)) == 0).sum()),
    )


def _record(plan: BuildPlan, entries: list[ShardEntry], failures: list[ItemFailure]) -> DatasetRecord:
    packed = {entry.subject for entry in entries}
    splits: dict[Split, tuple[str, ...]] = {
        split: tuple(subject for subject in plan.splits.get(split, ()) if subject in packed) for split in SPLITS
    }
    takes = {entry.take for entry in entries}
    counts: dict[Split, SplitCounts] = {split: count_split(entries, subjects) for split, subjects in splits.items()}
    return DatasetRecord(
        name=plan.name,
        kind=plan.kind,
        size=plan.size,
        color=plan.color,
        splits=splits,
        counts=counts,
        shards=tuple(entries),
        consents=tuple(take.consent for take in plan.takes if take.take in takes),
        failures=tuple(failures),
        build_key=plan.build_key,
        provenance=plan.provenance,
        tool_version=__version__,
    )
