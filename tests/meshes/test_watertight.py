from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, RefusedError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import Mesh, WatertightMesh
from anim_real.meshes import watertight
from anim_real.meshes.sample import ScanField
from anim_real.meshes.watertight import make_watertight
from anim_real.meshes.winding import INSIDE, WindingNumber
from anim_real.samples import Region

from .shapes import (
    box,
    capsule,
    capsule_sdf,
    inverted,
    joined,
    near,
    punched,
    sphere,
    sphere_sdf,
    split_vertices,
    torus,
    torus_sdf,
    turned,
)


def is_inside(mesh, points):
    return WindingNumber(mesh.vertices, mesh.faces).at(points) > INSIDE


@pytest.mark.parametrize(
    ("mesh", "sdf", "genus"),
    [(sphere(subdivisions=5), sphere_sdf, 0), (torus(), torus_sdf, 1), (capsule(), capsule_sdf, 0)],
    ids=["sphere", "torus", "capsule"],
)
def test_known_shapes(rng, mesh, sdf, genus):
    result = make_watertight(mesh, resolution=64)
    cell = result.report.cell_m
    # vertices lie on the input's facets, which are below 0.5 mm inside the smooth shape
    assert np.abs(sdf(result.mesh.vertices)).max() < 0.1 * cell
    assert np.abs(sdf(result.mesh.corners.mean(1))).mean() < 0.02 * cell
    assert result.report.genus == genus
    assert result.report.num_holes == 0
    assert not result.invented.any()
    points = rng.uniform(-0.7, 0.7, (2000, 3))
    clear = np.abs(sdf(points)) > 0.1 * cell
    assert np.array_equal(is_inside(result.mesh, points[clear]), sdf(points[clear]) < 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_holed_mesh_keeps_its_inside(seed):
    rng = np.random.default_rng(seed)
    raw = punched(sphere(subdivisions=5), rng, 6, 0.12)
    result = make_watertight(raw, resolution=64)
    points = rng.uniform(-0.6, 0.6, (4000, 3))
    outside_caps = np.ones(len(points), dtype=bool)
    # a soap film over a hole of chord radius a leaves out at most a cap of height a^2 / 2r = 1.5 cm
    outside_caps &= (sphere_sdf(points) < -0.05) | (sphere_sdf(points) > 0.005)
    assert np.array_equal(is_inside(result.mesh, points)[outside_caps], (sphere_sdf(points) < 0)[outside_caps])
    assert result.report.num_holes >= 1
    assert result.report.inspection.boundary_loops == result.report.num_holes
    assert 0.02 < result.report.invented_share < 0.2
    assert result.invented.any()


def test_invented_is_over_the_hole_and_only_there():
    mesh = sphere(subdivisions=5)
    rows = near(mesh, (0.5, 0, 0), 0.2)
    result = make_watertight(Mesh(vertices=mesh.vertices, faces=mesh.faces[~rows]), resolution=96)
    reach = np.linalg.norm(result.mesh.vertices - (0.5, 0, 0), axis=1)
    assert reach[result.invented].max() < 0.2
    assert result.report.num_holes == 1
    hole = result.report.holes[0]
    # a nearly flat film, radius 0.196, counted with the faces that reach over its rim by up to a cell
    assert np.pi * 0.19**2 < hole.area_m2 < np.pi * (0.196 + result.report.cell_m) ** 2
    assert np.allclose(hole.center_m, (0.46, 0, 0), atol=0.01)
    scanned = ~result.invented & (reach > 0.22)
    assert np.abs(sphere_sdf(result.mesh.vertices[scanned])).max() < 1e-3


def test_faults_of_raw_scans_change_nothing(rng):
    mesh = sphere(subdivisions=5)
    clean = make_watertight(mesh, resolution=64).mesh
    raw = turned(mesh, near(mesh, (0, 0.5, 0), 0.15))
    raw = split_vertices(raw, np.flatnonzero(rng.random(len(raw.faces)) < 0.3))
    raw = joined(raw, sphere(0.01, 1, (0.45, 0.45, 0.0)))
    result = make_watertight(raw, resolution=64)
    assert result.report.inspection.dropped_pieces == 1
    assert result.mesh.volume == pytest.approx(clean.volume, rel=1e-9)


def test_an_inverted_mesh_gives_the_same(rng):
    raw = punched(sphere(subdivisions=4), rng, 3, 0.1)
    first, second = (make_watertight(mesh, resolution=48) for mesh in (raw, inverted(raw)))
    assert second.mesh.volume == pytest.approx(first.mesh.volume, rel=1e-6)


def test_overlapping_shells_become_one():
    left, right = sphere(0.4, 4, (-0.2, 0, 0)), sphere(0.4, 4, (0.2, 0, 0))
    result = make_watertight(joined(left, right), resolution=96)
    gap = 0.4
    lens = np.pi * (4 * 0.4 + gap) * (2 * 0.4 - gap) ** 2 / 12
    assert result.mesh.volume == pytest.approx(2 * 4 / 3 * np.pi * 0.4**3 - lens, rel=0.01)
    assert (result.report.num_components, result.report.genus) == (1, 0)
    assert result.report.buried_faces > 0
    assert result.report.num_holes == 0
    middles, shift = result.labels.vertices[result.labels.faces].mean(1), np.array([0.2, 0, 0])
    buried = (np.linalg.norm(middles - shift, axis=1) < 0.39) & (np.linalg.norm(middles + shift, axis=1) < 0.39)
    assert not buried.any(), "labels must not measure to surface inside the body"


def test_the_sign_of_overlapping_shells_is_that_of_their_union(rng):
    """Analytic balls are the oracle. The pseudonormal of the nearest face, the usual rule, is wrong between them."""
    import igl

    centers = np.array([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.25, 0.1]])
    scan = joined(*(sphere(0.3, 4, center) for center in centers))
    result = make_watertight(scan, resolution=64)
    points = rng.uniform(-0.6, 0.6, (6000, 3))
    sdf = np.min([np.linalg.norm(points - center, axis=1) - 0.3 for center in centers], axis=0)
    clear = np.abs(sdf) > 0.2 * result.report.cell_m
    ours = ScanField(result).signed_distance(points).sdf
    assert np.array_equal(ours[clear] < 0, sdf[clear] < 0)
    assert np.array_equal(is_inside(result.mesh, points[clear]), sdf[clear] < 0)
    by_normal = igl.signed_distance(points, scan.vertices, scan.faces, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL)[0]
    assert ((by_normal < 0) != (sdf < 0))[clear].mean() > 0.005


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_signs_beside_holes_are_right_where_the_parity_of_a_ray_is_wrong(rng, axis):
    """A ray that leaves through a hole misses one crossing; the ball before it got its holes is the oracle."""
    import open3d as o3d

    raw = punched(sphere(subdivisions=4), rng, 8, 0.1)
    points = rng.uniform(-0.5, 0.5, (6000, 3))
    sdf = sphere_sdf(points)
    clear = (sdf < -0.05) | (sdf > 0.005)  # films over the holes cut off caps of at most 1.1 cm
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(raw.vertices.astype(np.float32)), o3d.core.Tensor(raw.faces.astype(np.uint32)))
    rays = np.concatenate([points, np.broadcast_to(np.eye(3)[axis], points.shape)], axis=1).astype(np.float32)
    by_parity = scene.count_intersections(o3d.core.Tensor(rays)).numpy() % 2 == 1
    assert (by_parity != (sdf < 0))[clear].mean() > 0.01
    ours = ScanField(make_watertight(raw, resolution=64)).signed_distance(points).sdf
    assert np.array_equal(ours[clear] < 0, sdf[clear] < 0)


