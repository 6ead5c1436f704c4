"""Render clean RGB-D of meshes from all sides and pack it, with labelled points, into shards.

For pre-training, and to pack real mesh files. One mesh is one subject. Resumes where an earlier run
of the same command stopped; meshes that cannot be closed are listed (exit 3).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anim_real import __version__
from anim_real.console import Console, Result
from anim_real.errors import ConfigError
from anim_real.flags import require_range

if TYPE_CHECKING:
    from anim_real.commands.jobs.rendered_views import RenderTask
    from anim_real.regions import RegionSpec
    from anim_real.shards.plan import BuildPlan, Outcome, Remainder


@dataclass(frozen=True)
class Arguments:
    """Arguments of ``render``."""

    meshes: tyro.conf.Positional[tuple[Path, ...]]
    """mesh files: OBJ, PLY, GLB or STL"""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """folder of the data set"""
    views: int = 180
    """images around each mesh, evenly spread (180 = every 2 degrees)"""
    unit: Literal["m", "dm", "cm", "mm", "inch"] = "m"
    """what one unit of the files is"""
    height: float | None = None
    """for meshes without scale: make each this tall, in metres (recorded); --unit is then not used"""
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    """axis of the files that points up"""
    size: int = 512
    """side of the square images in pixels"""
    projection: Literal["perspective", "orthographic"] = "perspective"
    """camera 2 m away, or parallel rays over a window of 2.048 m"""
    split: Literal["train", "val", "test"] = "train"
    """split that these meshes belong to"""
    resolution: int = 256
    """cells along the longest side of the watertight grid"""
    points: int = 200_000
    """labelled points per mesh"""
    color: Literal["jpeg", "raw"] = "jpeg"
    """how colour is stored: JPEG of quality 95, or raw"""
    noise: Literal["none"] = "none"
    """depth is exact but for whole millimetres; noisy images come from simulate"""
    licence: str = "unspecified"
    """licence of the meshes, carried with the data"""
    regions: Path | None = None
    """TOML that says where face and hands come from; default: labels of the meshes' own vertices"""
    seed: int = 0
    """of the sampling"""
    workers: int = 0
    """processes; 0 = one per core"""
    dry_run: bool = False
    """only say what would be packed"""


def run(arguments: Arguments, console: Console) -> Result:
    """Render and pack; return the record and what failed."""
    from anim_real.commands.build_shards import check_numbers, packed_result

    check_numbers(arguments.size, arguments.points, arguments.workers, arguments.resolution, arguments.seed)
    require_range("--views", arguments.views, 1, 3600)
    if arguments.height is not None:
        require_range("--height", arguments.height, 0.05, 3.0, unit="metres")
    if not arguments.meshes:
        raise ConfigError("no mesh was given", where="meshes", fix="Name one or more mesh files")
    from anim_real.commands.jobs.rendered_views import render_outcome
    from anim_real.commands.jobs.workers import Workers
    from anim_real.shards.pack import pack_dataset

    tasks, plan = _plan(arguments, console)
    if arguments.dry_run:
        lines = tuple(f"{task.take}: {task.num_views} views of {task.path.name}" for task in tasks.values())
        return Result(record={"build_key": plan.build_key, "num_takes": len(plan.takes)}, lines=lines)
    with Workers(render_outcome, min(len(tasks), arguments.workers or os.cpu_count() or 1)) as workers:

        def outcomes(left: list[Remainder]) -> Iterable[Outcome]:
            todo = [tasks[remainder.plan.take] for remainder in left]
            return console.progress(workers.in_order(todo), "meshes", total=len(todo))

        record = pack_dataset(arguments.output, plan, outcomes)
    return packed_result(arguments.output, record)


def _plan(arguments: Arguments, console: Console) -> tuple[dict[str, RenderTask], BuildPlan]:
    """Read every mesh once, so that a wrong unit is met before anything is written."""
    from anim_real.commands.jobs.mesh_regions import check_regions, regions_sha256
    from anim_real.commands.jobs.rendered_views import SENSOR
    from anim_real.files import sha256_file
    from anim_real.regions import load_regions
    from anim_real.shards.plan import BuildPlan, TakePlan, content_key
    from anim_real.shards.schema import SHARD_SCHEMA, TakeConsent

    regions = None if arguments.regions is None else load_regions(arguments.regions)
    check_regions(regions, arguments.meshes)
    tasks: dict[str, RenderTask] = {}
    takes: list[TakePlan] = []
    for path in console.progress(arguments.meshes, "reading meshes"):
        subject = pseudonym(path)
        task = _task(arguments, path, f"{subject}-clean", regions)
        if task.take in tasks:
            raise ConfigError(f"two meshes would be subject {subject!r}", where=path, fix="Rename one")
        provenance: dict[str, Any] = {
            "schema": SHARD_SCHEMA,
            "tool": __version__,
            "mesh": path.name,
            "mesh_sha256": sha256_file(path),
            "height_m": arguments.height,
            "options": task.record(),
            "region_files_sha256": regions_sha256(regions, path),
        }
        consent = TakeConsent(take=task.take, subject=subject, action="rendered", licence=arguments.licence)
        tasks[task.take] = task
        takes.append(
            TakePlan(
                take=task.take,
                subject=subject,
                sensors=(SENSOR,),
                num_scans=1,
                input_key=content_key([provenance, consent.model_dump(mode="json")]),
                consent=consent,
                provenance=provenance,
            )
        )
    plan = BuildPlan(
        name=arguments.output.name,
        kind="rendered",
        size=arguments.size,
        color=arguments.color,
        splits={arguments.split: tuple(take.subject for take in takes)},
        takes=tuple(takes),
        build_key=content_key([arguments.split, [take.input_key for take in takes]]),
        provenance={"meshes": {take.subject: take.provenance for take in takes}},
    )
    return tasks, plan


def _task(arguments: Arguments, path: Path, take: str, regions: RegionSpec | None) -> RenderTask:
    from anim_real.commands.jobs.rendered_views import RenderTask, file_scale
    from anim_real.mesh import load_mesh

    mesh = load_mesh(path)
    return RenderTask(
        path=path,
        take=take,
        metres_per_unit=file_scale(mesh, unit=arguments.unit, up=arguments.up, height_m=arguments.height, where=path),
        up=arguments.up,
        num_views=arguments.views,
        size=arguments.size,
        projection=arguments.projection,
        resolution=arguments.resolution,
        num_points=arguments.points,
        color=arguments.color,
        seed=arguments.seed,
        regions=regions,
    )


def pseudonym(path: Path) -> str:
    """Subject name of a mesh file: its stem in lower case, everything else than letters and digits a dash."""
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    if not name:
        raise ConfigError("the file name has no letters or digits", where=path, fix="Rename it")
    return name
