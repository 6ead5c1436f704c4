"""Make scans watertight, align frames to them, sample labelled points and pack HDF5 shards.

Reads a manifest and the takes it names. Resumes where an earlier run of the same command stopped;
the folder is a data set once dataset.json is in it. Scans or frames that fail are listed (exit 3).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.flags import require_range, require_seed

if TYPE_CHECKING:
    from anim_real.shards.plan import Outcome, Remainder
    from anim_real.shards.schema import DatasetRecord

_MAX_WORKERS = 512


@dataclass(frozen=True)
class Arguments:
    """Arguments of ``build-shards``."""

    manifest: tyro.conf.Positional[Path]
    """manifest JSON that ingest wrote"""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """folder of the data set"""
    calibration: Path | None = None
    """the calibration the manifest was made with; default: where the manifest says it lies"""
    size: int = 512
    """side of the square crops in pixels"""
    resolution: int = 256
    """cells along the longest side of the watertight grid"""
    points: int = 200_000
    """labelled points per scan"""
    color: Literal["jpeg", "raw"] = "jpeg"
    """how colour is stored: JPEG of quality 95, or raw"""
    regions: Path | None = None
    """TOML that says where face and hands come from; default: labels of the scans' own vertices"""
    seed: int = 0
    """of the sampling"""
    workers: int = 0
    """processes; 0 = one per core"""
    dry_run: bool = False
    """only say what would be packed"""


def run(arguments: Arguments, console: Console) -> Result:
    """Build the data set; return its record and what failed."""
    check_numbers(arguments.size, arguments.points, arguments.workers, arguments.resolution, arguments.seed)
    from anim_real.commands.jobs.aligned_pairs import PairOptions, pair_outcome
    from anim_real.commands.jobs.pair_sources import build_plan, load_sources, remaining_tasks
    from anim_real.commands.jobs.workers import Workers
    from anim_real.regions import load_regions
    from anim_real.shards.pack import pack_dataset

    options = PairOptions(
        size=arguments.size,
        resolution=arguments.resolution,
        num_points=arguments.points,
        color=arguments.color,
        seed=arguments.seed,
        regions=None if arguments.regions is None else load_regions(arguments.regions),
    )
    sources = load_sources(arguments.manifest, arguments.calibration)
    plan = build_plan(sources, options)
    if arguments.dry_run:
        lines = tuple(f"{take.take}: {take.num_scans} scans of {take.subject}" for take in plan.takes)
        return Result(record={"build_key": plan.build_key, "num_takes": len(plan.takes)}, lines=lines)
    with Workers(pair_outcome, arguments.workers or os.cpu_count() or 1) as workers:

        def outcomes(left: list[Remainder]) -> Iterable[Outcome]:
            total = sum(remainder.plan.num_scans - remainder.num_done for remainder in left)
            return console.progress(workers.in_order(remaining_tasks(sources, options, left)), "scans", total=total)

        record = pack_dataset(arguments.output, plan, outcomes)
    return packed_result(arguments.output, record)


def check_numbers(size: int, points: int, workers: int, resolution: int, seed: int) -> None:
    """Refuse sizes that cannot be meant."""
    require_range("--size", size, 32, 4096)
    require_range("--points", points, 100, 10_000_000)
    require_range("--resolution", resolution, 16, 1024)
    require_range("--workers", workers, 0, _MAX_WORKERS)
    require_seed(seed)


def packed_result(folder: Path, record: DatasetRecord) -> Result:
    """What a command that packed a data set answers."""
    num_bytes = sum(entry.bytes for entry in record.shards)
    lines = [
        f"{split}: {count.subjects} subjects, {count.frames} frames, {count.scans} scans, {count.points} points"
        for split, count in record.counts.items()
        if count.shards
    ]
    num_unlabelled = sum(count.unlabelled for count in record.counts.values())
    if num_unlabelled:
        lines.append(f"{num_unlabelled} scans have no labelled face and hands: no extra points are drawn there")
    lines.append(f"{len(record.shards)} shards, {num_bytes / 1e6:.1f} MB, {len(record.failures)} failures")
    facts = {
        "counts": {split: count.model_dump() for split, count in record.counts.items()},
        "num_shards": len(record.shards),
        "bytes": num_bytes,
        "build_key": record.build_key,
    }
    failures = tuple(f"{failure.take} {failure.item}: {failure.reason}" for failure in record.failures)
    return Result(path=folder, record=facts, lines=tuple(lines), failures=failures)
