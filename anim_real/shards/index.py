"""The table of contents of a data set: which shards, scans and frames there are, without opening a shard."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anim_real.errors import DataError, NotFoundError
from anim_real.files import inside, require_folder
from anim_real.shards.schema import (
    DATASET_SCHEMA,
    MAX_SHARD_BYTES,
    SPLITS,
    DatasetRecord,
    ShardEntry,
    Split,
    SplitCounts,
)
from anim_real.specs import load_json

RECORD_NAME = "dataset.json"
_SHARD_PATH = re.compile(r"shards/[a-z0-9][a-z0-9-]*\.h5")


@dataclass(frozen=True, kw_only=True, order=True)
class FrameKey:
    """Stable name of one frame: its shard's position in the record's list and its row there."""

    subject: str
    take: str
    shard: int
    row: int

    @property
    def name(self) -> str:
        """Text such as ``s01/s01-walk/0/12``; seeds derive from it."""
        return f"{self.subject}/{self.take}/{self.shard}/{self.row}"


def scan_id(take: str, scan_index: int) -> str:
    """Name of a scan in the whole data set: ``<take>/<scan_index>``."""
    return f"{take}/{scan_index}"


def shard_path(subject: str, take: str, part: int) -> str:
    """Path of a shard below the data set's folder, with forward slashes."""
    return f"shards/{subject}-{take}-{part}.h5"


def load_record(folder: Path) -> DatasetRecord:
    """Read and check ``dataset.json``.

    Raises:
        NotFoundError: no folder, or no record: the build never finished.
        SchemaVersionError: another version.
        DataError: a path leaves the folder, a shard or scan is listed twice, a shard is too large, or a
            subject is in no split or in two.
    """
    require_folder(folder, "data set")
    path = folder / RECORD_NAME
    if not path.is_file():
        raise NotFoundError("no dataset.json: not a data set, or not finished", where=folder, fix="Run the build again")
    record = load_json(DatasetRecord, path, schema=DATASET_SCHEMA)
    for problem in record_problems(folder, record):
        raise DataError(problem, where=path)
    return record


def record_problems(folder: Path, record: DatasetRecord) -> list[str]:
    """Everything in a record that contradicts itself or could lead out of its folder."""
    problems = []
    homes = subject_splits(record)
    repeated = sorted(subject for subject, splits in homes.items() if len(splits) > 1)
    if repeated:
        problems.append(f"subjects {repeated} are in more than one split")
    paths: set[str] = set()
    scans: set[str] = set()
    for entry in record.shards:
        problems += _entry_problems(folder, entry)
        if entry.path in paths:
            problems.append(f"{entry.path} is listed twice")
        paths.add(entry.path)
        names = {scan_id(entry.take, index) for index in entry.scans}
        if len(names) != len(entry.scans) or names & scans:
            problems.append(f"{entry.path} repeats a scan")
        scans |= names
        if entry.subject not in homes:
            problems.append(f"subject {entry.subject!r} of {entry.path} is in no split")
    return problems


def subject_splits(record: DatasetRecord) -> dict[str, list[Split]]:
    """Which splits each subject is in; exactly one in a sound record."""
    homes: dict[str, list[Split]] = {}
    for split in SPLITS:
        for subject in record.splits.get(split, ()):
            homes.setdefault(subject, []).append(split)
    return homes


def count_split(entries: Iterable[ShardEntry], subjects: Iterable[str]) -> SplitCounts:
    """Count what the shards of these subjects hold."""
    wanted = set(subjects)
    chosen = [entry for entry in entries if entry.subject in wanted]
    return SplitCounts(
        subjects=len({entry.subject for entry in chosen}),
        takes=len({entry.take for entry in chosen}),
        shards=len(chosen),
        frames=sum(entry.num_frames for entry in chosen),
        scans=sum(len(entry.scans) for entry in chosen),
        points=sum(entry.num_points for entry in chosen),
        unlabelled=sum(entry.num_unlabelled for entry in chosen),
    )


def _entry_problems(folder: Path, entry: ShardEntry) -> list[str]:
    problems = []
    if not _SHARD_PATH.fullmatch(entry.path):
        problems.append(f"shard path {entry.path!r} is not shards/<name>.h5")
    else:
        try:
            inside(folder, entry.path)
        except DataError as error:
            problems.append(error.what)
    if entry.bytes > MAX_SHARD_BYTES:
        problems.append(f"{entry.path} has {entry.bytes} bytes, more than {MAX_SHARD_BYTES}")
    return problems
