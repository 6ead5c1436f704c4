"""render --regions and --dry-run: mesh files get their face and hands from the same sources as scans."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from meshes.onnx_model import color_classifier

from anim_real.cli import main
from anim_real.mesh import Mesh, load_mesh, save_mesh
from anim_real.samples import Region
from anim_real.shards.read import open_dataset

HEAD = 'schema = "anim-real/regions/1"\n'
FAST = ["--unit", "mm", "--size", "64", "--resolution", "64", "--points", "1000", "--views", "1", "--workers", "1"]
SEGMENTER = 'source = "segmenter"\n[segmenter]\nkind = "onnx"\nmodel = "red.onnx"\nface = [1]\n'
CHIN_M = 1.4  # what lies above is painted red


def write_person(path: Path, *, has_colors: bool = True) -> Path:
    """An upright ellipsoid of 1.6 m in millimetres, its upper end red."""
    ball = trimesh.creation.icosphere(5)
    mesh = Mesh(vertices=ball.vertices * (0.2, 0.8, 0.2) + (0.0, 0.9, 0.0), faces=ball.faces)
    is_face = mesh.vertices[:, 1] > CHIN_M
    colors = np.where(is_face[:, None], (250, 10, 10), (20, 120, 200)).astype(np.uint8) if has_colors else None
    save_mesh(path, Mesh(vertices=mesh.vertices * 1000.0, faces=mesh.faces, colors=colors))
    return path


def write_source(folder: Path, text: str) -> Path:
    """A regions file, and a model whose class 1 is red."""
    weights = np.array([[0.0, 0.0, 0.0], [4.0, -4.0, -4.0]])
    (folder / "red.onnx").write_bytes(color_classifier(weights, np.array([0.0, -1.0]), 256, 256))
    (folder / "regions.toml").write_text(HEAD + text)
    return folder / "regions.toml"


def shapes(**content: object) -> str:
    return json.dumps({"schema": "anim-real/region-shapes/1", **content})


def packed(folder: Path, source: Path, *meshes: Path, exit_code: int = 0):
    arguments = ["render", *map(str, meshes), "-o", str(folder / "d"), "--regions", str(source), *FAST]
    assert main(arguments) == exit_code
    return open_dataset(folder / "d")


def test_a_segmenter_looks_at_the_rendered_colour(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source = write_source(tmp_path, SEGMENTER)
    dataset = packed(tmp_path, source, write_person(tmp_path / "a.ply"))
    mesh, samples = dataset.mesh("a-clean/0"), dataset.samples("a-clean/0")
    assert mesh.regions is not None
    margin = 0.03  # the border's triangles, its pixels, and a cell
    is_seen = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) > 0.04  # level views do not see the crown
    assert is_seen.mean() > 0.95
    assert (mesh.regions[is_seen & (mesh.vertices[:, 1] > CHIN_M + margin)] == Region.FACE).all()
    assert (mesh.regions[mesh.vertices[:, 1] < CHIN_M - margin] == Region.OTHER).all()
    assert (samples.band == 2).mean() == 0.25
    assert (samples.points[samples.band == 2][:, 1] > CHIN_M - margin).all()
    made = dataset.record.provenance["meshes"]["a"]
    assert made["options"]["regions"]["segmenter"]["model"] == "red.onnx", "no place on this machine"
    assert len(made["region_files_sha256"]) == 64
    assert dataset.record.counts["train"].unlabelled == 0


def test_a_mesh_without_colours_is_packed_and_flagged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    source = write_source(tmp_path, SEGMENTER)
    dataset = packed(tmp_path, source, write_person(tmp_path / "a.ply", has_colors=False))
    assert dataset.mesh("a-clean/0").regions is None
    assert dataset.record.counts["train"].unlabelled == 1
    assert "1 scans have no labelled face and hands" in capsys.readouterr().out


def test_boxes_are_in_metres_whatever_the_unit_of_the_file(tmp_path: Path) -> None:
    source = write_source(tmp_path, 'source = "shapes"\n[shapes]\npath = "{mesh}.json"\n')
    box = {"region": "hand", "center": [0.0, 1.6, 0.0], "half_size": [1.0, 0.2, 1.0]}
    (tmp_path / "a.json").write_text(shapes(boxes=[box]))
    dataset = packed(tmp_path, source, write_person(tmp_path / "a.ply"), write_person(tmp_path / "b.ply"))
    regions, height = dataset.mesh("a-clean/0").regions, dataset.mesh("a-clean/0").vertices[:, 1]
    assert regions is not None
    margin = 0.05  # the capsule's largest faces
    assert (regions[height > 1.4 + margin] == Region.HAND).all()
    assert (regions[height < 1.4 - margin] == Region.OTHER).all()
    assert dataset.mesh("b-clean/0").regions is None, "it has no file of its own"
    assert dataset.record.counts["train"].unlabelled == 1


def test_other_boxes_make_another_data_set(tmp_path: Path) -> None:
    source = write_source(tmp_path, 'source = "shapes"\n[shapes]\npath = "{mesh}.json"\n')
    mesh = write_person(tmp_path / "a.ply")
    (tmp_path / "a.json").write_text(shapes())
    packed(tmp_path, source, mesh)
    (tmp_path / "a.json").write_text(
        shapes(boxes=[{"region": "face", "center": [0, 1.6, 0], "half_size": [1, 0.1, 1]}])
    )
    packed(tmp_path, source, mesh, exit_code=2)


def test_without_a_source_the_mesh_keeps_its_own_labels(tmp_path: Path) -> None:
    mesh = load_mesh(write_person(tmp_path / "a.ply"))
    is_hand = mesh.vertices[:, 1] < 500.0
    regions = np.where(is_hand, Region.HAND, Region.OTHER).astype(np.uint8)
    save_mesh(tmp_path / "own.glb", dataclasses.replace(mesh, regions=regions))
    dataset = packed(tmp_path, write_source(tmp_path, 'source = "vertices"\n'), tmp_path / "own.glb")
    own = dataset.mesh("own-clean/0")
    assert own.regions is not None
    assert (own.regions[own.vertices[:, 1] < 0.45] == Region.HAND).all()


@pytest.mark.parametrize(
    ("text", "exit_code", "message"),
    [
        ('source = "label_images"\n[label_images]\nface = [1]\n', 2, "label images belong to captures"),
        ('source = "shapes"\n[shapes]\npath = "all.json"\n', 2, "{mesh}"),
        ('source = "shapes"\n[shapes]\npath = "{sensor}.json"\n', 4, "cannot be filled in"),
        ('source = "shapes"\n[shapes]\npath = "../{mesh}.json"\n', 4, "leaves its folder"),
        (SEGMENTER.replace("red.onnx", "none.onnx"), 10, "none.onnx"),
        (SEGMENTER.replace("red.onnx", "a.ply"), 4, "not an ONNX model"),
        ('source = "nonsense"\n', 2, "regions.toml"),
    ],
)
def test_what_cannot_label_mesh_files_is_refused_before_anything_is_written(
    tmp_path: Path, text: str, exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "onnx" in text:
        pytest.importorskip("onnxruntime")
    source = write_source(tmp_path, text)
    (tmp_path / "all.json").write_text(shapes())
    meshes = [str(write_person(tmp_path / name)) for name in ("a.ply", "b.ply")]
    arguments = ["render", *meshes, "-o", str(tmp_path / "d"), "--regions", str(source), *FAST]
    assert main(arguments) == exit_code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_polygons_have_no_capture_to_be_drawn_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_source(tmp_path, 'source = "shapes"\n[shapes]\npath = "{mesh}.json"\n')
    polygon = {"region": "face", "sensor": "k0", "kinect_index": 0, "points_px": [[1, 1], [9, 1], [9, 9]]}
    (tmp_path / "a.json").write_text(shapes(polygons=[polygon]))
    mesh = write_person(tmp_path / "a.ply")
    assert main(["render", str(mesh), "-o", str(tmp_path / "d"), "--regions", str(source), *FAST]) != 0
    told = capsys.readouterr().err
    assert "a.json" in told and "use boxes" in told


def test_a_dry_run_says_what_would_be_packed_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = write_person(tmp_path / "a.ply")
    arguments = ["render", str(mesh), "-o", str(tmp_path / "d"), *FAST]
    assert main([*arguments, "--dry-run"]) == 0
    assert "a-clean: 1 views of a.ply" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply"]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    assert open_dataset(tmp_path / "d").record.build_key == planned["build_key"]
    assert main(["render", str(mesh), "-o", str(tmp_path / "e"), *FAST, "--unit", "m", "--dry-run"]) == 4
