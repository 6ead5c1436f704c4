"""Scans with many faults at once (the benchmark runs 200 of them): all closed, and where the solids are."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.mesh import WatertightMesh, closedness_problem
from anim_real.meshes.watertight import make_watertight
from anim_real.meshes.winding import INSIDE, WindingNumber

from .raw_scans import FAULTS, SHAPES, UNITS, raw_scan

SEEDS = (0, 1, 2, 3, 6, 8, 10, 13, 16, 23, 25, 31)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_faulty_scan_is_closed_and_keeps_its_inside(seed):
    import igl

    raw = raw_scan(seed)
    result = make_watertight(raw.scan, resolution=64)
    assert isinstance(result.mesh, WatertightMesh)
    assert closedness_problem(result.mesh) is None
    assert np.asarray(igl.is_vertex_manifold(result.mesh.faces)).all()
    cell = result.report.cell_m
    assert result.mesh.face_areas.min() > 1e-5 * cell**2
    assert result.report.mesh_to_scan.mean_m < 0.1 * cell
    rng = np.random.default_rng(seed)
    points = rng.uniform(result.mesh.vertices.min(0), result.mesh.vertices.max(0), (8000, 3))
    truth = np.zeros(len(points), dtype=bool)
    for solid in raw.solids:
        truth |= WindingNumber(solid.vertices, solid.faces).at(points) > INSIDE
    ours = WindingNumber(result.mesh.vertices, result.mesh.faces).at(points) > INSIDE
    assert (truth & ~ours).sum() < 0.03 * truth.sum(), "64 cells, noise, flipped patches and holes included"


def test_the_seeds_cover_all_shapes_units_and_faults():
    scans = [raw_scan(seed) for seed in SEEDS]
    assert {seed % len(SHAPES) for seed in SEEDS} >= {0, 1, 2, 3}
    assert {raw.unit for raw in scans} == set(UNITS)
    assert {name for raw in scans for name in raw.faults} == {fault.__name__ for fault in FAULTS}
