"""Which part of overlapping shells bounds the inside; large faces that are partly buried are the hard case."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.geometry.triangles import cut_fine, cut_with_source
from anim_real.mesh import Mesh
from anim_real.meshes.sample import ScanField
from anim_real.meshes.watertight import make_watertight

from .shapes import bell, box, joined, sphere

TRUNK = (np.array([-0.5, -0.3, -0.3]), np.array([0.5, 0.3, 0.3]))
ARM = (np.array([0.1, -0.1, -0.7]), np.array([0.3, 0.1, 0.7]))


def box_sdf(points, low, high):
    gap = np.maximum(low - points, points - high)
    return np.linalg.norm(np.maximum(gap, 0.0), axis=1) + np.minimum(gap.max(1), 0.0)


def union_surface(rng, count=20_000):
    """Points on the boxes' faces that the other box does not hold: the boundary of the union."""
    points = [sample_surface((mesh := box(*corners)).vertices, mesh.faces, count, rng)[0] for corners in (TRUNK, ARM)]
    return np.concatenate([part[box_sdf(part, *other) > 0.0] for part, other in zip(points, (ARM, TRUNK), strict=True)])


@pytest.fixture(scope="module")
def cross():
    """A beam through a box: faces of a metre, of which the middles alone say nothing."""
    return make_watertight(joined(box(*TRUNK), box(*ARM)), resolution=64)


def test_what_is_buried_is_left_out_of_faces_that_show_elsewhere(cross, rng):
    cell = cross.report.cell_m
    scanned = cross.labels.faces[~cross.labels.is_patch]
    points, _ = sample_surface(cross.labels.vertices, scanned, 20_000, rng)
    depth = np.minimum(box_sdf(points, *TRUNK), box_sdf(points, *ARM))
    assert depth.min() > -cell, "a piece may reach into the other box by its own size, no more"
    assert (depth < -1e-6).mean() < 0.02


def test_nothing_that_shows_is_left_out(cross, rng):
    scanned = cross.labels.faces[~cross.labels.is_patch]
    shows = union_surface(rng)
    gap = SurfaceDistance(cross.labels.vertices, scanned).closest(shows).distance
    assert gap.max() < cross.report.cell_m
    assert (gap > 1e-6).mean() < 0.02


def test_labels_measure_to_the_outside_of_overlapping_boxes(cross, rng):
    """Distances to the union's surface, sampled densely from the analytic boxes, are the oracle."""
    from scipy.spatial import cKDTree

    points = rng.uniform(-0.8, 0.8, (4000, 3))
    inside = np.minimum(box_sdf(points, *TRUNK), box_sdf(points, *ARM)) < 0
    distance = cKDTree(union_surface(rng, 400_000)).query(points)[0]  # within 2 mm at this density
    label = ScanField(cross).signed_distance(points)
    assert inside.sum() > 300
    assert np.array_equal(label.sdf < 0, inside)
    assert np.abs(np.abs(label.sdf) - distance).max() < 0.5 * cross.report.cell_m


def test_the_report_measures_the_surface_that_is_left(cross):
    assert cross.report.mesh_to_scan.max_m < 0.5 * cross.report.cell_m
    assert cross.report.scan_to_mesh.max_m < cross.report.cell_m
    assert cross.report.buried_faces == 0, "every face of the two boxes shows somewhere"
    beam, openings = 4 * 0.2 * 0.6, 2 * 0.2**2  # of the beam within the box, and where it passes the box's sides
    whole = 2 * (0.6 * 0.6 + 2 * 1.0 * 0.6) + 2 * 0.2**2 + 4 * 0.2 * 1.4
    assert cross.report.buried_share == pytest.approx((beam + openings) / whole, rel=0.02)
    assert any("of the scan, which bounds no inside" in line for line in cross.report.lines())


def test_without_overlap_the_scan_is_left_whole(rng):
    result = make_watertight(bell(), resolution=48)
    assert np.array_equal(result.labels.faces[~result.labels.is_patch], result.scan.faces)
    assert result.report.buried_share == 0.0
    assert not any("left out" in line for line in result.report.lines() if line.startswith("scan to mesh"))


def test_three_shells_within_each_other_leave_the_outer_one():
    shells = [sphere(radius, 3) for radius in (0.5, 0.4, 0.3)]
    result = make_watertight(joined(*shells), resolution=64)
    scanned = result.labels.faces[~result.labels.is_patch]
    assert len(scanned) == len(shells[0].faces)
    assert result.report.buried_faces == len(shells[1].faces) + len(shells[2].faces)
    assert np.linalg.norm(result.labels.vertices[scanned], axis=-1).min() == pytest.approx(0.5)


def test_pieces_know_their_triangle(rng):
    triangles = rng.normal(size=(40, 3, 3))
    pieces, source = cut_with_source(triangles, 0.3)
    assert np.array_equal(pieces, cut_fine(triangles, 0.3))
    area = [
        Mesh(vertices=t.reshape(-1, 3), faces=np.arange(3 * len(t)).reshape(-1, 3)).face_areas
        for t in (triangles, pieces)
    ]
    assert np.bincount(source, area[1], len(triangles)) == pytest.approx(area[0])
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[source]
    off_plane = np.einsum("nkd,nd->nk", pieces - triangles[source][:, :1], normal)
    assert np.abs(off_plane).max() < 1e-12
    assert len(cut_with_source(triangles[:0], 0.3)[1]) == 0


def test_a_wall_that_two_solids_share_bounds_nothing(rng):
    """A low box against a tall one: faces at one place, turned against each other, with inside on both sides."""
    low, tall = box((-0.5, -0.2, -0.3), (0.0, 0.2, 0.3)), box((0.0, -0.2, -0.6), (0.5, 0.2, 0.6))
    result = make_watertight(joined(low, tall), resolution=64)
    assert result.report.buried_faces == 2, "the low box's wall; the tall one's shows above and below"
    assert result.report.buried_share == pytest.approx(
        2 * 0.24 / (low.face_areas.sum() + tall.face_areas.sum()), rel=0.1
    )
    assert result.report.scan_to_mesh.max_m < result.report.cell_m
    points = rng.uniform((-0.1, -0.05, -0.05), (0.1, 0.05, 0.05), (500, 3))
    expected = -(0.2 - np.abs(points[:, 1]))  # the sides y = 0.2 are nearest, not the wall between
    assert ScanField(result).signed_distance(points).sdf == pytest.approx(expected, abs=1e-6)


def test_faces_that_cancel_each_other_in_the_open_bound_nothing():
    """A slab whose window is covered by two faces at one place, turned against each other: it stays a window."""
    slab = box((-0.5, -0.1, -0.5), (0.5, 0.1, 0.5))
    cover = np.array([[-0.5, -0.1, 0.5], [0.5, -0.1, 0.5], [0.5, -0.1, 0.9], [-0.5, -0.1, 0.9]])
    more, less = [[0, 1, 2], [0, 2, 3]], [[0, 3, 1], [1, 3, 2]]
    flaps = [Mesh(vertices=cover, faces=np.array(faces)) for faces in (more, less)]
    result = make_watertight(joined(slab, *flaps), resolution=64)
    assert result.mesh.volume == pytest.approx(0.2, rel=1e-3)
    assert result.report.buried_faces == 4
    assert result.report.scan_to_mesh.max_m < 0.5 * result.report.cell_m
