"""Scans in metres: the unit is applied, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.scanner import load_scan
from anim_real.errors import DataError, NotFoundError
from anim_real.mesh import Mesh, save_mesh
from anim_real.rig import ScannerSpec


def person(scale: float) -> Mesh:
    """A box of 0.5 x 1.75 x 0.3 metres times ``scale``."""
    corners = np.array([[x, y, z] for x in (-0.25, 0.25) for y in (0.0, 1.75) for z in (-0.15, 0.15)])
    faces = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
    ]
    return Mesh(vertices=corners * scale, faces=np.array(faces))


def scanner(unit: str) -> ScannerSpec:
    return ScannerSpec.model_validate({"name": "test", "fps": 30.0, "unit": unit})


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1000.0), ("cm", 100.0), ("m", 1.0)])
def test_unit_becomes_metres(tmp_path: Path, unit: str, scale: float) -> None:
    save_mesh(tmp_path / "frame-000000.ply", person(scale))
    scan = load_scan(tmp_path / "frame-000000.ply", scanner(unit))
    assert np.ptp(scan.vertices, axis=0) == pytest.approx([0.5, 1.75, 0.3], abs=1e-6)


@pytest.mark.parametrize(
    ("unit", "scale", "fits"), [("mm", 1.0, "'m'"), ("m", 1000.0, "'mm'"), ("cm", 0.01, "no unit")]
)
def test_unit_mix_up_names_the_key_and_the_cure(tmp_path: Path, unit: str, scale: float, fits: str) -> None:
    save_mesh(tmp_path / "frame-000000.ply", person(scale))
    with pytest.raises(DataError, match="span") as caught:
        load_scan(tmp_path / "frame-000000.ply", scanner(unit))
    assert "scanner.unit" in str(caught.value)
    assert fits in str(caught.value)


def test_a_stray_piece_far_away_does_not_refuse_a_scan(tmp_path: Path) -> None:
    dense = person(1000.0)
    vertices = np.concatenate([np.repeat(dense.vertices, 30, axis=0), [[90_000.0, 0, 0]]])
    mesh = Mesh(vertices=vertices, faces=dense.faces * 30)
    save_mesh(tmp_path / "scan.ply", mesh)
    assert len(load_scan(tmp_path / "scan.ply", scanner("mm")).vertices) == len(vertices)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_scan(tmp_path / "no.ply", scanner("mm"))
    (tmp_path / "bad.glb").write_bytes(b"glTF but not really")
    with pytest.raises(DataError, match=r"bad\.glb"):
        load_scan(tmp_path / "bad.glb", scanner("mm"))
