"""A rig that asks for depth filters, an empty studio and mask files: ingest and build-shards obey and record it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from anim_real.calibration import load_calibration, save_calibration
from anim_real.capture.crop import person_crop
from anim_real.capture.filters import filter_depth
from anim_real.capture.person_reader import PersonReader
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording
from anim_real.cli import main
from anim_real.files import sha256_file
from anim_real.manifest import load_manifest
from anim_real.resources import find
from anim_real.rig import DepthFilterSpec, load_rig
from anim_real.shards.read import open_dataset

from .ball_takes import DEPTH, SERIAL, write_calibration, write_take

WANTS = """
[depth_filters]
flying_pixels = "angle"
[depth_filters.temporal]
half_window = 1
max_step_mm = 40.0
[depth_filters.bilateral]

[person]
near_m = 0.5
masks = "depth"
[person.background]
folder = ".."
"""
HALVED, MASKLESS = 5, 7  # captures


def write_background(path: Path, *, wall_mm: int = 3000) -> None:
    config = RecordingConfig(serial=SERIAL, depth_mode="NFOV_2X2BINNED", color_mode=None, fps=30, has_imu=False)
    with RecordingWriter(path, config, b"{}") as writer:
        for index in range(6):
            wall = np.full((288, 320), wall_mm + index, np.uint16)
            writer.write_capture(None, wall, wall, None, index * 33_333)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studio")
    (root / "rig.toml").write_text(find("rigs", "virtual").read_text() + WANTS)
    write_calibration(root / "calibration.json")
    calibration = load_calibration(root / "calibration.json")
    save_calibration(
        root / "calibration.json", calibration.model_copy(update={"rig_sha256": sha256_file(root / "rig.toml")})
    )
    write_take(root / "takes" / "s1-swing", "s1", seed=1)
    write_background(root / "takes" / "background-k0.mkv")
    masks = root / "takes" / "s1-swing" / "masks-k0"
    masks.mkdir()
    for index in range(13):
        mask = np.full((288, 320), 255, np.uint8)
        if index == HALVED:
            mask[:, :160] = 0
        if index != MASKLESS:
            cv2.imwrite(str(masks / f"{index:06d}.png"), mask)
    assert ingest(root) == 0
    return root


def ingest(root: Path) -> int:
    return main(
        ["ingest", str(root / "takes"), "--calibration", str(root / "calibration.json"), "--quiet",
         "--rig", str(root / "rig.toml"), "-o", str(root / "balls.json"), "--min-coverage", "0.3"]
    )  # fmt: skip


def build(root: Path, output: Path) -> int:
    return main(
        ["build-shards", str(root / "balls.json"), "-o", str(output), "--size", "128", "--resolution", "32",
         "--points", "500", "--workers", "1", "--quiet"]
    )  # fmt: skip


def test_every_row_shows_what_the_masks_allow(studio: Path) -> None:
    manifest, frames = load_manifest(studio / "balls.json")
    rows = frames.dropna(subset=["kinect_index"]).set_index("kinect_index")
    assert "no such mask" in rows.loc[MASKLESS, "reason"]
    measured = rows["depth_coverage"].dropna()
    others = measured.drop(HALVED)
    assert others.min() > 0.75  # the ball's rim, seen edge-on, is lost to the rule of the angle
    assert 0.3 < measured[HALVED] < 0.8 * others.min()  # the ball is not in the middle of the image
    assert manifest.num_pairs == len(others) + 1


def test_the_manifest_records_what_was_done(studio: Path) -> None:
    manifest, _ = load_manifest(studio / "balls.json")
    assert manifest.depth_filters["temporal"] == {"half_window": 1, "max_step_mm": 40.0}
    assert manifest.depth_filters["flying_pixels"] == "angle"
    (take,) = manifest.takes
    record = take.person_sources["k0"]
    assert (record["near_m"], record["masks"], record["background"]["num_captures"]) == (0.5, "depth", 6)
    assert record["background"]["sha256"] == sha256_file(studio / "takes" / "background-k0.mkv")
    assert f"masks-k0/{HALVED:06d}.png" in take.files_sha256


def test_a_capture_is_filtered_with_its_true_neighbours_in_time(studio: Path) -> None:
    """The dropped capture's neighbours have no partner on that side; all others are averaged over three."""
    rig = load_rig(str(studio / "rig.toml"))[0]
    sensor = load_calibration(studio / "calibration.json").sensors["k0"]
    folder = studio / "takes" / "s1-swing"
    with open_recording(folder / "kinect-k0.mkv") as recording:
        reader = PersonReader(recording, sensor, rig, folder)
        stamps = recording.stamps()
        with_depth = stamps.depth_time_us
        depth = [recording.capture(index, decode_color=False).depth_mm for index in range(len(recording))]
        for index in np.flatnonzero(with_depth >= 0):
            window = []
            for wanted in with_depth[index] + np.array([-33_333, 0, 33_333]):
                near = np.flatnonzero((with_depth >= 0) & (np.abs(with_depth - wanted) < 8000))
                window.append(depth[near[0]] if len(near) else None)
            expected = filter_depth(window, DEPTH, rig.depth_filters)
            np.testing.assert_array_equal(reader.capture(int(index)).depth_mm, expected)
        off = rig.model_copy(update={"depth_filters": DepthFilterSpec()})
        raw = PersonReader(recording, sensor, off, folder).capture(2)
        np.testing.assert_array_equal(raw.depth_mm, depth[2])


