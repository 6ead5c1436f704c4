"""ingest: exact pairs, drops and splits on takes of known truth; and every refusal with its exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from anim_real.cli import main
from anim_real.files import sha256_file
from anim_real.manifest import frames_path, load_manifest

from .ball_takes import CONSENT, BallTake, write_calibration, write_take


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> tuple[Path, dict[str, BallTake]]:
    """Three subjects, one take each, and a calibration."""
    root = tmp_path_factory.mktemp("balls")
    takes = {
        f"s{number}": write_take(root / "takes" / f"s{number}-swing", f"s{number}", start_us=30e6 * number, seed=number)
        for number in (1, 2, 3)
    }
    write_calibration(root / "calibration.json")
    return root, takes


def ingest(root: Path, output: Path, *flags: str, takes: tuple[Path, ...] = (), calibration: Path | None = None) -> int:
    given = [str(path) for path in takes or (root / "takes",)]
    calibration = calibration or root / "calibration.json"
    return main(["ingest", *given, "--calibration", str(calibration), "--rig", "virtual", "-o", str(output), *flags])


@pytest.fixture(scope="module")
def ingested(studio) -> Path:
    output = studio[0] / "manifests" / "balls.json"
    assert ingest(studio[0], output, "--quiet") == 0
    return output


def test_every_pair_is_right_and_nothing_is_missing(studio, ingested) -> None:
    _, takes = studio
    manifest, frames = load_manifest(ingested)
    for subject, truth in takes.items():
        rows = frames[frames["subject"] == subject]
        pairs = rows[rows["verdict"] == "pair"]
        assert {(int(a), int(b)) for a, b in zip(pairs.kinect_index, pairs.scan_index, strict=True)} == truth.pairs
        dropped = rows[rows.reason.fillna("").str.startswith("dropped")]
        assert set(dropped.scan_index.astype(int)) == truth.dropped
        assert dropped.kinect_index.isna().all()
        incomplete = rows[rows.reason.fillna("").str.startswith("incomplete")]
        assert set(incomplete.kinect_index.astype(int)) == truth.incomplete
        entry = next(take for take in manifest.takes if take.subject == subject)
        assert (entry.num_captures["k0"], entry.num_incomplete["k0"], entry.num_dropped["k0"]) == (13, 1, 1)
        assert entry.num_pairs == len(truth.pairs) == 10
        assert entry.best_offset_frames == {"k0": 0}
    assert manifest.num_pairs == 30
    assert manifest.num_pairs + manifest.num_excluded == len(frames)


def test_quality_numbers_are_those_of_the_ball(ingested) -> None:
    _, frames = load_manifest(ingested)
    pairs = frames[frames["verdict"] == "pair"]
    assert (pairs.dt_us - 700.0).abs().max() < 150.0  # latency refined from stamps with 30 µs jitter each
    # 2 mm of noise along z: median |error| normal to a half sphere is about 1 mm
    assert pairs.depth_to_scan_mm.between(0.5, 1.6).all()
    assert pairs.depth_bias_mm.abs().max() < 1.2  # motion of 0.7 ms and facets of the ball
    assert (pairs.depth_coverage > 0.85).all()  # all but the rim, where depth sees the ball edge-on


def test_manifest_points_to_its_inputs(studio, ingested) -> None:
    _, takes = studio
    manifest, _ = load_manifest(ingested)
    assert sha256_file(ingested.parent / manifest.calibration) == manifest.calibration_sha256
    assert manifest.rig == "virtual"
    for entry in manifest.takes:
        folder = ingested.parent / entry.folder
        assert folder.resolve() == takes[entry.subject].folder.resolve()
        assert "kinect-k0.mkv" in entry.files_sha256
        assert len(entry.files_sha256) == 4 + 12
        for name, digest in entry.files_sha256.items():
            assert sha256_file(folder / name) == digest
        assert entry.clocks["k0"].lag_margin is not None
        assert entry.clocks["k0"].lag_margin > 10.0


def test_splits_are_by_subject_two_to_train_one_to_test(ingested) -> None:
    manifest, _ = load_manifest(ingested)
    assert len(manifest.splits["train"]) == 2
    assert len(manifest.splits["test"]) == 1
    assert sorted(manifest.splits["train"] + manifest.splits["test"]) == ["s1", "s2", "s3"]


def test_same_input_same_table(studio, ingested, tmp_path) -> None:
    root, _ = studio
    again = root / "manifests" / "again.json"
    assert ingest(root, again, "--quiet", "--test", "s2") == 0
    assert frames_path(again).read_bytes() == frames_path(ingested).read_bytes()
    assert load_manifest(again)[0].splits == {"train": ("s1", "s3"), "val": (), "test": ("s2",)}


def test_existing_output_is_refused_and_kept(studio, ingested, capsys) -> None:
    before = ingested.read_bytes()
    assert ingest(studio[0], ingested, "--quiet") == 2
    assert "exists already" in capsys.readouterr().err
    assert ingested.read_bytes() == before


def test_dry_run_writes_nothing(studio, tmp_path, capsys) -> None:
    output = tmp_path / "m.json"
    assert ingest(studio[0], output, "--dry-run") == 0
    assert "would write" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def one_take(studio, tmp_path: Path) -> Path:
    return Path(shutil.copytree(studio[1]["s1"].folder, tmp_path / "takes" / "s1-swing"))


def test_no_consent_at_all_ends_with_14(studio, tmp_path, capsys) -> None:
    folder = one_take(studio, tmp_path)
    spec = folder / "take.toml"
    spec.write_text(spec.read_text().replace(CONSENT, ""))
    assert ingest(studio[0], tmp_path / "m.json", takes=(folder,)) == 14
    assert "s1-swing" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_a_take_without_consent_is_left_out_and_listed(studio, tmp_path, capsys) -> None:
    folder = one_take(studio, tmp_path)
    spec = folder / "take.toml"
    spec.write_text(spec.read_text().replace(CONSENT, ""))
    others = (studio[1]["s2"].folder, studio[1]["s3"].folder)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=(folder, *others)) == 3
    assert "s1-swing: left out, no consent" in capsys.readouterr().err
    manifest, frames = load_manifest(tmp_path / "m.json")
    assert {take.subject for take in manifest.takes} == {"s2", "s3"}
    assert "s1" not in set(frames["subject"])


def test_slipped_sync_is_flagged_with_the_offset(studio, tmp_path, capsys) -> None:
    slipped = write_take(tmp_path / "takes" / "s4-swing", "s4", start_us=120e6, slip=1, seed=4)
    takes = (slipped.folder, studio[1]["s1"].folder)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=takes) == 3
    assert "at +1 frames" in capsys.readouterr().err
    manifest, frames = load_manifest(tmp_path / "m.json")
    rows = frames[frames["subject"] == "s4"]
    assert (rows["verdict"] == "excluded").all()
    assert rows.reason.str.contains(r"best at \+1 frames").sum() == len(slipped.pairs)
    assert next(take for take in manifest.takes if take.subject == "s4").best_offset_frames == {"k0": 1}
    assert manifest.splits == {"train": ("s1",), "val": (), "test": ()}


def test_restarted_device_is_excluded_with_the_reason(studio, tmp_path, capsys) -> None:
    rebooted = write_take(tmp_path / "takes" / "s5-swing", "s5", seed=5, device_jump_us=-40e6)
    takes = (rebooted.folder, studio[1]["s1"].folder)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=takes) == 3
    assert "restarted" in capsys.readouterr().err
    _, frames = load_manifest(tmp_path / "m.json")
    assert frames[frames["subject"] == "s5"].reason.str.contains("restarted").all()


def test_restarted_device_is_paired_by_motion_where_there_is_enough(studio, tmp_path, capsys) -> None:
    rebooted = write_take(tmp_path / "takes" / "s6-swing", "s6", num=30, seed=6, device_jump_us=-40e6)
    takes = (rebooted.folder, studio[1]["s1"].folder)
    assert ingest(studio[0], tmp_path / "m.json", takes=takes) == 0
    told = capsys.readouterr().err
    assert "the clock is told by motion" in told
    assert "not by stamps" in told
    manifest, frames = load_manifest(tmp_path / "m.json")
    rows = frames[(frames["subject"] == "s6") & (frames["verdict"] == "pair")]
    assert set(zip(rows["kinect_index"], rows["scan_index"], strict=True)) == rebooted.pairs
    assert next(take for take in manifest.takes if take.subject == "s6").clocks["k0"].method == "motion"


def test_unit_mix_up_names_the_key_and_leaves_nothing(studio, tmp_path, capsys) -> None:
    metres = write_take(tmp_path / "takes" / "s6-swing", "s6", unit=1.0, seed=6)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=(metres.folder,)) == 4
    assert "scanner.unit" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["takes"]


def test_truncated_recording_keeps_what_is_whole(studio, tmp_path, capsys) -> None:
    folder = one_take(studio, tmp_path)
    path = folder / "kinect-k0.mkv"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = ingest(studio[0], tmp_path / "m.json", "--quiet", takes=(folder,))
    assert code in (0, 3)
    manifest, _ = load_manifest(tmp_path / "m.json")
    assert 0 < manifest.num_pairs < 10
    path.write_bytes(b"no recording")
    assert ingest(studio[0], tmp_path / "n.json", "--quiet", takes=(folder,)) == 4
    assert "kinect-k0.mkv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--test", "nobody"), 2, "Known: s1, s2, s3"),
        (("--test", "s1", "--val", "s1"), 2, "both"),
        (("--tolerance", "0.7"), 2, "tolerance"),
        (("--test", "s1", "s2", "s3"), 2, "left to train"),
    ],
)
def test_wrong_flags(studio, tmp_path, capsys, flags: tuple[str, ...], code: int, text: str) -> None:
    assert ingest(studio[0], tmp_path / "m.json", *flags) == code
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_files(studio, tmp_path, capsys) -> None:
    root, _ = studio
    output = tmp_path / "m.json"
    assert ingest(root, output, takes=(tmp_path / "none",)) == 10
    assert ingest(root, output, calibration=tmp_path / "none.json") == 10
    (tmp_path / "foreign.json").write_text('{"schema": "other/1"}')
    assert ingest(root, output, calibration=tmp_path / "foreign.json") == 12
    (tmp_path / "nan.json").write_text('{"schema": "anim-real/calibration/1", "rig": NaN}')
    assert ingest(root, output, calibration=tmp_path / "nan.json") == 4
    refused = write_calibration(tmp_path / "bad.json", passed=False)
    assert refused.name == "bad.refused.json"
    assert ingest(root, output, calibration=refused) == 4
    assert "was refused" in capsys.readouterr().err
    clockless = write_calibration(tmp_path / "clockless.json", clock=None)
    assert ingest(root, output, calibration=clockless) == 4
    assert "no clock map" in capsys.readouterr().err
    assert ingest(root, tmp_path / "m.txt") == 2
    assert not output.exists()


def test_another_device_or_rig_version(studio, tmp_path, capsys) -> None:
    root, takes = studio
    other = write_calibration(tmp_path / "other.json", serial="000000000001")
    assert ingest(root, tmp_path / "m.json", takes=(takes["s1"].folder,), calibration=other) == 4
    assert "000000000001" in capsys.readouterr().err
    text = (root / "calibration.json").read_text()
    digest = pd.Series([text]).str.extract(r'"rig_sha256": "([0-9a-f]+)"').iloc[0, 0]
    (tmp_path / "old.json").write_text(text.replace(digest, "0" * 64))
    assert ingest(root, tmp_path / "m.json", calibration=tmp_path / "old.json") == 4
    assert "another version of the rig" in capsys.readouterr().err


def test_malformed_take_is_listed_and_the_others_go_on(studio, tmp_path, capsys) -> None:
    folder = one_take(studio, tmp_path)
    stamps = folder / "scans" / "timestamps.csv"
    stamps.write_text(stamps.read_text().replace("time_us", "time"))
    takes = (folder, studio[1]["s2"].folder)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=takes) == 3
    assert "timestamps.csv" in capsys.readouterr().err
    assert load_manifest(tmp_path / "m.json")[0].num_pairs == 10


def test_same_take_twice_is_read_once_and_a_double_id_refused(studio, tmp_path, capsys) -> None:
    folder = one_take(studio, tmp_path)
    assert ingest(studio[0], tmp_path / "m.json", "--quiet", takes=(folder, folder)) == 0
    assert ingest(studio[0], tmp_path / "n.json", takes=(folder, studio[1]["s1"].folder)) == 4
    assert "repeats" in capsys.readouterr().err
