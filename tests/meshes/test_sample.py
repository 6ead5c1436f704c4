from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from anim_real.mesh import Mesh
from anim_real.meshes import scan_winding
from anim_real.meshes.columns import Columns
from anim_real.meshes.sample import REGION_BAND, SURFACE_BAND, UNIFORM_BAND, ScanField, sample_pool
from anim_real.meshes.watertight import make_watertight
from anim_real.meshes.winding import WindingNumber
from anim_real.samples import Region

from .shapes import bell, capsule, capsule_sdf, joined, near, punched, sphere, sphere_sdf

FACET_M = 2e-4  # the icosphere's facets lie 0.5 * (1.3 * 1.107 / 2^5 / sqrt(3))^2 / 2 m below the sphere


@pytest.fixture(scope="module")
def person():
    """A holed sphere whose cap is a face."""
    mesh = sphere(subdivisions=5)
    mesh = Mesh(vertices=mesh.vertices, faces=mesh.faces[~near(mesh, (0.5, 0, 0), 0.15)])
    regions = np.where(mesh.vertices[:, 1] > 0.4, Region.FACE, Region.OTHER).astype(np.uint8)
    return make_watertight(Mesh(vertices=mesh.vertices, faces=mesh.faces, regions=regions), resolution=64)


def pool_of(result, seed=0, num_points=8000, **options):
    return sample_pool(result, num_points=num_points, rng=np.random.default_rng(seed), **options)


def test_labels_are_the_signed_distance(person):
    pool = pool_of(person)
    truth = sphere_sdf(pool.points.astype(np.float64))
    away = ~pool.invented & (np.linalg.norm(pool.points - (0.5, 0, 0), axis=1) > 0.35)
    assert away.sum() > 4000
    assert np.abs(pool.sdf - truth)[away].max() < FACET_M
    disagree = away & ((pool.sdf < 0) != (truth < 0))
    assert np.abs(truth[disagree]).max(initial=0.0) < FACET_M


def test_labels_keep_detail_that_the_watertight_mesh_lost():
    """A spike thinner than a cell: the label knows it."""
    ball, spike = sphere(subdivisions=4), capsule(0.004, 0.02)
    center = np.array([0.0, 0.519, 0.0])
    spike = spike.moved(spike.vertices + center)
    result = make_watertight(joined(ball, spike), resolution=32)
    tip = np.array([[0.0, 0.545, 0.0]])
    label = ScanField(result).signed_distance(tip)
    assert label.sdf[0] == pytest.approx(capsule_sdf(tip - center, 0.004, 0.02)[0], abs=1e-4)


def test_distances_are_exact_against_libigl(person, rng):
    import igl

    points = rng.uniform(-0.6, 0.6, (500, 3))
    surface = person.labels
    squared, *_ = igl.point_mesh_squared_distance(points, surface.vertices, surface.faces)
    ours = ScanField(person).signed_distance(points)
    assert np.abs(np.abs(ours.sdf) - np.sqrt(squared)).max() < 1e-14


def test_labels_are_distances_which_libigls_field_is_not(person, rng):
    """libigl's signed distance by fast winding number is (1 - 2w) d: good for remeshing, wrong as a label."""
    import igl

    scan = person.scan
    points = rng.uniform(-0.55, 0.55, (2000, 3))
    kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    field = np.asarray(igl.signed_distance(points, scan.vertices, scan.faces, kind)[0])
    winding = np.asarray(igl.winding_number(scan.vertices, scan.faces, points))
    distance = np.sqrt(igl.point_mesh_squared_distance(points, scan.vertices, scan.faces)[0])
    assert np.abs(field - (1.0 - 2.0 * winding) * distance).max() < 0.02 * distance.max(), "its tree's accuracy"
    label = ScanField(person).signed_distance(points)
    by_sign = np.where(winding > 0.5, -distance, distance)
    to_scan = ~label.is_invented & (np.abs(winding - 0.5) > 0.01)
    assert to_scan.mean() > 0.7
    ours, theirs = (np.abs(values - by_sign)[to_scan] for values in (label.sdf, field))
    assert ours.max() < 1e-6
    assert theirs.mean() > 1e-3, "millimetres on average, beside holes of a body of one metre"


@pytest.mark.parametrize("is_soup", [False, True])
def test_what_winding_numbers_need_is_built_once(rng, monkeypatch, is_soup):
    """libigl's free function builds its tree at every call: 27 to 800 ms each. Here a soup alone needs one."""
    built: dict[str, list[int]] = {"WindingNumber": [], "Columns": []}
    make = {
        "WindingNumber": lambda *mesh: built["WindingNumber"].append(len(mesh[1])) or WindingNumber(*mesh),
        "Columns": SimpleNamespace(of=lambda *mesh: built["Columns"].append(len(mesh[1])) or Columns.of(*mesh)),
    }
    for name, double in make.items():
        monkeypatch.setattr(scan_winding, name, double)
    monkeypatch.setattr(scan_winding, "_MAX_RIMS", 0 if is_soup else 10)
    result = make_watertight(punched(sphere(subdivisions=4), rng, 3, 0.1), resolution=48)
    for seed in range(3):
        pool_of(result, seed, num_points=500)
    ScanField(result).is_inside(np.zeros((5, 3)))
    faces, cones = len(result.scan.faces), len(result.scan.rims.cones)
    assert built == {"WindingNumber": [faces] if is_soup else [], "Columns": [] if is_soup else [faces + cones]}


