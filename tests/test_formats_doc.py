"""The examples of docs/formats.md are read by the code that reads the real files."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from anim_real.calibrate.boards.targets import load_target
from anim_real.calibration import Calibration, load_calibration
from anim_real.capture.recorder.record_log import RecordLog
from anim_real.interchange.camera_list import CameraList, load_cameras
from anim_real.interchange.formats import FORMATS
from anim_real.interchange.kalibr import read_kalibr
from anim_real.manifest import FRAME_COLUMNS, Manifest, ManifestTake, load_manifest
from anim_real.regions import LabelImagesSpec, RegionShapes, SegmenterSpec, load_regions
from anim_real.rig import BackgroundSpec, BilateralSpec, DepthFilterSpec, PersonSpec, RigSpec, TemporalSpec
from anim_real.samples import Region
from anim_real.shards.index import load_record
from anim_real.shards.schema import ShardHeader, columns
from anim_real.take import TakeSpec, load_take
from anim_real.target import (
    BannerSpec,
    BoardSpec,
    GeometryTargetSpec,
    MarkerSpec,
    PlateBody,
    PrismBody,
    SphereSpec,
    TargetSpec,
    load_geometry_target,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "formats.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (.+?) -->\n```\w+\n(.*?)```\n", PAGE, flags=re.DOTALL))


def test_every_fenced_block_is_a_named_example() -> None:
    assert PAGE.count("```") == 2 * len(EXAMPLES) == 38


def test_the_take_opens(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in ("take.toml", "scans/timestamps.csv", "scans/led.csv", "triggers.csv"):
        (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "kinect-k0.mkv").touch()
    (tmp_path / "scans" / "frame-000000.glb").touch()
    take = load_take(tmp_path)
    assert take.spec.consent is not None and take.spec.consent.licence == "CC0-1.0"
    assert take.led is not None and take.led["level"].tolist() == [0.0, 0.83]
    assert take.pulse_index is not None and take.pulse_index.tolist() == [0, 1, 3]
    assert set(take.scan_paths) == {0}
    _names_every_key(TakeSpec, EXAMPLES["take.toml"], but={"target"})


def test_the_record_of_a_recording_opens() -> None:
    log = RecordLog.model_validate_json(EXAMPLES["record.json"])
    assert log.sensors["k1"].num_dropped == 1
    _names_every_key(RecordLog, EXAMPLES["record.json"])


def test_a_rig_takes_the_persons_sources_and_the_filters() -> None:
    written = EXAMPLES["rig.toml, person and depth_filters"]
    rig = RigSpec.model_validate(tomllib.loads((ROOT / "rigs" / "virtual.toml").read_text() + written))
    assert rig.person.background is not None and rig.person.background.folder == ".."
    assert rig.depth_filters.temporal is not None and rig.depth_filters.bilateral is not None
    for kind in (PersonSpec, BackgroundSpec, DepthFilterSpec, TemporalSpec, BilateralSpec):
        assert set(kind.model_fields) <= set(re.findall(r"\w+", written))


def test_the_targets_open(tmp_path: Path) -> None:
    for name in ("pillar.toml", "vase.toml"):
        (tmp_path / name).write_text(EXAMPLES[name])
    target = load_target(str(tmp_path / "pillar.toml"))
    assert [board.spec.num_corners for board in target.boards] == [8, 4, 4, 5]
    geometry, _ = load_geometry_target(str(tmp_path / "vase.toml"))
    assert geometry.name == "vase"
    _names_every_key(GeometryTargetSpec, EXAMPLES["vase.toml"])
    section = PAGE[PAGE.index("## Calibration target") : PAGE.index("## Intrinsics")]
    for kind in (TargetSpec, BoardSpec, MarkerSpec, BannerSpec, SphereSpec, PrismBody, PlateBody):
        assert {field.alias or key for key, field in kind.model_fields.items()} <= set(re.findall(r"\w+", section))


def test_the_calibration_opens(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(EXAMPLES["calibration.json"])
    calibration = load_calibration(tmp_path / "calibration.json")
    assert calibration.is_accepted
    assert calibration.sensors["k0"].T_color_scan.rigid().src == "scan"
    _names_every_key(Calibration, EXAMPLES["calibration.json"])


def test_cameras_of_other_tools_open(tmp_path: Path) -> None:
    for name in ("camchain.yaml", "cameras.json"):
        (tmp_path / name).write_text(EXAMPLES[name])
    color, depth = read_kalibr(tmp_path / "camchain.yaml")
    assert (color.name, depth.name, depth.T_camera_reference.src) == ("k0-color", "k0-depth", "scan")
    (left,) = load_cameras(tmp_path / "cameras.json")
    assert (left.name, left.T_camera_reference.src) == ("left", "rig")
    _names_every_key(CameraList, EXAMPLES["cameras.json"])


def test_the_table_of_camera_formats_is_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)", PAGE.partition("## Cameras of other tools")[2], re.MULTILINE))
    assert {name: row for name, row in rows.items() if name in FORMATS} == {
        name: each.location for name, each in FORMATS.items()
    }


def test_the_manifest_opens_with_its_table_and_calibration(tmp_path: Path) -> None:
    for name in ("walks.json", "walks.frames.csv", "calibration.json"):
        (tmp_path / name).write_text(EXAMPLES[name])
    manifest, frames = load_manifest(tmp_path / "walks.json")
    assert frames["verdict"].tolist() == ["pair", "excluded"]
    assert list(frames.columns) == list(FRAME_COLUMNS)
    assert (manifest.num_pairs, manifest.num_excluded) == (1, 1)
    _names_every_key(Manifest, EXAMPLES["walks.json"])


def test_the_region_sources_open(tmp_path: Path) -> None:
    for name in ("regions.toml", "segmenter.toml"):
        (tmp_path / name).write_text(EXAMPLES[name])
    images = load_regions(tmp_path / "regions.toml").label_images
    assert images is not None and images.region_of[14] is Region.HAND
    _names_every_key(LabelImagesSpec, EXAMPLES["regions.toml"])
    segmenter = load_regions(tmp_path / "segmenter.toml").segmenter
    assert segmenter is not None and segmenter.model == (tmp_path / "parser.onnx").resolve()
    _names_every_key(SegmenterSpec, EXAMPLES["segmenter.toml"])
    shapes = RegionShapes.model_validate_json(EXAMPLES["regions/000000.json"])
    assert shapes.boxes[0].region == "face" and len(shapes.polygons[0].points_px) == 4
    _names_every_key(RegionShapes, EXAMPLES["regions/000000.json"])


def test_the_data_set_record_and_the_shard_header_open(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(EXAMPLES["dataset.json"])
    record = load_record(tmp_path)
    assert record.counts["train"].points == 200_000
    header = ShardHeader.model_validate_json(EXAMPLES["shard header"])
    assert (header.input_key, header.take) == (record.shards[0].input_key, record.shards[0].take)
    _names_every_key(ShardHeader, EXAMPLES["shard header"])


def test_the_table_of_columns_is_the_schema() -> None:
    rows = re.findall(
        r"^\| `([a-z]+/\w+)` \| `(\S+)` \| (\S+) \| (\S+) \| (.+?) \| (\d+) rows(.*?) \|$", PAGE, flags=re.MULTILINE
    )
    expected = {**columns(512, "raw"), **columns(512, "jpeg")}
    assert {row[0] for row in rows} == set(expected)
    for path, dtype, domain, shape, unit, chunk, filters in rows:
        column = expected[path]
        assert (dtype, domain, unit) == (column.dtype, column.domain, column.unit)
        assert shape == ("×".join(map(str, column.shape)) or "1")
        assert int(chunk) == column.chunk[0]
        assert filters == (" gzip-1 + shuffle" if column.is_compressed else "")


def test_the_weights_config_opens() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from anim_real.model.weights import WeightsSpec

    config = WeightsSpec.model_validate_json(EXAMPLES["config.json"])
    assert config.network.preset == "tiny"
    _names_every_key(WeightsSpec, EXAMPLES["config.json"])


def test_the_manifest_page_names_every_key_and_column() -> None:
    page = (ROOT / "manifests" / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    keys = {field.alias or name for kind in (Manifest, ManifestTake) for name, field in kind.model_fields.items()}
    assert keys | set(FRAME_COLUMNS) <= named


def _names_every_key(kind: type, example: str, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """The example is complete: every key of the specification stands in it."""
    keys = {field.alias or name for name, field in kind.model_fields.items()} - but  # type: ignore[attr-defined]
    present = (
        set(json.loads(example)) if example.lstrip().startswith("{") else set(re.findall(r"^\[?(\w+)", example, re.M))
    )
    assert keys <= present