@pytest.mark.parametrize("inner", [sphere(0.3, 3), inverted(sphere(0.3, 3))], ids=["body under clothes", "cavity"])
def test_nested_shells_vanish(inner):
    result = make_watertight(joined(sphere(0.5, 4), inner), resolution=48)
    assert np.linalg.norm(result.mesh.vertices, axis=1).min() > 0.49
    assert result.mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.02)
    assert np.linalg.norm(result.labels.vertices[result.labels.faces].mean(1), axis=1).min() > 0.48


def test_two_bodies_stay_two():
    result = make_watertight(joined(sphere(0.2, 4, (-0.3, 0, 0)), sphere(0.2, 4, (0.3, 0, 0))), resolution=48)
    assert result.report.num_components == 2
    assert result.report.genus == 0


def test_scale_does_not_matter(rng):
    raw = punched(torus(), rng, 3, 0.1)
    one, thousand = make_watertight(raw, resolution=48), make_watertight(raw.scaled(1000.0), resolution=48)
    assert len(one.mesh.vertices) == len(thousand.mesh.vertices)
    assert np.allclose(one.mesh.vertices * 1000, thousand.mesh.vertices, atol=1e-2 * one.report.cell_m * 1000)


def test_translation_does_not_matter(rng):
    raw = punched(torus(), rng, 3, 0.1)
    shift = np.array([3.0, -7.0, 11.0])
    here, there = make_watertight(raw, resolution=48), make_watertight(raw.moved(raw.vertices + shift), resolution=48)
    assert np.allclose(here.mesh.vertices + shift, there.mesh.vertices, atol=1e-2 * here.report.cell_m)


