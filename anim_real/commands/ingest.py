"""Read takes, match frames in time, check every pair against its scan, and write a manifest.

A take without recorded consent is left out, its files are not opened, and it is listed (exit code 3);
if no take with consent is left, nothing is written (exit code 14).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, ConsentError, DataError, NotFoundError, RefusedError
from anim_real.flags import require_range, require_seed

if TYPE_CHECKING:
    from anim_real.commands.jobs.take_pairs import PairingSetup, TakePairs
    from anim_real.manifest import Manifest
    from anim_real.splits import Split
    from anim_real.take import Take, TakeSpec


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Flags of ``anim-real ingest``.

    Attributes:
        takes: takes, or folders that hold takes; calibration takes among them are passed over.
        calibration: the solved calibration of the rig (JSON).
        rig: name or path of the rig.
        output: the manifest to write (.json); its table is written beside it as <stem>.frames.csv.
        test: subjects of the test split; without it a share of the subjects is drawn.
        val: subjects of the validation split.
        test_fraction: share of the subjects drawn for the test split, at least one if there are two.
        val_fraction: share of the subjects drawn for the validation split.
        seed: seed of the split and of the points that are compared.
        tolerance: largest distance in time between capture and scan, in scanner frames (below 0.5).
        min_coverage: least share of the visible scan that depth must cover.
        max_distance_mm: largest median distance of depth to scan.
        max_bias_mm: largest median signed distance of depth to scan.
        dry_run: only say what would be read and written.
    """

    takes: Annotated[tuple[Path, ...], tyro.conf.Positional]
    calibration: Path
    rig: str
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    test: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test_fraction: float = 0.2
    val_fraction: float = 0.0
    seed: int = 0
    tolerance: float = 0.45
    min_coverage: float = 0.4
    max_distance_mm: float = 15.0
    max_bias_mm: float = 10.0
    dry_run: bool = False


def run(arguments: Arguments, console: Console) -> Result:
    """Write the manifest; failures are takes or sensors that could not be used."""
    from anim_real.files import refuse_existing
    from anim_real.manifest import frames_path, save_manifest

    _check_numbers(arguments)
    if not arguments.takes:
        raise ConfigError("no take is given", where="ingest", fix="Name takes, or a folder that holds them")
    if arguments.output.suffix != ".json":
        raise ConfigError("a manifest's name ends in .json", where=arguments.output, fix="Choose another -o")
    refuse_existing(arguments.output)
    refuse_existing(frames_path(arguments.output))
    setup, rig_name, rig_sha256 = _load_setup(arguments)
    specs, failures = _subject_takes(arguments.takes, console)
    splits = _splits(arguments, {spec.subject for spec in specs.values()}, is_strict=True)
    if arguments.dry_run:
        lines = tuple(f"would read {folder} (subject {spec.subject})" for folder, spec in specs.items())
        record = {
            "takes": [spec.take_id for spec in specs.values()],
            "splits": splits,
            "would_write": str(arguments.output),
        }
        return Result(record=record, lines=(*lines, f"would write {arguments.output}"), failures=failures)
    done: list[TakePairs] = []
    for folder in specs:
        try:
            done.append(_ingest_take(folder, arguments.output, setup, console))
        except (DataError, NotFoundError, ConfigError) as error:
            failures += (f"take {specs[folder].take_id}: {error}",)
            continue
        failures += done[-1].failures
        for remark in done[-1].remarks:
            console.say(remark)
    if not any(take.entry.num_pairs for take in done):
        raise RefusedError("no take gives a single pair", where=arguments.takes[0], fix=_why_none(failures, done))
    kept = {take.entry.subject for take in done if take.entry.num_pairs}
    used = _splits(arguments, kept)
    frames = _table(done)
    manifest = _manifest(arguments, setup, rig_name, rig_sha256, done, used, frames)
    save_manifest(arguments.output, manifest, frames)
    return _report(arguments.output, manifest, failures)


