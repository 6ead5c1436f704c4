"""Corners on textured scans: exact poses back, whatever the pose; mirrored and blank scans refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.boards.detect import CornerDetector
from anim_real.calibrate.boards.scan_corners import align_points, find_scan_corners
from anim_real.calibrate.boards.scan_views import TexturedScan
from anim_real.calibrate.boards.target import corner_positions
from anim_real.calibrate.boards.targets import load_target, target_mesh
from anim_real.errors import DataError
from anim_real.geometry.frames import Rigid

UP = np.array([0.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def target():
    return load_target("prism")


@pytest.fixture(scope="module")
def mesh(target):
    return target_mesh(target, 2048)


@pytest.fixture(scope="module")
def detector(target):
    return CornerDetector(target)


def test_all_corners_of_a_turned_and_tilted_scan(target, mesh, detector):
    pose = Rigid.from_rotvec("scan", "target", [0.15, 2.1, -0.1], [0.3, 0.2, -0.4])
    found = find_scan_corners(TexturedScan(mesh.moved(pose.apply(mesh.vertices))), target, detector, up=UP)
    ids, points = corner_positions(target)
    assert np.sort(found.ids).tolist() == ids.tolist()
    error = np.linalg.norm(found.points - pose.apply(points)[found.ids], axis=1)
    assert error.max() < 0.3e-3  # a texel is 0.75 mm
    normals = pose.rotate(np.repeat([board.T_target_board.rotation[:, 2] for board in target.boards], 14, 0))
    assert np.einsum("ni,ni->n", found.normals, normals[found.ids]).min() > 0.9999


def test_the_cubes_banners_are_measured_too():
    cube = load_target("cube")
    mesh = target_mesh(cube, 2048)
    pose = Rigid.from_rotvec("scan", "target", [0.15, 2.1, -0.1], [0.3, 0.2, -0.4])
    scan = TexturedScan(mesh.moved(pose.apply(mesh.vertices)))
    found = find_scan_corners(scan, cube, CornerDetector(cube), up=UP)
    ids, points = corner_positions(cube)
    assert found.ids.tolist() == ids.tolist() == list(range(20))
    assert np.linalg.norm(found.points - pose.apply(points), axis=1).max() < 0.5e-3  # a texel is 0.29 mm


def test_vertex_colors_serve_without_texture(target, mesh, detector):
    fine = target_mesh(target, 2048, edge_m=0.006)
    height, width = fine.texture.shape[:2]
    column = np.clip((fine.uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - fine.uv[:, 1]) * height).astype(int), 0, height - 1)
    colored = replace(fine, colors=fine.texture[row, column], uv=None, texture=None)
    found = find_scan_corners(TexturedScan(colored), target, detector, up=UP)
    _, points = corner_positions(target)
    assert len(found) > 40
    assert np.median(np.linalg.norm(found.points - points[found.ids], axis=1)) < 2e-3  # vertices are 6 mm apart


def test_mirrored_scan_is_named(target, mesh, detector):
    with pytest.raises(DataError, match="mirrored"):
        find_scan_corners(TexturedScan(mesh.moved(mesh.vertices * [-1, 1, 1])), target, detector, up=UP)


def test_scan_without_texture_is_named(target, mesh, detector):
    with pytest.raises(DataError, match="neither texture nor colours"):
        find_scan_corners(TexturedScan(replace(mesh, texture=None, uv=None)), target, detector, up=UP)


def test_align_points_recovers_a_pose(rng):
    pose = Rigid.from_rotvec("b", "a", [0.4, -1.0, 0.3], [1.0, 2.0, 3.0])
    source = rng.normal(size=(10, 3))
    rotation, translation = align_points(source, pose.apply(source))
    assert rotation == pytest.approx(pose.rotation, abs=1e-12)
    assert translation == pytest.approx(pose.translation, abs=1e-12)
