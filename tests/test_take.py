"""Takes: what is there is opened, what is malformed is named with file, line and key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.errors import AnimRealError, ConfigError, DataError, NotFoundError, SchemaVersionError
from anim_real.specs import load_toml
from anim_real.take import RgbdFrame, TakeSpec, find_takes, load_take, read_table, take_toml

TOML = """schema = "anim-real/take/1"
take_id = "s01-walk"
kind = "subject"
subject = "s01"
action = "walk"
rig = "virtual"
[consent]
scope = ["research", "publication"]
licence = "CC-BY-4.0"
date = 2026-02-03
"""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    spec = TakeSpec.model_validate(
        {
            "schema": "anim-real/take/1",
            "take_id": "s01-walk",
            "kind": "calibration",
            "subject": "target",
            "action": 'quotes " and \\ and µ and 😀, a\ttab, a\nnew line, \x7f and \x01',
            "rig": "rigs/a b.toml",
            "date": "2026-02-04",
            "target": "prism",
            "consent": {"scope": ["research", "internal"], "licence": "CC-BY-4.0", "date": "2026-02-03"},
            "note": "x" * 3000,
        }
    )
    path = tmp_path / "take.toml"
    path.write_text(take_toml(spec), encoding="utf-8")
    assert load_toml(TakeSpec, path) == spec
    bare = spec.model_copy(update={"action": "", "date": None, "target": None, "consent": None, "note": ""})
    assert take_toml(bare).splitlines() == [
        'schema = "anim-real/take/1"', 'take_id = "s01-walk"', 'kind = "calibration"', 'subject = "target"',
        'rig = "rigs/a b.toml"',
    ]  # fmt: skip


def test_scans_may_come_later(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "t")
    (folder / "scans").rename(tmp_path / "later")
    with pytest.raises(NotFoundError, match="no scans yet"):
        load_take(folder)
    take = load_take(folder, require_scans=False)
    assert (take.scan_paths, take.scan_index.shape, take.scan_time_us.dtype) == ({}, (0,), np.int64)
    (tmp_path / "later").rename(folder / "scans")
    assert sorted(load_take(folder, require_scans=False).scan_paths) == [1, 2]
    (folder / "scans" / "timestamps.csv").unlink()
    with pytest.raises(NotFoundError):  # a folder of scans without its table is a mistake
        load_take(folder, require_scans=False)


def test_an_unfinished_recording_is_told(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "t")
    (folder / "kinect-k1.partial.mkv").write_bytes(b"x")
    with pytest.raises(DataError, match=r"kinect-k1.partial.mkv: .*rename it to kinect-k1.mkv"):
        load_take(folder)


def make_take(
    folder: Path, *, toml: str = TOML, stamps: str = "frame_index,time_us\n0,1000\n1,34333\n2,67666\n"
) -> Path:
    (folder / "scans").mkdir(parents=True)
    (folder / "take.toml").write_text(toml)
    (folder / "scans" / "timestamps.csv").write_text(stamps)
    (folder / "kinect-k0.mkv").write_bytes(b"x")
    (folder / "scans" / "frame-000001.glb").write_bytes(b"x")
    (folder / "scans" / "frame-000002.PLY").write_bytes(b"x")
    (folder / "scans" / "notes.txt").write_text("not a scan")
    return folder


def test_a_complete_take_is_opened(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "t")
    (folder / "triggers.csv").write_text("pulse_index,time_us\n0,5\n2,66671\n")
    (folder / "scans" / "led.csv").write_text("frame_index,time_us,level\n0,1000,0.25\n1,34333,1.0\n")
    take = load_take(folder)
    assert take.spec.subject == "s01"
    assert take.spec.consent is not None
    assert take.spec.consent.licence == "CC-BY-4.0"
    assert take.recordings == {"k0": folder / "kinect-k0.mkv"}
    assert take.scan_time_us.tolist() == [1000, 34333, 67666]
    assert take.scan_index.dtype == np.int64
    assert set(take.scan_paths) == {1, 2}
    assert take.pulse_index is not None
    assert take.pulse_index.tolist() == [0, 2]
    assert take.led is not None
    assert take.led["level"].tolist() == [0.25, 1.0]
    with pytest.raises(NotFoundError, match="k9"):
        take.recording("k9")


def test_optional_tables_may_be_absent(tmp_path: Path) -> None:
    take = load_take(make_take(tmp_path / "t", toml=TOML.partition("[consent]")[0]))
    assert take.pulse_time_us is None
    assert take.led is None
    assert take.spec.consent is None


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('subject = "s01"', 'subject = "Jane Doe"', "subject"),
        ('kind = "subject"', 'kind = "portrait"', "kind"),
        ('action = "walk"', 'acton = "walk"', "acton"),
        ('take_id = "s01-walk"', 'take_id = "../s01"', "take_id"),
        ('scope = ["research", "publication"]', "scope = []", "scope"),
        ('rig = "virtual"', "", "rig"),
        ('rig = "virtual"', "rig = ", "TOML"),
    ],
)
def test_a_wrong_key_of_take_toml_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in TOML
    folder = make_take(tmp_path / "t", toml=TOML.replace(old, new))
    with pytest.raises(ConfigError, match=key) as caught:
        load_take(folder)
    assert "take.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_take_of_another_schema_is_told_apart_from_a_typo(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "t", toml=TOML.replace("anim-real/take/1", "anim-real/take/9"))
    with pytest.raises(SchemaVersionError, match=r"take.toml.*take/9"):
        load_take(folder)


@pytest.mark.parametrize(
    ("stamps", "text"),
    [
        ("frame_index,time\n0,1\n", "columns"),
        ("frame_index,time_us\n0,1\n1,nan\n", "not a number"),
        ("frame_index,time_us\n0,1\n1,\n", "not a number"),
        ("frame_index,time_us\n0,1\n1,abc\n", "not a number"),
        ("frame_index,time_us\n0,1\n1,inf\n", "not a number"),
        ("frame_index,time_us\n0,500\n1,400\n2,600\n", "time_us does not ascend at line 3"),
        ("frame_index,time_us\n0,500\n2,600\n2,700\n", "frame_index does not ascend at line 4"),
        ("", "readable CSV"),
        ("frame_index,time_us\n0,1\n1,33333\n", r"frames \[2\] have no row"),
    ],
)
def test_a_malformed_table_is_named(tmp_path: Path, stamps: str, text: str) -> None:
    folder = make_take(tmp_path / "t", stamps=stamps)
    with pytest.raises(DataError, match=text) as caught:
        load_take(folder)
    assert "scans" in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("missing", ["take.toml", "scans/timestamps.csv", "kinect-k0.mkv"])
def test_a_missing_part_is_named(tmp_path: Path, missing: str) -> None:
    folder = make_take(tmp_path / "t")
    (folder / missing).unlink()
    with pytest.raises(NotFoundError) as caught:
        load_take(folder)
    assert caught.value.exit_code == 10
    assert str(folder) in str(caught.value)


def test_takes_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c"):
        make_take(tmp_path / name)
    assert find_takes(tmp_path) == [tmp_path / "a", tmp_path / "b", tmp_path / "deep" / "c"]
    assert find_takes(tmp_path / "a") == [tmp_path / "a"]
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "nowhere"):
        with pytest.raises(NotFoundError):
            find_takes(tmp_path / wrong)


def test_table_keeps_64_bits_and_extra_columns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time_us,frame_index,note\n9007199254740993,0,x\n9007199254740994,1,y\n")
    table = read_table(path, {"frame_index": "int64", "time_us": "int64"})
    assert table["time_us"].tolist() == [9007199254740993, 9007199254740994]  # above 2**53: floats would lose this
    assert list(table.columns) == ["frame_index", "time_us"]


def test_frame_knows_its_time_and_completeness() -> None:
    depth = np.zeros((2, 2), np.uint16)
    color = np.zeros((2, 2, 3), np.uint8)
    both = RgbdFrame(index=0, color=color, depth_mm=depth, ir=None, color_time_us=10, depth_time_us=12)
    only = RgbdFrame(index=1, color=color, depth_mm=None, ir=None, color_time_us=10, depth_time_us=None)
    assert (both.time_us, both.is_complete) == (12, True)
    assert (only.time_us, only.is_complete) == (10, False)


def test_errors_survive_a_process_boundary(tmp_path: Path) -> None:
    import copy

    with pytest.raises(AnimRealError) as caught:
        load_take(tmp_path / "none")
    again = copy.copy(caught.value)
    assert str(again) == str(caught.value)
    assert type(again) is type(caught.value)
