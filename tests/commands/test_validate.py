"""validate: sound files pass; what was broken on purpose is listed with exit code 4."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from anim_real.cli import main
from anim_real.files import sha256_file

from .tiny_release import write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    manifest = write_release(root, num_scans=2)
    options = ["--size", "96", "--resolution", "64", "--points", "1500", "--workers", "1"]
    assert main(["build-shards", str(manifest), "-o", str(root / "dataset"), *options]) == 0
    return root


@pytest.fixture
def copy(release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release, tmp_path / "copy"))


def test_sound_files_pass(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["validate", str(release / "dataset"), str(release / "tiny.json"), str(release / "takes"), "--json"]) == 0
    )
    checked = json.loads(capsys.readouterr().out)["checked"]
    assert [entry["kind"] for entry in checked] == ["data set", "manifest", "take"]
    assert all(entry["problems"] == [] for entry in checked)


def test_every_problem_is_listed_in_one_run(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = sorted((copy / "dataset" / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-7])
    image = bytearray(second.read_bytes())
    image[len(image) // 2] ^= 1
    second.write_bytes(image)
    assert main(["validate", str(copy / "dataset")]) == 4
    captured = capsys.readouterr().err
    assert first.name in captured and second.name in captured and "Traceback" not in captured


def _unlisted_reason(table: pd.DataFrame) -> None:
    table.loc[table["verdict"] == "excluded", "reason"] = None


def _lost_row(table: pd.DataFrame) -> None:
    table.drop(index=0, inplace=True)


def _two_pairs(table: pd.DataFrame) -> None:
    table.loc[1, "kinect_index"] = table.loc[0, "kinect_index"]


@pytest.mark.parametrize(
    ("change", "message"),
    [(_unlisted_reason, "has no reason"), (_lost_row, "pairs and excluded"), (_two_pairs, "in two pairs")],
)
def test_a_manifest_that_contradicts_its_table_is_refused(
    copy: Path, change, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "tiny.frames.csv"
    table = pd.read_csv(path, dtype={"scan_index": "Int64", "scan_time_us": "Int64"})
    change(table)
    table.to_csv(path, index=False)
    manifest = json.loads((copy / "tiny.json").read_text())
    (copy / "tiny.json").write_text(json.dumps({**manifest, "frames_sha256": sha256_file(path)}))
    assert main(["validate", str(copy / "tiny.json")]) == 4
    assert message in capsys.readouterr().err


def test_a_manifest_whose_takes_changed_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (copy / "takes" / "s01-sway" / "kinect-k0.mkv").open("ab") as stream:
        stream.write(b"x")
    (copy / "takes" / "s02-sway" / "take.toml").unlink()
    assert main(["validate", str(copy / "tiny.json")]) == 4
    captured = capsys.readouterr().err
    assert "take s01-sway: kinect-k0.mkv changed since ingest" in captured
    assert "take s02-sway" in captured


def test_takes_are_opened_file_by_file(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "takes" / "s01-sway" / "scans" / "frame-000000.glb").write_bytes(b"glTF, but no more")
    (copy / "takes" / "s02-sway" / "kinect-k0.mkv").write_bytes(b"no recording")
    assert main(["validate", str(copy / "takes")]) == 4
    captured = capsys.readouterr().err
    assert "frame-000000.glb" in captured and "kinect-k0.mkv" in captured


@pytest.mark.parametrize(
    ("name", "exit_code"), [("nothing", 10), ("calibration.json", 12), ("tiny.frames.csv", 4), ("dataset/shards", 10)]
)
def test_what_cannot_be_validated_is_said(release: Path, name: str, exit_code: int) -> None:
    assert main(["validate", str(release / name)]) == exit_code


def test_no_path_is_a_usage_error() -> None:
    assert main(["validate"]) == 2
