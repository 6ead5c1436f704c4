"""The demo's report: one HTML file with the figures and the pictures a person wants to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anim_real import __version__
from anim_real.commands.demo import pictures
from anim_real.commands.demo.real_files import RealFiles
from anim_real.commands.demo.summary import Summary
from anim_real.commands.jobs.calibration_page import add_calibration
from anim_real.report import Report, curves, histogram, side_by_side

if TYPE_CHECKING:
    from anim_real.commands.demo import Arguments, Job


def write_report(job: Job, arguments: Arguments, summary: Summary, real: RealFiles | None) -> Path:
    """Write ``report.html`` into the job's folder; return its path."""
    report = Report("anim-real: the whole job on the virtual studio")
    report.text(
        f"anim-real {__version__}, seed {arguments.seed}, {arguments.subjects} subjects, {arguments.frames} scanner "
        "frames each. Every step is the command a user runs; only this scoring reads the truth."
    )
    report.heading("Figures")
    report.table(("what", "result"), summary.table())
    if job.solved is not None:
        add_calibration(report, job.solved)
    _pairs(report, job, arguments)
    _shards(report, job)
    _learning(report, job, arguments, summary)
    if real is not None:
        _real_files(report, real)
    return report.save(job.folder / "report.html")


def _pairs(report: Report, job: Job, arguments: Arguments) -> None:
    """Depth on colour, the scan in the image, and how depth lies about the scans."""
    from anim_real.calibration import load_calibration
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.capture.scanner import load_scan
    from anim_real.manifest import load_manifest
    from anim_real.rig import load_rig
    from anim_real.take import load_take

    rig, _, _ = load_rig(arguments.rig)
    sensor = load_calibration(job.folder / "calibration.json").sensors[rig.sensors[0].id]
    manifest, frames = load_manifest(job.folder / "manifests" / "demo.json")
    report.heading("Pairs")
    for entry in manifest.takes:
        rows = frames[(frames["take"] == entry.take_id) & (frames["verdict"] == "pair")]
        if not len(rows):
            continue
        row = rows.iloc[len(rows) // 2]
        take = load_take(job.folder / "manifests" / entry.folder)
        with open_recording(take.recording(sensor.sensor)) as recording:
            frame = recording.capture(int(row["kinect_index"]))
        scan = load_scan(take.scan_paths[int(row["scan_index"])], rig.scanner)
        assert frame.color is not None
        placed = pictures.scan_in_image(frame.color, scan, sensor.color.camera(), sensor.T_color_scan.rigid())
        report.picture(
            side_by_side([pictures.depth_on_color(frame, sensor), placed]),
            f"{entry.take_id}, capture {frame.index}: aligned depth on colour (near red, far blue); the scan projected",
        )
    pairs = frames[frames["verdict"] == "pair"]
    report.chart(histogram(pairs["depth_bias_mm"], "median signed distance of depth to scan per pair, mm", bins=20), "")
    report.chart(histogram(pairs["dt_us"] / 1e3, "capture minus scan, ms", bins=20), "")
    lost = frames[frames["verdict"] != "pair"]
    reasons = lost["reason"].str.replace(r" \(nearest.*\)", "", regex=True)
    report.table(("reason for exclusion", "frames"), reasons.value_counts().items())


def _shards(report: Report, job: Job) -> None:
    """What the network gets, and the labelled points."""
    from anim_real.shards.read import open_dataset

    report.heading("Shards")
    for name in ("clean", "real"):
        dataset = open_dataset(job.folder / "shards" / name)
        frame = dataset.frame(dataset.frames("train")[0])
        row = [
            pictures.frame_input(frame),
            pictures.scan_in_image(frame.color, dataset.mesh(frame.scan), frame.camera, frame.T_color_scan),
        ]
        report.picture(
            side_by_side(row), f"{name}: {frame.key.name}, colour, depth, and the watertight scan in the image"
        )
        report.picture(
            pictures.point_samples(dataset, frame), f"{name}: labelled points, blue inside, red outside", width_px=420
        )


def _learning(report: Report, job: Job, arguments: Arguments, summary: Summary) -> None:
    """Loss curves, scores, and the reconstruction beside the truth."""
    from anim_real.mesh import load_mesh
    from anim_real.rig import load_rig
    from anim_real.shards.read import open_dataset

    report.heading("Training and reconstruction")
    losses = {name: _loss(job.folder / "runs" / name / "metrics.jsonl") for name in ("clean", "finetuned")}
    report.chart(
        curves(losses, "step", "loss", log=True), "training on clean renderings, then fine-tuning on noisy pairs"
    )
    keys = sorted(set(summary.scores["before"]) & set(summary.scores["after"]))
    report.table(
        ("held-out subject, noisy frames", "before", "after fine-tuning"),
        [(key, summary.scores["before"][key], summary.scores["after"][key]) for key in keys],
    )
    up = load_rig(arguments.rig)[0].scanner.up_vector
    dataset = open_dataset(job.folder / "shards" / "real")
    frame = dataset.frame(dataset.frames("test")[0])
    report.picture(pictures.frame_input(frame), f"input: {frame.key.name}")
    report.picture(pictures.four_sides(dataset.mesh(frame.scan), up), "the scan (truth) from four sides")
    for name, caption in (("before", "before fine-tuning"), ("after", "after fine-tuning")):
        mesh = load_mesh(job.folder / "meshes" / f"{name}.ply")
        report.picture(pictures.four_sides(mesh, up), f"reconstruction {caption} from the same sides")


def _loss(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses of a run's metrics."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows = [row for row in rows if "loss" in row and "step" in row]
    return np.array([row["step"] for row in rows]), np.array([row["loss"] for row in rows])


def _real_files(report: Report, real: RealFiles) -> None:
    """The real recording beside its published facts; the real meshes as packed."""
    from anim_real.shards.read import open_dataset

    report.heading("Real files")
    if real.recording:
        report.table(
            ("recording", "found", "published", "same"),
            [(name, str(found), str(known), found == known) for name, (found, known) in real.recording.items()],
        )
    if real.export is not None and real.export.path is not None:
        for path in sorted(real.export.path.glob("*.overlay.png")):
            report.picture(pictures.read_image(path), "real recording: aligned depth on colour")
    for name, folder in real.shards.items():
        dataset = open_dataset(folder)
        frame = dataset.frame(dataset.frames()[0])
        report.picture(pictures.frame_input(frame), f"{name}: rendered colour and depth")
        report.picture(pictures.four_sides(dataset.mesh(frame.scan), np.array([0.0, 1.0, 0.0])), f"{name}: watertight")
        report.picture(pictures.point_samples(dataset, frame), f"{name}: labelled points", width_px=420)
    for failure in real.failures:
        report.text(f"failed: {failure}")