def test_over_a_hole_the_patch_is_the_surface(person):
    # the film spans the hole of chord radius 0.15 at x = 0.477: on its axis the field crosses zero there
    depth = np.linspace(0.40, 0.56, 33)
    points = np.stack([depth, 0 * depth, 0 * depth], 1)
    label = ScanField(person).signed_distance(points)
    crossing = np.interp(0.0, label.sdf, depth)
    assert 0.46 < crossing < 0.5
    assert label.is_invented[np.abs(depth - crossing) < 0.02].all()
    assert np.abs(np.diff(label.sdf) - np.diff(depth)).max() < 2e-3, "no step between scan, patch and sign"


def test_bands_regions_and_shares(person):
    pool = pool_of(person, num_points=10_000)
    share = np.bincount(pool.band, minlength=3) / len(pool.band)
    assert share.tolist() == pytest.approx([0.70, 0.05, 0.25])
    detail = pool.band == REGION_BAND
    assert (pool.region[detail] == Region.FACE).all()
    # three dimensions of 0.7 mm: the distance along the normal has a standard deviation of 0.7 mm
    assert pool.sdf[detail].std() == pytest.approx(0.0007, rel=0.05)
    near_surface = pool.band == SURFACE_BAND
    assert (pool.sdf[near_surface] < 0).mean() == pytest.approx(0.5, abs=0.01)
    face_share = (pool.region[near_surface] == Region.FACE).mean()
    assert face_share == pytest.approx(0.1, abs=0.03)  # a cap of height 0.1 of a sphere of diameter 1
    box = pool.points[pool.band == UNIFORM_BAND]
    assert np.abs(box).max() < 0.5 + 3 * 0.05 + 0.01
    assert np.abs(box.mean(0)).max() < 0.06
    assert np.abs(box).max() > 0.6


def test_without_regions_there_is_no_region_band():
    pool = pool_of(make_watertight(sphere(subdivisions=3), resolution=32), num_points=1000)
    assert np.bincount(pool.band).tolist() == [950, 50]
    assert (pool.region == Region.OTHER).all()
    assert not pool.invented.any()


def test_any_window_is_a_fair_draw(person):
    pool = pool_of(person, num_points=20_000)
    for start in (0, 7000, 15_000):
        window = slice(start, start + 4000)
        assert (pool.band[window] == REGION_BAND).mean() == pytest.approx(0.25, abs=0.03)
        assert pool.points[window].mean(0) == pytest.approx(pool.points.mean(0), abs=0.03)


def test_the_seed_decides(person):
    first, second, other = pool_of(person, 1), pool_of(person, 1), pool_of(person, 2)
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.sdf, second.sdf)
    assert not np.array_equal(first.points, other.points)


def test_invented_is_recorded(person):
    pool = pool_of(person)
    close = np.linalg.norm(pool.points - (0.49, 0, 0), axis=1)
    assert pool.invented[close < 0.05].all()
    assert not pool.invented[close > 0.5].any()


def test_a_sign_that_rests_on_a_hole_is_invented_although_scanned_surface_is_nearest():
    # on the axis, h above the opening of radius r, the hole fills (1 - h / sqrt(h^2 + r^2)) / 2 of the view:
    # a tenth at h = 4/3 r = 0.2
    field = ScanField(make_watertight(bell(radius=0.15), resolution=64))
    height = np.array([0.16, 0.17, 0.18, 0.19, 0.21, 0.22, 0.25, 0.3, 0.4])
    label = field.signed_distance(np.stack([0 * height, height, 0 * height], 1))
    assert label.sdf == pytest.approx(-0.15, abs=2e-4), "the wall is nearest, and the closed bell is solid"
    assert label.is_invented.tolist() == (height < 0.2).tolist()
    beside = np.array([[0.16, 0.01, 0.0], [0.2, 0.1, 0.0]])
    assert not field.signed_distance(beside).is_invented.any(), "outside, the scanned wall decides"


def test_wrong_signs_in_the_air_under_a_dome_are_invented():
    # a half sphere, scanned from outside only: in truth a thin shell, so that what is called inside is air
    ball = sphere(subdivisions=5)
    result = make_watertight(
        Mesh(vertices=ball.vertices, faces=ball.faces[ball.corners[..., 1].min(1) > 0.0]), resolution=64
    )
    pool = pool_of(result)
    radius = np.linalg.norm(pool.points, axis=1)
    is_air = (radius < 0.48) & (pool.points[:, 1] > 0.02)
    is_wrong = is_air & (pool.sdf < 0)
    assert is_wrong.sum() > 1000
    assert pool.invented[is_wrong].all()
    above = (pool.points[:, 1] > 0.25) & (radius > 0.51)
    assert not pool.invented[above].any()
