"""The export command on calibration targets: true-size prints, the mesh and the corners; recordings are elsewhere."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from anim_real.calibrate.boards.target import corner_positions
from anim_real.calibrate.boards.targets import load_target
from anim_real.cli import main
from anim_real.mesh import load_mesh
from anim_real.resources import find


def export(source: str, output: Path) -> int:
    return main(["export", source, "-o", str(output), "--quiet"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("export") / "prism"
    assert export("prism", output) == 0
    return output


def test_every_file_is_there(exported):
    sides = [f"prism-side-{side}.svg" for side in range(6)]
    assert sorted(path.name for path in exported.iterdir()) == sorted(
        [*sides, "prism.pdf", "prism.glb", "prism.stl", "corners.json", "assembly.html"]
    )
    assert (exported / "prism.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("side", range(6))
def test_svg_is_xml_of_true_size(exported, side):
    """A side of 300 x 760 mm and 15 mm of margin; one user unit is one millimetre."""
    root = ElementTree.parse(exported / f"prism-side-{side}.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height")) == ("330mm", "790mm")
    assert [float(value) for value in root.get("viewBox", "").split()] == [-15.0, -15.0, 330.0, 790.0]


def test_corners_are_those_of_the_target(exported):
    table = json.loads((exported / "corners.json").read_text())
    ids, points = corner_positions(load_target("prism"))
    assert (table["target"], table["unit"]) == ("prism", "m")
    assert [int(key) for key in table["corners"]] == ids.tolist()
    assert np.array(list(table["corners"].values())) == pytest.approx(points, abs=1e-12)


def test_mesh_has_the_targets_size_in_metres(exported):
    mesh = load_mesh(exported / "prism.glb")
    assert mesh.texture is not None
    assert max(mesh.texture.shape[:2]) <= 4096
    size = np.ptp(mesh.vertices, axis=0)
    assert size[0] == pytest.approx(0.60, abs=1e-6)  # across the corners of a hexagon of 0.30 m sides
    assert size[1] == pytest.approx(0.98 + 0.07, abs=1e-3)  # top of the highest sphere


def test_an_existing_folder_is_refused_and_kept(exported, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in exported.iterdir()}
    assert export("prism", exported) == 2
    assert "exists" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in exported.iterdir()} == before


def test_a_target_of_ones_own_is_exported_from_its_file(tmp_path):
    own = tmp_path / "small.toml"
    own.write_text(find("calibration/targets", "board").read_text().replace('name = "board"', 'name = "small"'))
    assert export(str(own), tmp_path / "out") == 0
    assert (tmp_path / "out" / "small-side-0.svg").is_file()


def test_a_broken_target_writes_nothing(tmp_path, capsys):
    own = tmp_path / "small.toml"
    own.write_text('schema = "anim-real/target/1"\nname = "small"\n')
    assert export(str(own), tmp_path / "out") == 2
    assert "small.toml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_target_without_boards_has_nothing_to_print(tmp_path, capsys):
    assert export("object", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "nothing to print" in message
    assert "object.toml" in message
    assert not (tmp_path / "out").exists()