def test_rotation_changes_the_surface_below_a_cell(rng):
    from scipy.spatial.transform import Rotation

    raw = punched(sphere(subdivisions=5), rng, 3, 0.1)
    turn = Rotation.from_rotvec([0.3, -0.7, 0.4]).as_matrix()
    here = make_watertight(raw, resolution=64)
    there = make_watertight(raw.moved(raw.vertices @ turn.T), resolution=64)
    back = there.mesh.vertices @ turn
    gap = SurfaceDistance(here.mesh.vertices, here.mesh.faces).closest(back).distance
    assert gap.mean() < 0.02 * here.report.cell_m
    assert gap.max() < 0.5 * here.report.cell_m
    assert there.mesh.volume == pytest.approx(here.mesh.volume, rel=2e-3)


@pytest.mark.parametrize(("resolution", "max_error"), [(16, 0.03), (33, 0.015), (64, 0.006)])
def test_volume_and_topology_are_true_and_nearer_than_the_dense_field(rng, resolution, max_error):
    """The torus before it got its holes is the oracle; dense signed distances cut more of its curvature off."""
    import igl

    whole = torus()
    raw = punched(whole, rng, 4, 0.08)
    result = make_watertight(raw, resolution=resolution)
    cell = result.report.cell_m
    low, high = raw.vertices.min(0) - 3 * cell, raw.vertices.max(0) + 3 * cell
    shape = np.ceil((high - low) / cell).astype(int) + 1
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape[::-1]), indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    points = low + cell * index
    field, *_ = igl.signed_distance(points, raw.vertices, raw.faces, igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER)
    vertices, faces, _ = igl.marching_cubes(field, points, *shape.tolist(), 0.0)
    dense = Mesh(vertices=vertices, faces=faces)
    ours, theirs = (abs(abs(mesh.volume) / whole.volume - 1.0) for mesh in (result.mesh, dense))
    assert ours < max_error
    assert ours < 0.9 * theirs
    gap = SurfaceDistance(dense.vertices, dense.faces).closest(result.mesh.vertices).distance
    assert gap.mean() < 0.1 * cell
    if resolution > 32:
        assert result.report.euler == len(vertices) - len(faces) // 2 == 0