def _check_numbers(arguments: Arguments) -> None:
    if not 0.0 < arguments.tolerance < 0.5:
        raise ConfigError(f"is {arguments.tolerance}", where="--tolerance", fix="Give a value between 0 and 0.5 frames")
    require_range("--min-coverage", arguments.min_coverage, 0.0, 1.0)
    require_range("--max-distance-mm", arguments.max_distance_mm, 0.0, 1000.0)
    require_range("--max-bias-mm", arguments.max_bias_mm, 0.0, 1000.0)
    require_range("--val-fraction", arguments.val_fraction, 0.0, 1.0)
    require_range("--test-fraction", arguments.test_fraction, 0.0, 1.0)
    require_seed(arguments.seed)


def _splits(arguments: Arguments, subjects: set[str], *, is_strict: bool = False) -> dict[Split, tuple[str, ...]]:
    """Split the subjects; unless strict, subjects named in flags may have dropped out."""
    from anim_real.splits import split_subjects

    return split_subjects(
        subjects,
        seed=arguments.seed,
        val=tuple(name for name in arguments.val if is_strict or name in subjects),
        test=tuple(name for name in arguments.test if is_strict or name in subjects),
        val_fraction=0.0 if arguments.val else arguments.val_fraction,
        test_fraction=0.0 if arguments.test else arguments.test_fraction,
    )


def _load_setup(arguments: Arguments) -> tuple[PairingSetup, str, str]:
    """Rig and calibration that belong together; the rig's name as build-shards finds it again."""
    from anim_real.calibration import load_calibration
    from anim_real.commands.jobs.take_pairs import PairingSetup
    from anim_real.rig import load_rig
    from anim_real.sync.audit import PairLimits

    rig, rig_path, rig_sha256 = load_rig(arguments.rig)
    calibration = load_calibration(arguments.calibration)
    if calibration.rig_sha256 != rig_sha256:
        raise DataError(
            f"was solved for another version of the rig than {rig_path}",
            where=arguments.calibration,
            fix="Run calibrate again",
        )
    limits = PairLimits(
        min_coverage=arguments.min_coverage,
        max_distance_mm=arguments.max_distance_mm,
        max_bias_mm=arguments.max_bias_mm,
    )
    setup = PairingSetup(
        rig=rig, calibration=calibration, limits=limits, tolerance=arguments.tolerance, seed=arguments.seed
    )
    return setup, rig.name if _is_shipped(rig.name, rig_sha256) else str(rig_path.resolve()), rig_sha256


def _is_shipped(name: str, sha256: str) -> bool:
    from anim_real.rig import load_rig

    try:
        return load_rig(name)[2] == sha256
    except AnimRealError:
        return False


def _subject_takes(roots: tuple[Path, ...], console: Console) -> tuple[dict[Path, TakeSpec], tuple[str, ...]]:
    """Specs of the takes of subjects that gave consent, by folder; and who is left out."""
    from anim_real.specs import load_toml
    from anim_real.take import TakeSpec, find_takes

    folders = dict.fromkeys(folder.resolve() for root in roots for folder in find_takes(root))
    specs = {folder: load_toml(TakeSpec, folder / "take.toml") for folder in folders}
    subjects = {folder: spec for folder, spec in specs.items() if spec.kind == "subject"}
    if not subjects:
        raise NotFoundError("there are only calibration takes", where=roots[0], fix="Give takes of subjects")
    for spec in specs.values():
        if spec.kind == "calibration":
            console.say(f"take {spec.take_id} is a calibration take: passed over")
    seen: dict[str, Path] = {}
    for folder, spec in subjects.items():
        if spec.take_id in seen:
            raise DataError(
                f"take id {spec.take_id!r} repeats", where=folder, fix=f"It is also in {seen[spec.take_id]}"
            )
        seen[spec.take_id] = folder
    silent = [spec.take_id for spec in subjects.values() if spec.consent is None]
    allowed = {folder: spec for folder, spec in subjects.items() if spec.consent is not None}
    if not allowed:
        raise ConsentError(
            f"no consent is recorded with take {', '.join(silent)}", where=roots[0], fix="Add [consent] to take.toml"
        )
    return allowed, tuple(f"take {name}: left out, no consent is recorded in its take.toml" for name in silent)