def test_shards_hold_the_same_person_and_say_how(studio: Path, tmp_path: Path) -> None:
    assert build(studio, tmp_path / "data") == 0
    dataset = open_dataset(tmp_path / "data")
    rig = load_rig(str(studio / "rig.toml"))[0]
    folder = studio / "takes" / "s1-swing"
    sensor = load_calibration(studio / "calibration.json").sensors["k0"]
    keys = {dataset.frame(key).kinect_index: key for key in dataset.frames()}
    assert HALVED in keys and MASKLESS not in keys
    with open_recording(folder / "kinect-k0.mkv") as recording:
        reader = PersonReader(recording, sensor, rig, folder)
        crop = reader.crop(HALVED, size=128)
        plain = person_crop(recording.capture(HALVED), sensor, rig, size=128)
    np.testing.assert_array_equal(dataset.frame(keys[HALVED]).depth_mm, crop.depth_mm)
    assert not np.array_equal(plain.depth_mm, crop.depth_mm)
    (shard,) = (tmp_path / "data" / "shards").glob("*.h5")
    with h5py.File(shard) as file:
        header = json.loads(file.attrs["anim_real"])
    manifest, _ = load_manifest(studio / "balls.json")
    assert header["provenance"]["depth_filters"] == manifest.depth_filters
    assert header["provenance"]["person_sources"] == manifest.takes[0].person_sources
    assert dataset.record.provenance["depth_filters"] == manifest.depth_filters


@pytest.mark.parametrize("what", ["background", "mask"])
def test_a_source_that_changed_since_ingest_is_refused(
    studio: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "studio"
    shutil.copytree(studio, root)
    table = json.loads((root / "balls.json").read_text())
    table["rig"] = str(root / "rig.toml")
    (root / "balls.json").write_text(json.dumps(table))
    if what == "background":
        write_background(root / "takes" / "background-k0.mkv", wall_mm=2900)
    else:
        cv2.imwrite(str(root / "takes" / "s1-swing" / "masks-k0" / "000003.png"), np.zeros((288, 320), np.uint8))
    assert build(root, tmp_path / "data") in (3, 4)
    assert "changed since ingest" in capsys.readouterr().err


def test_a_rig_that_names_what_is_not_there_is_told(
    studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "studio"
    shutil.copytree(studio, root)
    (root / "balls.json").unlink()
    (root / "balls.frames.csv").unlink()
    (root / "takes" / "background-k0.mkv").unlink()
    assert ingest(root) == 4
    assert "background-k0.mkv: no such recording of the empty studio" in capsys.readouterr().err
