"""Manifests: written and read back exactly; changed, foreign or malformed ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from anim_real.calibration import ClockMap
from anim_real.errors import DataError, NotFoundError, SchemaVersionError
from anim_real.files import inside
from anim_real.manifest import FRAME_COLUMNS, Manifest, ManifestTake, frames_path, load_manifest, save_manifest

CLOCK = ClockMap(
    src="kinect:k0",
    dst="scanner",
    origin_us=385_960_164,
    offset_us=29_907_723_928.7,
    drift_ppm=-188.5,
    residual_us=21.0,
    num_observations=30,
    lag_margin=27.5,
    method="triggers",
    latency_us=423.0,
)


def make_manifest(**changes: object) -> Manifest:
    take = ManifestTake(
        take_id="s01-walk",
        folder="../takes/s01-walk",
        subject="s01",
        action="walk",
        consent=None,
        files_sha256={"take.toml": "ab" * 32},
        clocks={"k0": CLOCK},
        best_offset_frames={"k0": 0},
        num_captures={"k0": 3},
        num_incomplete={"k0": 0},
        num_dropped={"k0": 1},
        num_scans=3,
        num_pairs=1,
    )
    return Manifest(
        name="m",
        rig="virtual",
        rig_sha256="0" * 64,
        calibration="c.json",
        calibration_sha256="1" * 64,
        takes=(take,),
        splits={"train": ("s01",), "val": (), "test": ()},
        num_pairs=1,
        num_excluded=1,
        frames_sha256="",
        tool_version="0",
        created="2026-01-01T00:00:00+00:00",
    ).model_copy(update=changes)


def make_frames() -> pd.DataFrame:
    rows = [
        {
            "take": "s01-walk", "subject": "s01", "sensor": "k0", "kinect_index": 0, "scan_index": 0,
            "kinect_time_us": 9_007_199_254_740_993, "scan_time_us": 5, "dt_us": 12.5, "depth_coverage": 0.9,
            "depth_to_scan_mm": 1.2, "depth_bias_mm": -0.3, "verdict": "pair", "reason": "",
        },
        {
            "take": "s01-walk", "subject": "s01", "sensor": "k0", "kinect_time_us": 34_000, "scan_index": 1,
            "verdict": "excluded", "reason": 'dropped: a reason, with "quotes" and commas',
        },
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(FRAME_COLUMNS)).astype(FRAME_COLUMNS)


def test_written_and_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    save_manifest(path, make_manifest(), make_frames())
    manifest, frames = load_manifest(path)
    assert manifest.model_copy(update={"frames_sha256": ""}) == make_manifest()
    assert len(manifest.frames_sha256) == 64
    assert frames["kinect_time_us"].iloc[0] == 9_007_199_254_740_993  # beyond 2**53
    assert frames["kinect_index"].isna().tolist() == [False, True]
    assert frames["reason"].iloc[1] == 'dropped: a reason, with "quotes" and commas'
    assert {name: str(kind) for name, kind in frames.dtypes.items()} == {
        name: kind if kind != "string" else str(frames.dtypes["take"]) for name, kind in FRAME_COLUMNS.items()
    }


def test_clock_of_a_manifest_still_maps_times(tmp_path: Path) -> None:
    save_manifest(tmp_path / "m.json", make_manifest(), make_frames())
    clock = load_manifest(tmp_path / "m.json")[0].takes[0].clocks["k0"]
    assert clock.to_dst(385_960_164) == pytest.approx(385_960_164 + 29_907_723_928.7, abs=1e-3)
    assert clock.to_src(clock.to_dst(400_000_000)) == pytest.approx(400_000_000, abs=1e-3)


def test_changed_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    save_manifest(path, make_manifest(), make_frames())
    table = frames_path(path)
    table.write_text(table.read_text().replace("excluded", "pair"))
    with pytest.raises(DataError, match="changed") as caught:
        load_manifest(path)
    assert "m.frames.csv" in str(caught.value)
    table.unlink()
    with pytest.raises(NotFoundError):
        load_manifest(path)


def edited(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "m.json"
    save_manifest(path, make_manifest(), make_frames())
    table = json.loads(path.read_text())
    table.update(changes)
    path.write_text(json.dumps(table))
    return path


def test_other_schema_is_refused(tmp_path: Path) -> None:
    for schema in ("anim-real/manifest/2", "anim-real/calibration/1", None):
        with pytest.raises(SchemaVersionError, match="manifest/1") as caught:
            load_manifest(edited(tmp_path, schema=schema))
        assert caught.value.exit_code == 12


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"surprise": 1}, "surprise"),
        ({"num_pairs": "many"}, "num_pairs"),
        ({"num_pairs": float("nan")}, "NaN"),
        ({"takes": [{"take_id": "x"}]}, "takes"),
        ({"splits": {"holdout": ["s01"]}}, "splits"),
    ],
)
def test_malformed_records_are_refused_by_key(tmp_path: Path, changes: dict, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        load_manifest(edited(tmp_path, **changes))
    assert "m.json" in str(caught.value)


def test_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"schema": "anim-real/manifest/1",')
    with pytest.raises(DataError, match="not valid JSON"):
        load_manifest(tmp_path / "m.json")
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not valid JSON"):
        load_manifest(tmp_path / "m.json")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "scans/../../x"])
def test_paths_of_a_take_cannot_leave_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leaves its folder"):
        inside(tmp_path, name)
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(DataError, match="leaves its folder"):
        inside(tmp_path, "link/passwd")
    assert inside(tmp_path, "scans/frame-000001.glb") == tmp_path / "scans" / "frame-000001.glb"


def test_a_failed_write_leaves_neither_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        save_manifest(tmp_path / "m.json", make_manifest(), make_frames().drop(columns=["verdict"]))
    assert list(tmp_path.iterdir()) == []