def test_vertices_lie_on_the_scan_and_no_face_is_spoilt(rng):
    raw = punched(sphere(subdivisions=5), rng, 4, 0.1)
    result = make_watertight(raw, resolution=48)
    cell = result.report.cell_m
    gap = SurfaceDistance(raw.vertices, raw.faces).closest(result.mesh.vertices).distance
    assert np.median(gap) < 1e-6
    assert result.report.scan_to_mesh.mean_m < 0.02 * cell, "the chord of a cell, 0.75 / 8 * cell^2 / radius, is 0.4 %"
    assert result.mesh.face_areas.min() > 1e-5 * cell**2
    edges = result.mesh.corners - np.roll(result.mesh.corners, 1, axis=1)
    assert np.linalg.norm(edges, axis=-1).min() > 1e-3 * cell


def test_over_a_hole_the_winding_number_is_one_half(rng):
    """Vertices over holes are found by two secant steps along lattice edges; the exact number is the oracle."""
    import igl

    mesh = sphere(subdivisions=4)
    raw = Mesh(vertices=mesh.vertices, faces=mesh.faces[~near(mesh, (0.5, 0, 0), 0.25)])
    result = make_watertight(raw, resolution=64)
    far = result.mesh.vertices[result.invented]
    assert len(far) > 300
    winding = igl.winding_number(result.scan.vertices, result.scan.faces, far)
    assert np.abs(winding - INSIDE).max() < 0.02


def test_a_body_under_clothes_does_not_count_as_lost_surface(rng):
    """Of nested shells only the outer one exists: distances from the scan are of that one alone."""
    body, coat = sphere(0.3, 4), punched(sphere(0.5, 5), rng, 3, 0.05)
    alone, dressed = (make_watertight(scan, resolution=64).report for scan in (coat, joined(body, coat)))
    assert dressed.buried_faces == pytest.approx(len(body.faces), rel=0.02)
    assert dressed.scan_to_mesh.max_m < alone.scan_to_mesh.max_m + 0.2 * dressed.cell_m
    assert dressed.scan_to_mesh.mean_m == pytest.approx(alone.scan_to_mesh.mean_m, rel=0.1)


def test_thin_sheets_stay_apart():
    """Two sheets little more than a cell apart: vertices must not be drawn to the far side."""
    plate = box((-0.5, -0.018, -0.5), (0.5, 0.018, 0.5))
    result = make_watertight(plate, resolution=32)
    normals = result.mesh.vertex_normals()
    top = (np.abs(result.mesh.vertices[:, [0, 2]]) < 0.45).all(1)
    assert (np.sign(result.mesh.vertices[top, 1]) == np.sign(normals[top, 1])).all()


def test_colors_and_regions_come_along():
    mesh = sphere(subdivisions=4)
    is_face = mesh.vertices[:, 1] > 0.2
    colors = np.where(is_face[:, None], [250, 10, 20], [10, 200, 30]).astype(np.uint8)
    raw = Mesh(
        vertices=mesh.vertices, faces=mesh.faces, colors=colors, regions=np.where(is_face, Region.FACE, Region.OTHER)
    )
    result = make_watertight(raw, resolution=48)
    assert result.mesh.regions is not None
    assert result.mesh.colors is not None
    assert result.mesh.regions.dtype == np.uint8
    above, below = result.mesh.vertices[:, 1] > 0.26, result.mesh.vertices[:, 1] < 0.14
    assert (result.mesh.regions[above] == Region.FACE).all()
    assert (result.mesh.regions[below] == Region.OTHER).all()
    assert np.abs(result.mesh.colors[above].astype(int) - (250, 10, 20)).max() <= 1
    assert np.abs(result.mesh.colors[below].astype(int) - (10, 200, 30)).max() <= 1


def test_a_texture_becomes_vertex_colors():
    plate = box((-0.5, -0.2, -0.5), (0.5, 0.2, 0.5))
    uv = plate.vertices[:, [0, 1]] / (1.0, 0.4) + 0.5  # v is 0 at the bottom, 1 at the top
    texture = np.zeros((64, 64, 3), dtype=np.uint8)
    texture[:32] = (200, 0, 0)  # upper half of the image = larger v = larger y
    texture[32:] = (0, 0, 200)
    result = make_watertight(Mesh(vertices=plate.vertices, faces=plate.faces, uv=uv, texture=texture), resolution=40)
    assert result.mesh.colors is not None
    assert (result.mesh.colors[result.mesh.vertices[:, 1] > 0.1] == (200, 0, 0)).all()
    assert (result.mesh.colors[result.mesh.vertices[:, 1] < -0.1] == (0, 0, 200)).all()


