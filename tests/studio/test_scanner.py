"""The virtual scanner: what is missing, what is wrong, and what stays exact."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from anim_real.mesh import Mesh, closedness_problem
from anim_real.studio.scanner import TARGET_FAULTS, ScanFaults, raw_scan, scanner_cameras, visible_vertices

CAMERAS = scanner_cameras(1.0)
CLEAN = ScanFaults(noise_m=0.0, num_pieces=0, num_flipped=0, num_duplicated=0, dark_hole_share=0.0)


def ball(center: tuple[float, float, float], radius: float, subdivisions: int = 4) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    regions = (sphere.vertices[:, 1] > 0).astype(np.uint8)
    return Mesh(vertices=sphere.vertices + center, faces=sphere.faces, regions=regions)


def joined(first: Mesh, second: Mesh) -> Mesh:
    return Mesh(
        vertices=np.concatenate([first.vertices, second.vertices]),
        faces=np.concatenate([first.faces, second.faces + len(first.vertices)]),
    )


def components(mesh: Mesh) -> list[int]:
    """Face counts of the pieces, duplicate vertices welded by position."""
    welded = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    welded.merge_vertices(digits_vertex=6)
    labels = trimesh.graph.connected_component_labels(welded.face_adjacency, node_count=len(welded.faces))
    return sorted(np.bincount(labels).tolist(), reverse=True)


def test_floating_ball_is_seen_all_around():
    mesh = ball((0.0, 1.3, 0.0), 0.25)
    visible = visible_vertices(mesh, CAMERAS)
    assert visible[mesh.vertices[:, 1] > 1.2].all()
    # the lowest cameras are at 0.45 m: the pole that faces the floor is below their horizon or too flat
    assert visible.mean() > 0.9


def test_soles_and_hidden_surfaces_are_missing(rng: np.random.Generator):
    outer, hidden = ball((0.0, 0.3, 0.0), 0.3), ball((0.0, 0.3, 0.0), 0.2)
    visible = visible_vertices(joined(outer, hidden), CAMERAS)
    assert not visible[len(outer.vertices) :].any()
    assert not visible[: len(outer.vertices)][outer.vertices[:, 1] < 0.02].any()
    scan = raw_scan(outer, CAMERAS, CLEAN, rng)
    assert "open" in (closedness_problem(scan) or "")
    assert scan.vertices[:, 1].min() > 0.01


def test_without_faults_what_is_seen_is_exact(rng: np.random.Generator):
    mesh = ball((0.2, 1.0, 0.1), 0.3)
    scan = raw_scan(mesh, CAMERAS, CLEAN, rng)
    radius = np.linalg.norm(scan.vertices - (0.2, 1.0, 0.1), axis=1)
    assert np.abs(radius - 0.3).max() < 1e-12
    assert scan.regions is not None
    assert (scan.regions == (scan.vertices[:, 1] - 1.0 > 1e-12)).mean() > 0.999


def test_noise_is_a_third_of_a_millimetre_along_the_normal(rng: np.random.Generator):
    mesh = ball((0.0, 1.2, 0.0), 0.4, subdivisions=6)
    scan = raw_scan(mesh, CAMERAS, TARGET_FAULTS, rng)
    error = np.linalg.norm(scan.vertices - (0.0, 1.2, 0.0), axis=1) - 0.4
    assert error.std() == pytest.approx(0.0003, rel=0.03)
    assert len(components(scan)) == 1


def test_raw_scans_have_pieces_flips_and_duplicates(rng: np.random.Generator):
    mesh = ball((0.0, 1.2, 0.0), 0.4, subdivisions=5)
    faults = ScanFaults(num_pieces=3, num_flipped=2, num_duplicated=2, dark_hole_share=0.0)
    scan = raw_scan(mesh, CAMERAS, faults, rng)
    pieces = components(scan)
    assert len(pieces) == 4
    assert max(pieces[1:]) < 0.02 * pieces[0]
    on_ball = np.abs(np.linalg.norm(scan.vertices - (0, 1.2, 0), axis=1) - 0.4) < 0.005
    faces = scan.faces[on_ball[scan.faces].all(1)]
    corners = scan.vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (normals * (corners.mean(1) - (0, 1.2, 0))).sum(1) < 0
    assert 5 < inward.sum() < 0.02 * len(faces)
    assert len(np.unique(scan.vertices.round(9), axis=0)) < len(scan.vertices)
    assert scan.regions is not None and len(scan.regions) == len(scan.vertices)


def test_dark_hair_fails_in_patches(rng: np.random.Generator):
    mesh = ball((0.0, 1.6, 0.0), 0.15, subdivisions=5)
    albedo = np.where(mesh.vertices[:, 1] > 1.6, 0.05, 0.6)
    scan = raw_scan(mesh, CAMERAS, CLEAN, rng, ir_albedo=albedo)
    assert len(scan.faces) == len(raw_scan(mesh, CAMERAS, CLEAN, rng).faces)  # a share of zero fails nowhere
    faults = ScanFaults(noise_m=0.0, num_pieces=0, num_flipped=0, num_duplicated=0, dark_hole_share=0.3)
    holed = raw_scan(mesh, CAMERAS, faults, rng, ir_albedo=albedo)
    lost = 1 - (holed.vertices[:, 1] > 1.61).sum() / (scan.vertices[:, 1] > 1.61).sum()
    assert 0.2 < lost < 0.5
    assert (holed.vertices[:, 1] < 1.59).sum() == (scan.vertices[:, 1] < 1.59).sum()


def test_texture_is_limited(rng: np.random.Generator):
    mesh = ball((0.0, 1.2, 0.0), 0.3)
    textured = Mesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        uv=np.zeros((len(mesh.vertices), 2)),
        texture=np.zeros((600, 1200, 3), np.uint8),
    )
    scan = raw_scan(textured, CAMERAS, CLEAN, rng)
    assert scan.texture is not None and scan.texture.shape == (512, 1024, 3)
