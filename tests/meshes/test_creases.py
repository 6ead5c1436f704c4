from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.meshes import closing
from anim_real.meshes.watertight import make_watertight

from .shapes import box, punched, sphere

SIZE = np.array([0.5, 0.3, 0.4])


def tilted_box(seed):
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    mesh = box(-SIZE, SIZE)
    return mesh.moved(mesh.vertices @ turn.T), turn


def blunt(monkeypatch, mesh, resolution):
    """The same without creases."""
    monkeypatch.setattr("anim_real.meshes.creases._MAX_COSINE", -2.0)
    return make_watertight(mesh, resolution=resolution)


@pytest.mark.parametrize("seed", range(4))
def test_a_tilted_box_keeps_its_edges_and_corners(monkeypatch, seed):
    mesh, turn = tilted_box(seed)
    sharp = make_watertight(mesh, resolution=48)
    cut = blunt(monkeypatch, mesh, 48)
    cell = sharp.report.cell_m
    assert abs(sharp.mesh.volume - mesh.volume) < 0.25 * abs(cut.mesh.volume - mesh.volume)
    points, _ = sample_surface(mesh.vertices, mesh.faces, 20_000, np.random.default_rng(0))
    # within two cells of an edge, where marching cubes cuts off up to a third of a cell
    sides = SIZE - np.abs(points @ turn)
    points = points[np.sort(sides, axis=1)[:, 1] < 2 * cell]
    gap = [SurfaceDistance(r.mesh.vertices, r.mesh.faces).closest(points).distance for r in (sharp, cut)]
    assert gap[0].mean() < 0.2 * gap[1].mean()
    assert np.quantile(gap[1], 0.99) > 0.15 * cell
    assert np.quantile(gap[0], 0.99) < 0.15 * cell
    assert np.quantile(gap[0], 0.95) < 0.02 * cell


@pytest.mark.parametrize("seed", range(4))
def test_faces_stay_sane_and_manifold(seed):
    import igl

    mesh, _ = tilted_box(seed)
    result = make_watertight(mesh, resolution=33)
    assert np.asarray(igl.is_vertex_manifold(result.mesh.faces)).all()
    assert result.report.genus == 0
    assert result.mesh.face_areas.min() > 1e-5 * result.report.cell_m**2
    distance = SurfaceDistance(mesh.vertices, mesh.faces).closest(result.mesh.vertices).distance
    assert distance.max() < 0.0051 * result.report.cell_m, "0.005 cells keep vertices off lattice points"
    assert np.quantile(distance, 0.98) < 1e-6


def test_smooth_and_invented_surface_gets_no_crease(monkeypatch, rng):
    raw = punched(sphere(subdivisions=5), rng, 4, 0.15)
    sharp = make_watertight(raw, resolution=64)
    plain = blunt(monkeypatch, raw, 64)
    assert np.array_equal(sharp.mesh.faces, plain.mesh.faces)
    assert np.array_equal(sharp.mesh.vertices, plain.mesh.vertices)


def test_new_vertices_carry_the_regions_of_their_side():
    """Their face is that of a neighbour in the same cell: never farther than a cell."""
    mesh, _ = tilted_box(1)
    from anim_real.meshes.inspect import mend

    found = closing.close_scan(mend(mesh), 40)
    corners = found.scan.vertices[found.scan.faces[found.vertex_face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    off_plane = np.abs(np.einsum("ij,ij->i", found.outer.vertices - corners[:, 0], normal))
    assert off_plane.max() < np.sqrt(3) * found.cell_m
    assert (off_plane < 1e-6).mean() > 0.9