def test_too_much_invention_is_refused():
    mesh = sphere(subdivisions=4)
    bowl = Mesh(vertices=mesh.vertices, faces=mesh.faces[mesh.corners.mean(1)[:, 1] < -0.1])
    with pytest.raises(RefusedError, match="invented"):
        make_watertight(bowl, resolution=32, max_invented_share=0.2)
    # a disc of radius sqrt(0.24) beside a bowl of depth 0.4
    for resolution in (32, 64):
        report = make_watertight(bowl, resolution=resolution).report
        assert report.invented_share == pytest.approx(0.24 / (0.24 + 0.4), abs=0.015)


def test_a_soup_is_refused_from_a_coarse_surface(rng, monkeypatch):
    """Closing it finely would take minutes."""
    asked = []
    real = watertight.close_scan
    monkeypatch.setattr(watertight, "close_scan", lambda scan, cells: asked.append(cells) or real(scan, cells))
    soup = Mesh(vertices=rng.uniform(-0.5, 0.5, (300, 3)), faces=np.arange(300).reshape(-1, 3))
    with pytest.raises(RefusedError, match="invented"):
        make_watertight(soup, resolution=512)
    assert asked == [64]
    asked.clear()
    make_watertight(punched(sphere(subdivisions=3), rng, 2, 0.1), resolution=160)
    assert asked == [160], "usual holes need no such look"


def test_faces_torn_apart_by_little_are_not_mistaken_for_a_soup(rng, monkeypatch):
    """The preview's share must not grow with the cell: every face is let go and shrunk by 3 %, 6 % of the area."""
    ball = sphere(subdivisions=4)
    raw = split_vertices(ball, np.arange(len(ball.faces)))
    middle = np.repeat(raw.corners.mean(1), 3, axis=0)
    shrunk = np.empty_like(raw.vertices)
    shrunk[raw.faces.ravel()] = middle + 0.97 * (raw.vertices[raw.faces.ravel()] - middle)
    monkeypatch.setattr(watertight, "_PREVIEW_RESOLUTION", 16)
    result = make_watertight(raw.moved(shrunk), resolution=48, max_invented_share=0.07)
    assert result.report.inspection.open_edges == 3 * len(ball.faces)
    assert result.report.invented_share < 1.0 - 0.97**2


def test_a_flat_sheet_is_refused():
    sheet = Mesh(
        vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]]), faces=np.array([[0, 1, 2], [2, 1, 3]])
    )
    with pytest.raises(DataError):
        make_watertight(sheet, resolution=32)


@pytest.mark.parametrize("resolution", [0, 4, 10_000])
def test_impossible_resolutions_are_refused(resolution):
    with pytest.raises(DataError, match="resolution"):
        make_watertight(sphere(subdivisions=2), resolution=resolution)


def test_it_is_deterministic(rng):
    raw = punched(torus(), rng, 3, 0.1)
    first, second = (make_watertight(raw, resolution=40) for _ in range(2))
    assert isinstance(first.mesh, WatertightMesh)
    assert np.array_equal(first.mesh.vertices, second.mesh.vertices)
    assert np.array_equal(first.mesh.faces, second.mesh.faces)


def test_the_report_is_json_and_text(rng):
    import json

    report = make_watertight(punched(sphere(subdivisions=4), rng, 2, 0.1), resolution=32).report
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["num_holes"] == len(record["holes"]) == report.num_holes
    assert record["inspection"]["boundary_loops"] == report.inspection.boundary_loops
    assert any("holes:" in line for line in report.lines())
    assert report.seconds > 0
