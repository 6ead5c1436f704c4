"""A scan's winding number, counted and less its rims' cones, against libigl's sum over the triangles."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.meshes.inspect import mend
from anim_real.meshes.scan_winding import HOLES_DECIDE, summed
from anim_real.meshes.winding import INSIDE

from .shapes import sphere, split_vertices
from .test_signs import SCANS


def exact(scan, points):
    import igl

    return np.asarray(igl.winding_number(scan.vertices, scan.faces, points))


def places(scan, rng):
    """Everywhere, near the surface, and in the holes."""
    surface = scan.vertices[scan.faces].mean(1)[rng.integers(len(scan.faces), size=1500)]
    holes = scan.rims.center[rng.integers(len(scan.rims), size=1500)] if len(scan.rims) else surface
    everywhere = rng.uniform(-0.9, 0.9, (1500, 3))
    return np.concatenate(
        [everywhere, surface + rng.normal(0, 0.02, (1500, 3)), holes + rng.normal(0, 0.05, (1500, 3))]
    )


@pytest.mark.parametrize("name", SCANS)
def test_it_is_the_exact_number(rng, name):
    scan = mend(SCANS[name](rng))
    points = places(scan, rng)
    truth = exact(scan, points)
    ours = scan.winding.at(points)
    assert np.abs(ours - truth).max() < (0.01 if scan.winding.is_soup else 3e-3)
    assert scan.winding.is_soup == (name == "torn"), "only there a tree of all faces is built"
    assert ("tree" in vars(scan.winding)) == scan.winding.is_soup


@pytest.mark.parametrize("name", SCANS)
def test_where_holes_fill_little_of_the_view_a_whole_number_will_do(rng, name):
    scan = mend(SCANS[name](rng))
    points = places(scan, rng)
    truth = exact(scan, points)
    clear = np.abs(truth - INSIDE) > 0.01
    ours = scan.winding.near_levels(points)
    assert np.array_equal(ours[clear] > INSIDE, truth[clear] > INSIDE)
    if not scan.winding.is_soup:
        assert np.abs(ours - truth).max() < HOLES_DECIDE + 3e-3
        for below in (0.1, 0.3):
            ours = scan.winding.at(points, holes_below=below)
            assert np.abs(ours - truth).max() < below + 3e-3
            is_whole = ours == np.rint(ours)
            assert np.abs(ours - truth)[~is_whole].max(initial=0.0) < 3e-3


def test_points_on_the_cones_are_asked_of_the_scan(rng):
    """There the count and the cones' number jump together: rounding must not part them."""
    scan = mend(SCANS["large holes"](rng))
    cones = scan.rims.vertices[scan.rims.cones]
    face = rng.integers(len(cones), size=300)
    on_cone = np.einsum("ij,ijk->ik", rng.dirichlet((2.0, 2.0, 2.0), 300), cones[face])
    truth = exact(scan, on_cone)
    assert np.abs(scan.winding.at(on_cone) - truth).max() < 0.01
    assert np.abs(scan.winding.at(on_cone[:20]) - truth[:20]).max() < 1e-9, "few are summed up over all faces"


def test_the_order_of_queries_does_not_matter(rng):
    scan = mend(SCANS["small holes"](rng))
    points = places(scan, rng)
    for ask in (scan.winding.at, scan.winding.near_levels):
        assert np.array_equal(ask(points), ask(points, is_sorted=True))


def test_the_sum_over_all_faces_is_exact(rng):
    scan = mend(split_vertices(sphere(subdivisions=2), np.arange(40)))
    points = rng.uniform(-0.8, 0.8, (200, 3))
    assert np.abs(summed(scan.vertices, scan.faces, points) - exact(scan, points)).max() < 1e-12


def test_no_points_no_answer(rng):
    for name in ("closed", "small holes", "soup"):
        assert mend(SCANS[name](rng)).winding.at(np.zeros((0, 3))).shape == (0,)
