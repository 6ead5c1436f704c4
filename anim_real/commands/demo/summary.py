"""The demo's figures: one table of errors against the truth, matches, scans, scores and times."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anim_real.commands.demo.real_files import RealFiles
from anim_real.commands.demo.score import CalibrationScore, ClockScore, MatchScore

if TYPE_CHECKING:
    from anim_real.commands.demo import Arguments, Job

SCORES = ("cd_cm", "p2s_cm", "normal", "iou")


@dataclass(frozen=True, kw_only=True)
class ScanScore:
    """Watertight meshes of a data set against their raw scans, holes excluded."""

    num_scans: int
    num_closed: int
    mean_fit_mm: float
    worst_fit_mm: float
    cell_mm: float
    mean_invented_percent: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All figures: ``table`` for people, ``record`` for JSON."""

    calibration: CalibrationScore
    clocks: dict[str, ClockScore]
    matches: dict[str, MatchScore]
    scans: dict[str, ScanScore]
    scores: dict[str, dict[str, float]]
    seconds: dict[str, float]
    real: RealFiles | None = None

    @property
    def record(self) -> dict[str, Any]:
        """JSON-ready figures."""
        return {
            "calibration": asdict(self.calibration),
            "clocks": {name: asdict(score) for name, score in self.clocks.items()},
            "matches": {name: asdict(score) for name, score in self.matches.items()},
            "scans": {name: asdict(score) for name, score in self.scans.items()},
            "scores": self.scores,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "real": None
            if self.real is None
            else {
                "facts": {name: list(pair) for name, pair in self.real.recording.items()},
                "num_wrong_facts": self.real.num_wrong_facts,
                "failures": list(self.real.failures),
            },
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """The table for a terminal."""
        width = max(len(name) for name, _ in self.table())
        return tuple(f"{name:<{width}}  {value}" for name, value in self.table())

    def table(self) -> list[tuple[str, str]]:
        """Rows of name and value, in the order of the job."""
        c = self.calibration
        rows = [
            ("pose error over a person's volume", f"mean {c.pose_mean_mm:.2f} mm, max {c.pose_max_mm:.2f} mm"),
            ("  predicted by the calibration", f"mean {c.predicted_mm:.2f} mm"),
            ("depth chain error there", f"mean {c.depth_mean_mm:.2f} mm, max {c.depth_max_mm:.2f} mm"),
            ("colour reprojection there", f"mean {c.color_mean_px:.2f} px, max {c.color_max_px:.2f} px"),
        ]
        for name, clock in self.clocks.items():
            rows.append((f"clock error, {name}", f"{clock.offset_us:.0f} µs, drift {clock.drift_ppm:.2f} ppm"))
        for name, match in self.matches.items():
            text = f"{match.num_pairs} pairs, {match.num_wrong} wrong; {match.num_dropped} dropped"
            rows.append(
                (f"matching, {name}", f"{text}, {match.num_dropped_listed} listed, {match.num_invented} invented")
            )
        for name, scan in self.scans.items():
            text = f"{scan.num_closed} of {scan.num_scans} closed, from the raw scan mean {scan.mean_fit_mm:.3f} mm"
            rows.append(
                (f"watertight, {name}", f"{text}, worst {scan.worst_fit_mm:.3f} mm; cell {scan.cell_mm:.2f} mm")
            )
        for key in SCORES:
            if all(key in scores for scores in self.scores.values()):
                before, after = self.scores["before"][key], self.scores["after"][key]
                rows.append((f"{key}, held-out subject", f"{before:.3f} before, {after:.3f} after fine-tuning"))
        if self.real is not None:
            good = len(self.real.recording) - self.real.num_wrong_facts
            rows.append(("real recording", f"{good} of {len(self.real.recording)} facts as published"))
            rows.append(("real meshes", f"{len(self.real.shards)} packed, {len(self.real.failures)} failures"))
        rows += [(f"time, {name}", f"{seconds:.1f} s") for name, seconds in self.seconds.items()]
        rows.append(("time, all", f"{sum(self.seconds.values()):.1f} s"))
        return rows


def summarise(job: Job, arguments: Arguments, real: RealFiles | None) -> Summary:
    """Score everything the job wrote against the truth of the virtual studio."""
    from anim_real.calibration import load_calibration
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.commands.demo.score import score_calibration, score_clock, score_matches
    from anim_real.files import read_json
    from anim_real.manifest import load_manifest
    from anim_real.rig import load_rig
    from anim_real.studio.truth import load_truth
    from anim_real.take import load_take

    studio = job.folder / "studio"
    rig, _, _ = load_rig(arguments.rig)
    sensor_id = rig.sensors[0].id
    solved = load_calibration(job.folder / "calibration.json").sensors[sensor_id]
    truth = load_truth(studio, "calibration").sensors[sensor_id]
    manifest, frames = load_manifest(job.folder / "manifests" / "demo.json")
    clocks: dict[str, ClockScore] = {}
    matches: dict[str, MatchScore] = {}
    if solved.clock is not None:
        with open_recording(load_take(studio / "takes" / "calibration").recording(sensor_id)) as recording:
            clocks["calibration"] = score_clock(solved.clock, truth.clock_to_scanner, recording.stamps().time_us)
    for entry in manifest.takes:
        take_truth = load_truth(studio, entry.take_id).sensors[sensor_id]
        with open_recording(load_take(studio / "takes" / entry.take_id).recording(sensor_id)) as recording:
            stamps_us = recording.stamps().time_us
        clocks[entry.take_id] = score_clock(entry.clocks[sensor_id], take_truth.clock_to_scanner, stamps_us)
        rows = frames.loc[(frames["take"] == entry.take_id) & (frames["sensor"] == sensor_id)]
        matches[entry.take_id] = score_matches(rows, take_truth)
    scores = {
        name: {
            key: value["mean"] for key, value in read_json(job.folder / "scores" / f"{name}.json")["summary"].items()
        }
        for name in ("before", "after")
    }
    folders = {name: job.folder / "shards" / name for name in ("real", "clean")} | (real.shards if real else {})
    return Summary(
        calibration=score_calibration(solved, truth, rig),
        clocks=clocks,
        matches=matches,
        scans={name: _score_scans(folder) for name, folder in folders.items()},
        scores=scores,
        seconds=dict(job.seconds),
        real=real,
    )


def _score_scans(folder: Any) -> ScanScore:
    """Read every mesh of a data set; its constructor proves that it is closed."""
    from anim_real.shards.read import open_dataset

    dataset = open_dataset(folder)
    names = dataset.scans()
    evidence = [dataset.evidence(name) for name in names]
    num_closed = sum(dataset.mesh(name).volume > 0 for name in names)
    return ScanScore(
        num_scans=len(names),
        num_closed=num_closed,
        mean_fit_mm=1e3 * float(np.mean([item.fit_m for item in evidence])),
        worst_fit_mm=1e3 * float(np.max([item.fit_m for item in evidence])),
        cell_mm=1e3 * float(np.mean([item.cell_m for item in evidence])),
        mean_invented_percent=100 * float(np.mean([item.invented_share for item in evidence])),
    )
