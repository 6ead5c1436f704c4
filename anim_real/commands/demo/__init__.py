"""Run the whole job on the virtual studio and on real files, score it against the truth, and write a report.

Every step is the same command a user runs; only the scoring reads the truth of the virtual studio.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError
from anim_real.files import refuse_existing
from anim_real.flags import require_range, require_seed

if TYPE_CHECKING:
    from anim_real.commands.jobs.solve_rig import SolvedRig

_DEFAULT_OUTPUT = Path("out") / "demo"
_CROP_PX = 192
_CLEAN_SCANS_PER_TAKE = 3


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much the demo does.

    Attributes:
        resolution: cells along the longest side when scans are made watertight.
        num_points: labelled points per scan.
        clean_views: renderings around each clean scan.
        train, finetune: recipe overrides (``--set``).
        cells: of the reconstruction, per axis; finer ones show nothing that the tiny network knows.
        scored_frames: frames of the held-out subject that are scored.
    """

    resolution: int = 256
    num_points: int = 60_000
    clean_views: int = 12
    train: tuple[str, ...] = ()
    finetune: tuple[str, ...] = ()
    cells: int = 96
    scored_frames: int = 8


_QUICK = Scale(
    resolution=96,
    num_points=20_000,
    clean_views=4,
    train=("schedule.steps=60", "run.checkpoint_every=60"),
    finetune=("schedule.steps=20", "run.checkpoint_every=20"),
    cells=40,
    scored_frames=2,
)


