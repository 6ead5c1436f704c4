"""build-shards from true files: what is packed lies where the exact scene says, and bad input is refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from anim_real.cli import main
from anim_real.commands.jobs.aligned_pairs import pair_outcome
from anim_real.commands.jobs.workers import Workers
from anim_real.errors import DataError
from anim_real.geometry.depth import unproject
from anim_real.mesh import load_mesh, save_mesh
from anim_real.samples import Region
from anim_real.shards.read import open_dataset

from .tiny_release import CENTER_M, LENGTH_M, RADIUS_M, T_COLOR_SCAN, write_release

FAST = ["--size", "128", "--resolution", "64", "--points", "2000", "--workers", "1"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def built(release: Path) -> Path:
    output = release.parent / "dataset"
    assert main(["build-shards", str(release), "-o", str(output), *FAST]) == 0
    return output


@pytest.fixture
def copy(release: Path, tmp_path: Path) -> Path:
    shutil.copytree(release.parent / "takes", tmp_path / "takes")
    for path in release.parent.glob("*.*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path / release.name


def _capsule_distance(points: np.ndarray, sway_m: float) -> np.ndarray:
    """Signed distance in closed form."""
    local = points - (sway_m, CENTER_M, 0.0)
    local[:, 1] -= np.clip(local[:, 1], -LENGTH_M / 2, LENGTH_M / 2)
    return np.linalg.norm(local, axis=1) - RADIUS_M


def test_frames_meshes_and_labels_lie_on_the_true_person(built: Path) -> None:
    dataset = open_dataset(built)
    assert len(dataset.frames("train")) == len(dataset.frames("test")) == 3
    for key in dataset.frames():
        frame = dataset.frame(key)
        sway = 0.02 * frame.kinect_index
        assert frame.scan == f"{frame.take}/{frame.kinect_index}"
        np.testing.assert_allclose(frame.T_color_scan.matrix, T_COLOR_SCAN.matrix, atol=1e-12)
        points = unproject(frame.depth_mm, frame.camera)
        points = frame.T_color_scan.inverse().apply(points[np.isfinite(points).all(-1)])
        error = _capsule_distance(points, sway)
        assert abs(np.median(error)) < 0.0007  # metres: depth is rounded to 1 mm twice, facets cut off 0.24 mm
        assert (frame.depth_mm > 0).sum() > 0.8 * frame.mask.sum() > 500
        orange = frame.color[frame.depth_mm > 0].mean(0)
        np.testing.assert_allclose(orange, (200, 120, 40), atol=15)  # grey levels: edges mix with the background
        mesh = dataset.mesh(frame.scan)
        assert (
            np.abs(_capsule_distance(mesh.vertices, sway)).mean() < 0.0005
        )  # metres: facets, and cells of 25 mm snapped to the scan
        samples = dataset.samples(frame.scan)
        error = samples.sdf - _capsule_distance(samples.points.astype(np.float64), sway)
        assert np.abs(error).max() < 0.0006  # metres: sagitta of a facet in both directions
        assert (samples.region == Region.FACE).mean() > 0.15
        assert mesh.regions is not None and mesh.colors is not None


def test_the_record_carries_consent_counts_and_provenance(built: Path, release: Path) -> None:
    record = open_dataset(built).record
    assert record.counts["train"].scans == 3 and record.counts["train"].points == 6000
    assert {consent.licence for consent in record.consents} == {"CC0-1.0"}
    assert record.consents[0].consent is not None and record.consents[0].consent.scope == ("research",)
    manifest = json.loads(release.read_text())
    assert record.provenance["calibration_sha256"] == manifest["calibration_sha256"]
    assert record.provenance["options"] == {
        "size": 128,
        "resolution": 64,
        "num_points": 2000,
        "color": "jpeg",
        "seed": 0,
        "regions": None,
    }
    assert record.failures == ()


def _label_images(release: Path, takes: tuple[str, ...], size: tuple[int, int] = (720, 1280)) -> Path:
    """PNGs whose value 7 is the front of the capsule above 1.6 m, 2.13 m away; and the spec naming them."""
    labels = np.zeros(size, np.uint8)
    labels[: int(362 - 611 * 0.6 / 2.13)] = 7  # 0.6 m above the camera
    for take in takes:
        folder = release.parent / "takes" / take / "labels-k0"
        folder.mkdir()
        for index in range(3):
            cv2.imwrite(str(folder / f"{index:06d}.png"), labels)
    spec = release.parent / "regions.toml"
    spec.write_text('schema = "anim-real/regions/1"\nsource = "label_images"\n[label_images]\nhand = [7]\n')
    return spec


def test_label_images_say_where_the_hands_are_and_what_is_not_labelled_is_counted(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (copy.parent / "takes").glob("*/scans/*.glb"):
        scan = load_mesh(path)
        save_mesh(path, dataclasses.replace(scan, regions=None))
        _restamp(copy, path.parents[1].name, path)
    spec = _label_images(copy, ("s01-sway",))
    output = copy.parent / "d"
    assert main(["build-shards", str(copy), "-o", str(output), "--regions", str(spec), *FAST]) == 0
    assert "3 scans have no labelled face and hands" in capsys.readouterr().out
    dataset = open_dataset(output)
    assert dataset.record.provenance["options"]["regions"]["label_images"]["hand"] == [7]
    assert dataset.record.counts["train"].unlabelled + dataset.record.counts["test"].unlabelled == 3
    for key in dataset.frames():
        frame = dataset.frame(key)
        mesh, samples = dataset.mesh(frame.scan), dataset.samples(frame.scan)
        if frame.take != "s01-sway":
            assert mesh.regions is None and samples.band.max() != 2
            continue
        assert mesh.regions is not None
        front = mesh.vertices[:, 2] > 0.05
        assert (mesh.regions[(mesh.vertices[:, 2] > 0.12) & (mesh.vertices[:, 1] > 1.63)] == Region.HAND).all()
        assert (mesh.regions[front & (mesh.vertices[:, 1] < 1.57)] == Region.OTHER).all()
        assert (samples.points[samples.band == 2][:, 1] > 1.55).all() and (samples.band == 2).mean() == 0.25


def test_other_label_images_make_another_data_set(copy: Path) -> None:
    spec = _label_images(copy, ("s01-sway", "s02-sway"))
    arguments = ["build-shards", str(copy), "-o", str(copy.parent / "d"), "--regions", str(spec), *FAST]
    assert main(arguments) == 0
    changed = copy.parent / "takes" / "s01-sway" / "labels-k0" / "000000.png"
    cv2.imwrite(str(changed), np.full((720, 1280), 7, np.uint8))
    assert main(arguments) == 2


def test_label_images_of_another_size_are_refused_by_name(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _label_images(copy, ("s01-sway", "s02-sway"), size=(360, 640))
    assert main(["build-shards", str(copy), "-o", str(copy.parent / "d"), "--regions", str(spec), *FAST]) != 0
    told = capsys.readouterr().err
    assert "labels-k0/000000.png" in told and "(640, 360) pixels, its colour image (1280, 720)" in told


def test_running_again_does_nothing_and_other_options_are_refused(
    built: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert main(["build-shards", str(release), "-o", str(built), *FAST]) == 0
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before
    assert main(["build-shards", str(release), "-o", str(built), *FAST, "--seed", "1"]) == 2
    assert "other inputs, options or tool version" in capsys.readouterr().err


def test_spawned_workers_give_the_same_bytes(built: Path, release: Path, tmp_path: Path) -> None:
    assert main(["build-shards", str(release), "-o", str(tmp_path / "d"), *FAST[:-1], "2"]) == 0
    for path in built.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "d" / path.relative_to(built)).read_bytes(), path.name


def test_a_broken_scan_is_listed_and_the_rest_is_packed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = copy.parent / "takes" / "s01-sway" / "scans" / "frame-000001.glb"
    save_mesh(scan, load_mesh(scan).scaled(1000.0))  # micrometres: cannot be a person
    _restamp(copy, "s01-sway", scan)
    output = copy.parent / "d"
    assert main(["build-shards", str(copy), "-o", str(output), *FAST]) == 3
    assert "failed: s01-sway scan 1" in capsys.readouterr().err
    dataset = open_dataset(output)
    assert dataset.scans("test") == ("s01-sway/0", "s01-sway/2")
    assert [failure.item for failure in dataset.record.failures] == ["scan 1"]


def test_a_capture_without_a_person_is_listed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = copy.with_name("tiny.frames.csv")
    rows = pd.read_csv(table)
    rows.loc[rows["take"] == "s02-sway", "kinect_index"] += 5
    _rewrite_table(copy, rows)
    output = copy.parent / "d"
    assert main(["build-shards", str(copy), "-o", str(output), *FAST]) == 3
    assert "failed: s02-sway frame k0/" in capsys.readouterr().err
    assert {entry.subject for entry in open_dataset(output).record.shards} == {"s01"}
    assert open_dataset(output).record.splits["train"] == ()


def test_a_take_changed_since_ingest_is_listed_as_lost(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy.parent / "takes" / "s02-sway" / "scans" / "timestamps.csv").write_text("frame_index,time_us\n0,1\n1,2\n2,3\n")
    assert main(["build-shards", str(copy), "-o", str(copy.parent / "d"), *FAST]) == 3
    assert "changed since ingest" in capsys.readouterr().err


def test_dry_run_writes_nothing(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-shards", str(release), "-o", str(tmp_path / "d"), *FAST, "--dry-run"]) == 0
    assert "s01-sway: 3 scans of s01" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def _no_manifest(path: Path) -> None:
    path.unlink()


def _no_table(path: Path) -> None:
    path.with_name("tiny.frames.csv").unlink()


def _other_table(path: Path) -> None:
    table = path.with_name("tiny.frames.csv")
    table.write_text(table.read_text().replace("0.95", "0.96"))


def _pair_without_scan(path: Path) -> None:
    rows = pd.read_csv(path.with_name("tiny.frames.csv"))
    rows.loc[0, "scan_index"] = None
    _rewrite_table(path, rows)


def _other_schema(path: Path) -> None:
    _edit(path, schema="anim-real/manifest/9")


def _other_calibration(path: Path) -> None:
    calibration = path.with_name("calibration.json")
    calibration.write_text(calibration.read_text().replace("0.004", "0.005"))


def _no_consent(path: Path) -> None:
    manifest = json.loads(path.read_text())
    manifest["takes"][0]["consent"] = None
    path.write_text(json.dumps(manifest))


def _both_splits(path: Path) -> None:
    _edit(path, splits={"train": ["s01", "s02"], "val": [], "test": ["s01"]})


def _unknown_key(path: Path) -> None:
    _edit(path, surprise=1)


def _not_json(path: Path) -> None:
    path.write_text("{")


@pytest.mark.parametrize(
    ("break_it", "exit_code", "message"),
    [
        (_no_manifest, 10, "no such file"),
        (_no_table, 10, "no such frame table"),
        (_other_table, 4, "changed after the manifest"),
        (_pair_without_scan, 4, "lacks take, sensor, index or time"),
        (_other_schema, 12, "anim-real/manifest/9"),
        (_other_calibration, 4, "not the calibration the manifest was made with"),
        (_no_consent, 14, "no consent"),
        (_both_splits, 4, "subject s01 is in 2 splits"),
        (_unknown_key, 4, "surprise"),
        (_not_json, 4, "not valid JSON"),
    ],
)
def test_bad_input_ends_in_one_clear_line(
    copy: Path, break_it, exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it(copy)
    assert main(["build-shards", str(copy), "-o", str(copy.parent / "d"), *FAST]) == exit_code
    captured = capsys.readouterr().err
    assert message in captured and "Traceback" not in captured
    assert not (copy.parent / "d").exists()


@pytest.mark.parametrize(
    ("flag", "value"), [("--size", "7"), ("--points", "0"), ("--resolution", "5"), ("--workers", "-1")]
)
def test_impossible_options_are_refused(release: Path, tmp_path: Path, flag: str, value: str) -> None:
    assert main(["build-shards", str(release), "-o", str(tmp_path / "d"), *FAST, flag, value]) == 2
    assert list(tmp_path.iterdir()) == []


def _die(_: int) -> int:
    import os

    os._exit(9)


def test_a_worker_that_dies_is_reported_as_such() -> None:
    with Workers(_die, 2) as workers, pytest.raises(DataError, match="worker process died"):
        list(workers.in_order([1, 2, 3]))


def test_results_keep_the_order_of_the_tasks() -> None:
    with Workers(abs, 2) as workers:
        assert list(workers.in_order(range(-9, 0))) == list(range(9, 0, -1))
    assert callable(pair_outcome)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _restamp(manifest: Path, take_id: str, changed: Path) -> None:
    """Record a changed file's new hash, as ingest would."""
    from anim_real.files import sha256_file

    table = json.loads(manifest.read_text())
    for take in table["takes"]:
        if take["take_id"] == take_id:
            take["files_sha256"][f"scans/{changed.name}"] = sha256_file(changed)
    manifest.write_text(json.dumps(table))


def _rewrite_table(manifest: Path, rows: pd.DataFrame) -> None:
    from anim_real.files import sha256_file

    for name in ("kinect_index", "scan_index", "kinect_time_us", "scan_time_us"):
        rows[name] = rows[name].astype("Int64")
    table = manifest.with_name("tiny.frames.csv")
    rows.to_csv(table, index=False)
    _edit(manifest, frames_sha256=sha256_file(table))