def _ingest_take(folder: Path, output: Path, setup: PairingSetup, console: Console) -> TakePairs:
    from anim_real.commands.jobs.take_pairs import pair_take
    from anim_real.take import load_take

    take: Take = load_take(folder)
    if take.spec.rig != setup.rig.name:
        raise DataError(f"was recorded with rig {take.spec.rig!r}, not {setup.rig.name!r}", where=folder / "take.toml")
    relative = Path(os.path.relpath(folder, output.parent.resolve())).as_posix()
    return pair_take(take, relative, setup, console)


def _table(done: list[TakePairs]):
    import pandas as pd

    from anim_real.manifest import FRAME_COLUMNS

    rows = [row for take in done for row in take.rows]
    return pd.DataFrame(rows, columns=list(FRAME_COLUMNS)).astype(FRAME_COLUMNS)


def _manifest(
    arguments: Arguments,
    setup: PairingSetup,
    rig_name: str,
    rig_sha256: str,
    done: list[TakePairs],
    splits: dict,
    frames,
) -> Manifest:
    import datetime

    from anim_real import __version__
    from anim_real.files import sha256_file
    from anim_real.manifest import Manifest

    num_pairs = int((frames["verdict"] == "pair").sum())
    calibration_path = Path(os.path.relpath(arguments.calibration.resolve(), arguments.output.parent.resolve()))
    return Manifest(
        name=arguments.output.stem,
        rig=rig_name,
        rig_sha256=rig_sha256,
        calibration=calibration_path.as_posix(),
        calibration_sha256=sha256_file(arguments.calibration),
        depth_filters=setup.rig.depth_filters.model_dump(mode="json"),
        takes=tuple(take.entry for take in done),
        splits=splits,
        num_pairs=num_pairs,
        num_excluded=len(frames) - num_pairs,
        frames_sha256="",
        tool_version=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _why_none(failures: tuple[str, ...], done: list[TakePairs]) -> str:
    """The reason that matters most: a failure, else what most matched frames were refused for."""
    from collections import Counter

    if failures:
        return f"First reason: {failures[0]}"
    rows = [row for take in done for row in take.rows]
    reasons = Counter(row["reason"] for row in rows if "dt_us" in row) or Counter(row["reason"] for row in rows)
    return f"Most frequent reason: {reasons.most_common(1)[0][0]}" if reasons else "The takes hold no frames"


def _report(path: Path, manifest: Manifest, failures: tuple[str, ...]) -> Result:
    lines = [
        f"{take.take_id}: {take.num_pairs} pairs of {take.num_scans} scans; "
        f"captures {sum(take.num_captures.values())}, incomplete {sum(take.num_incomplete.values())}, "
        f"dropped {sum(take.num_dropped.values())}"
        for take in manifest.takes
    ]
    lines.append(
        f"{manifest.num_pairs} pairs, {manifest.num_excluded} rows excluded; "
        + ", ".join(f"{k}: {' '.join(v) or '-'}" for k, v in manifest.splits.items())
    )
    record = {
        "num_pairs": manifest.num_pairs,
        "num_excluded": manifest.num_excluded,
        "splits": {split: list(names) for split, names in manifest.splits.items()},
        "takes": {
            take.take_id: {
                "num_pairs": take.num_pairs,
                "num_dropped": take.num_dropped,
                "best_offset_frames": take.best_offset_frames,
                "lag_margin": {sensor: clock.lag_margin for sensor, clock in take.clocks.items()},
            }
            for take in manifest.takes
        },
    }
    return Result(path=path, record=record, lines=tuple(lines), failures=failures)