@dataclass(frozen=True)
class Arguments:
    """Arguments of ``demo``."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """folder to write; default: out/demo, or the next free out/demo-2, -3, …"""
    real: Path | None = None
    """folder of real files; default: $ANIM_REAL_SHARED, else ../shared/data where it exists"""
    rig: str = "virtual"
    """name or path of the rig"""
    subjects: int = 3
    """subjects, one take each; the last one is held out"""
    frames: int = 16
    """scanner frames per take"""
    seed: int = 0
    """seed of everything"""
    quick: bool = False
    """coarse scans and a few training steps: shows that everything runs, not how good it gets"""

    @property
    def scale(self) -> Scale:
        """How much is done."""
        return _QUICK if self.quick else Scale()


@dataclass(kw_only=True)
class Job:
    """The demo's folder, what each step returned and how long it took; ``solved`` holds calibrate's evidence."""

    folder: Path
    console: Console
    solved: SolvedRig | None = None
    results: dict[str, Result] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def step(self, name: str, run: Callable[[Any, Console], Result], arguments: Any) -> Result:
        """Run one command, keep its result and its time."""
        self.console.say(f"== {name}")
        start = time.perf_counter()
        result = run(arguments, self.console)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.results[name] = result
        for line in result.lines:
            self.console.say(f"   {line}")
        for failure in result.failures:
            self.console.say(f"   failed: {failure}")
        return result

    @property
    def failures(self) -> tuple[str, ...]:
        """Every failure of every step."""
        return tuple(f"{name}: {failure}" for name, result in self.results.items() for failure in result.failures)


def run(arguments: Arguments, console: Console) -> Result:
    """Run every step, score, write ``report.html`` and ``summary.json``."""
    if arguments.subjects < 2:
        raise ConfigError(f"{arguments.subjects} subject cannot be split", where="--subjects", fix="Give 2 or more")
    require_range("--frames", arguments.frames, 2, 100_000)
    require_seed(arguments.seed)
    from anim_real.commands.demo.page import write_report
    from anim_real.commands.demo.real_files import FACTORY, RealFiles, find_folder, run_real_files
    from anim_real.commands.demo.summary import summarise
    from anim_real.files import write_json

    real_folder = find_folder(arguments.real)
    job = Job(folder=_free_folder(arguments.output), console=console)
    _run_studio(job, arguments, None if real_folder is None else real_folder / FACTORY)
    _run_learning(job, arguments)
    real: RealFiles | None = None
    if real_folder is None:
        console.say("== real files: none at ../shared/data; name a folder with --real to include them")
    else:
        console.say("== real files")
        start = time.perf_counter()
        real = run_real_files(real_folder, job.folder / "real", console, seed=arguments.seed)
        job.seconds["real files"] = time.perf_counter() - start
    summary = summarise(job, arguments, real)
    write_json(job.folder / "summary.json", summary.record)
    report_path = write_report(job, arguments, summary, real)
    failures = job.failures + (real.failures if real else ())
    return Result(path=report_path, record=summary.record, lines=summary.lines, failures=failures)


def _free_folder(given: Path | None) -> Path:
    """The folder asked for, which must be new; by default the first free name."""
    if given is not None:
        refuse_existing(given)
        return given
    candidate, number = _DEFAULT_OUTPUT, 2
    while candidate.exists():
        candidate, number = _DEFAULT_OUTPUT.with_name(f"{_DEFAULT_OUTPUT.name}-{number}"), number + 1
    return candidate


def _run_studio(job: Job, arguments: Arguments, factory: Path | None) -> None:
    """From nothing to shards of real (here: simulated, noisy) pairs; ``factory`` is a real calibration.json."""
    from anim_real.commands import build_shards, calibrate, ingest, simulate
    from anim_real.take import find_takes

    studio, folder, seed = job.folder / "studio", job.folder, arguments.seed
    job.step(
        "simulate",
        simulate.run,
        simulate.Arguments(
            output=studio,
            rig=arguments.rig,
            subjects=arguments.subjects,
            frames=arguments.frames,
            factory=factory if factory is not None and factory.is_file() else None,
            seed=seed,
        ),
    )

    def solve(flags: calibrate.Arguments, console: Console) -> Result:
        result, job.solved = calibrate.run_with_evidence(flags, console)
        return result

    job.step(
        "calibrate",
        solve,
        calibrate.Arguments(
            take=studio / "takes" / "calibration", rig=arguments.rig, output=folder / "calibration.json"
        ),
    )
    held_out = load_subject(find_takes(studio / "takes")[-1])
    job.step(
        "ingest",
        ingest.run,
        ingest.Arguments(
            takes=(studio / "takes",),
            calibration=folder / "calibration.json",
            rig=arguments.rig,
            output=folder / "manifests" / "demo.json",
            test=(held_out,),
            seed=seed,
        ),
    )
    job.step(
        "build-shards",
        build_shards.run,
        build_shards.Arguments(
            manifest=folder / "manifests" / "demo.json",
            output=folder / "shards" / "real",
            size=_CROP_PX,
            resolution=arguments.scale.resolution,
            points=arguments.scale.num_points,
            seed=seed,
        ),
    )


def load_subject(take: Path) -> str:
    """Pseudonym of the subject of a take."""
    from anim_real.specs import load_toml
    from anim_real.take import TakeSpec

    return load_toml(TakeSpec, take / "take.toml").subject


def _run_learning(job: Job, arguments: Arguments) -> None:
    """Train on clean renderings, fine-tune on the noisy pairs, score both on the subject held out."""
    from anim_real.commands import evaluate, finetune, reconstruct, render, train
    from anim_real.shards.read import open_dataset

    folder, seed, scale = job.folder, arguments.seed, arguments.scale
    meshes = _clean_scans(job.folder)
    job.step(
        "render",
        render.run,
        render.Arguments(
            meshes=meshes,
            output=folder / "shards" / "clean",
            views=scale.clean_views,
            unit="mm",
            size=_CROP_PX,
            resolution=scale.resolution,
            points=scale.num_points,
            seed=seed,
            licence="CC0-1.0",
        ),
    )
    clean, real = folder / "shards" / "clean", folder / "shards" / "real"
    seeded = (f"seed={seed}",)
    job.step(
        "train",
        train.run,
        train.Arguments(recipe="anim_tiny", data=clean, output=folder / "runs" / "clean", set=scale.train + seeded),
    )
    weights = {"before": folder / "runs" / "clean" / "weights", "after": folder / "runs" / "finetuned" / "weights"}
    job.step(
        "finetune",
        finetune.run,
        finetune.Arguments(
            recipe="finetune_tiny",
            weights=weights["before"],
            data=real,
            output=folder / "runs" / "finetuned",
            set=scale.finetune + seeded,
        ),
    )
    frame = open_dataset(real).frames("test")[0]
    for name, path in weights.items():
        job.step(
            f"reconstruct {name}",
            reconstruct.run,
            reconstruct.Arguments(
                weights=path,
                data=real,
                frame=frame.name,
                output=folder / "meshes" / f"{name}.ply",
                resolution=scale.cells,
            ),
        )
        job.step(
            f"evaluate {name}",
            evaluate.run,
            evaluate.Arguments(
                weights=path,
                data=real,
                split="test",
                output=folder / "scores" / f"{name}.json",
                resolution=scale.cells,
                limit=scale.scored_frames,
                seed=seed,
            ),
        )


def _clean_scans(folder: Path) -> tuple[Path, ...]:
    """Copy some scans of the training subjects under names of their own: what clean training renders."""
    from anim_real.manifest import load_manifest
    from anim_real.take import load_take

    manifest, _ = load_manifest(folder / "manifests" / "demo.json")
    copies: list[Path] = []
    (folder / "clean_scans").mkdir(parents=True)
    for entry in manifest.takes:
        if entry.subject not in manifest.splits["train"]:
            continue
        scans = sorted(load_take(folder / "manifests" / entry.folder).scan_paths.items())
        step = max(1, len(scans) // _CLEAN_SCANS_PER_TAKE)
        for index, path in scans[::step][:_CLEAN_SCANS_PER_TAKE]:
            copies.append(folder / "clean_scans" / f"{entry.subject}-{index}{path.suffix}")
            shutil.copyfile(path, copies[-1])
    return tuple(copies)
