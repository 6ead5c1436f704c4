"""The benchmark's own shapes: a broken input once made good results look bad."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from anim_real.mesh import Mesh
from anim_real.meshes.connectivity import EdgeTable
from anim_real.meshes.watertight import make_watertight

from .shapes import box, joined, sphere

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "scans.py"


@pytest.fixture
def scans(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_scans", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmark_scans", module)
    spec.loader.exec_module(module)
    return module


def test_subdividing_moves_no_surface_even_at_edges_that_three_faces_share(scans):
    """libigl's ``upsample`` is for manifold edges: at these it drew faces of half a metre across a scan."""
    cube = box((0, 0, 0), (1, 1, 1))
    fins = np.array([[0, 1, 8], [2, 3, 8], [0, 5, 8]])
    mesh = Mesh(vertices=np.concatenate([cube.vertices, [[0.5, -1.0, -1.0]]]), faces=np.concatenate([cube.faces, fins]))
    before = EdgeTable.of(mesh.faces, len(mesh.vertices))
    fine = scans.subdivided(mesh)
    after = EdgeTable.of(fine.faces, len(fine.vertices))
    assert before.num_nonmanifold > 0
    assert (after.num_open, after.num_nonmanifold) == (2 * before.num_open, 2 * before.num_nonmanifold)
    parts = fine.face_areas.reshape(4, -1)
    assert parts == pytest.approx(np.broadcast_to(mesh.face_areas / 4, parts.shape))
    assert fine.corners.reshape(4, -1, 3, 3).mean((0, 2)) == pytest.approx(mesh.corners.mean(1))


def test_subdividing_keeps_a_closed_surface_closed(scans):
    ball = sphere(subdivisions=1)
    assert scans.subdivided(ball).volume == pytest.approx(ball.volume)


def test_the_figures_are_closed_before_they_get_their_holes(scans, rng):
    holed, whole = scans.figure(2000, rng)
    assert EdgeTable.of(whole.faces, len(whole.vertices)).num_open == 0
    assert whole.volume > 0
    assert len(holed.faces) < len(whole.faces)


def test_a_simulated_studio_scan_keeps_the_performers_inside(scans):
    """The closed performer before its scan got holes and flipped patches is the oracle."""
    scan, body = scans.studio_scan(4)
    result = make_watertight(scan, resolution=96)
    assert result.report.num_holes > 0
    assert scans.missed_share(result.mesh, (body,)) < 0.03
    assert scans.missed_share(body, (body,)) == 0.0
    smaller = body.moved(0.5 * (body.vertices - body.vertices.mean(0)) + body.vertices.mean(0))
    assert scans.missed_share(smaller, (body,)) > 0.3


def test_points_of_a_scan_are_told_apart_by_what_lies_on_both_sides(scans, capsys):
    """Two overlapping boxes: the buried share of their area is known, and the rest lies on the mesh."""
    one, other = box((-0.5, -0.3, -0.3), (0.5, 0.3, 0.3)), box((0.1, -0.1, -0.7), (0.3, 0.1, 0.7))
    scans.print_from_scan(make_watertight(joined(one, other), resolution=64))
    rows = {line.split("  ")[2].strip(): line for line in capsys.readouterr().out.splitlines()}
    buried, whole = 4 * 0.2 * 0.6 + 2 * 0.2**2, one.face_areas.sum() + other.face_areas.sum()
    share = float(rows["inside on both sides"].split("%")[0].split()[-1])
    assert share == pytest.approx(100 * buried / whole, abs=0.7)
    assert "mean 0.0" in rows["bounding the inside"]
