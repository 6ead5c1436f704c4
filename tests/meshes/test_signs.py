from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.edges import directed_edges, unmatched
from anim_real.geometry.grids import Lattice
from anim_real.mesh import Mesh
from anim_real.meshes.inspect import mend
from anim_real.meshes.rims import close_with_cones
from anim_real.meshes.signs import ScanSides
from anim_real.meshes.winding import INSIDE

from .shapes import bell, box, inverted, joined, punched, sphere, split_vertices, torus, turned


def open_box():
    """A box without its lid."""
    mesh = box((-0.5, -0.3, -0.4), (0.5, 0.3, 0.4))
    return Mesh(vertices=mesh.vertices, faces=mesh.faces[mesh.corners.mean(1)[:, 1] < 0.29])


def closed(mesh):
    """The cones over the rims of any faces, by cancelling all their edges."""
    edges = unmatched(*directed_edges(mesh.faces), len(mesh.vertices))
    return close_with_cones(mesh.vertices, edges)


def torn(mesh, rng):
    """Every fifth face is let go and shaken a little."""
    raw = split_vertices(mesh, np.flatnonzero(rng.random(len(mesh.faces)) < 0.2))
    return raw.moved(raw.vertices + rng.normal(0, 1e-3, raw.vertices.shape))


SCANS = {
    "closed": lambda rng: torus(around=60, across=30),
    "small holes": lambda rng: punched(torus(around=80, across=30), rng, 8, 0.05),
    "large holes": lambda rng: punched(sphere(subdivisions=4), rng, 3, 0.35),
    "one side open": lambda rng: bell(),
    "lid off": lambda rng: open_box(),
    "overlapping": lambda rng: joined(punched(sphere(0.5, 4), rng, 3, 0.1), sphere(0.4, 4, (0.5, 0.1, 0))),
    "nested": lambda rng: joined(punched(sphere(0.5, 4), rng, 3, 0.1), punched(sphere(0.3, 3), rng, 2, 0.1)),
    "flipped": lambda rng: turned(sphere(subdivisions=4), rng.random(20 * 4**4) < 0.02),
    "torn": lambda rng: torn(torus(around=60, across=30), rng),
    "soup": lambda rng: Mesh(vertices=rng.uniform(-0.5, 0.5, (90, 3)), faces=np.arange(90).reshape(-1, 3)),
}


@pytest.mark.parametrize("name", SCANS)
def test_sides_are_those_of_the_exact_winding_number(rng, name):
    """At all points of the cells that the scan crosses; libigl's exact sum over the triangles is the oracle."""
    import igl

    scan = mend(SCANS[name](rng))
    low, high = scan.vertices.min(0) + 1e-3, scan.vertices.max(0) + 1e-3
    lattice = Lattice.around(low, high, cell_m=float((high - low).max()) / 40, padding_cells=8)
    sides = ScanSides(lattice, scan)
    cells = sides.crossed_cells()
    keys = np.unique(cells[:, None] + lattice.corner_offsets)
    ours = sides.winding_at(keys)
    exact = np.asarray(igl.winding_number(scan.vertices, scan.faces, lattice.points(keys)))
    clear = np.abs(exact - INSIDE) > 0.01
    assert clear.mean() > 0.9
    assert np.array_equal(ours[clear] > INSIDE, exact[clear] > INSIDE)
    assert np.abs(ours - exact)[clear].max() < 0.31
    if name == "closed":
        assert sides.num_asked == 0
    if name == "small holes":
        assert sides.num_asked < len(keys) / 3


def test_many_small_holes_decide_together():
    """A ball of which holes, each far away, take more than half: its middle is outside, though counted as inside."""
    import igl

    count, share = 60, 0.0095
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    around = np.sqrt(1.0 - height**2)
    holes = np.stack([around * np.cos(turn), height, around * np.sin(turn)], 1)
    ball = sphere(0.5, 5)
    middle = ball.corners.mean(1)
    cosine = (middle / np.linalg.norm(middle, axis=1, keepdims=True)) @ holes.T
    scan = mend(Mesh(vertices=ball.vertices, faces=ball.faces[cosine.max(1) < 1.0 - 2.0 * share]))
    assert len(scan.rims) > 50, "two at each pole touch"
    lattice = Lattice.around(np.full(3, -0.45), np.full(3, 0.45), cell_m=0.06, padding_cells=6)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in lattice.shape), indexing="ij"), -1).reshape(-1, 3)
    keys = np.sort(lattice.keys(index))
    ours = ScanSides(lattice, scan).winding_at(keys)
    exact = np.asarray(igl.winding_number(scan.vertices, scan.faces, lattice.points(keys)))
    clear = np.abs(exact - INSIDE) > 0.01
    is_middle = np.linalg.norm(lattice.points(keys), axis=1) < 0.2
    assert (exact[is_middle] < INSIDE - 0.01).all()
    assert np.array_equal(ours[clear] > INSIDE, exact[clear] > INSIDE)


@pytest.mark.parametrize("name", SCANS)
def test_cones_close_anything(rng, name):
    import igl

    scan = mend(SCANS[name](rng))
    rims = closed(scan)
    whole = np.concatenate([scan.faces, rims.cones])
    points = rng.uniform(-0.6, 0.6, (300, 3))
    winding = np.asarray(igl.winding_number(rims.vertices, whole, points))
    assert np.abs(winding - np.rint(winding)).max() < 1e-6
    assert (len(rims) == 0) == (name in ("closed", "flipped")), "flipped faces are turned back by mending"
    assert np.array_equal(rims.cones, scan.rims.cones), "mending knows the same from its table of edges"


def test_the_bound_on_the_view_of_holes_holds(rng):
    import igl

    scan = mend(punched(sphere(subdivisions=4), rng, 5, 0.2))
    rims = closed(scan)
    points = rng.uniform(-2.0, 2.0, (4000, 3))
    exact = np.abs(np.asarray(igl.winding_number(rims.vertices, rims.cones, points)))
    for limit in (0.05, 0.1, 0.3):
        may_fill = rims.may_fill(points, 0.0, limit)
        assert not (exact[~may_fill] > limit).any()
        assert 0.01 < may_fill.mean() < 0.99
        aside = points + rng.uniform(-0.05, 0.05, points.shape) / np.sqrt(3)
        assert not (rims.may_fill(aside, 0.0, limit) & ~rims.may_fill(points, 0.05, limit)).any()


@pytest.mark.parametrize(
    "name", ["small holes", "large holes", "one side open", "lid off", "overlapping", "flipped", "torn"]
)
def test_the_cones_winding_number_is_theirs(rng, name):
    """Far ones are dipoles; near ones are exact, on both sides and however often their faces wind about a point."""
    import igl

    rims = mend(SCANS[name](rng)).rims
    points = np.concatenate([rng.uniform(-0.9, 0.9, (3000, 3)), rng.uniform(-5, 5, (500, 3))])
    if len(rims):
        points = np.concatenate(
            [points, rims.center[rng.integers(len(rims), size=2000)] + rng.normal(0, 0.03, (2000, 3))]
        )
    ours = rims.winding(points)
    exact = np.asarray(igl.winding_number(rims.vertices, rims.cones, points)) if len(rims) else np.zeros(len(points))
    assert np.abs(ours - exact).max() < 2e-3
    near = (np.linalg.norm(points[:, None] - rims.center, axis=2) < rims.far).all(1)
    assert np.abs(ours - exact)[near].max(initial=0.0) < 1e-9


def test_a_rim_that_winds_several_times_does_so_in_its_number():
    """A helix of three turns and back: its cone covers its middle three times."""
    import igl

    angle = np.linspace(0, 6 * np.pi, 180, endpoint=False)
    helix = np.stack([np.cos(angle), np.sin(angle), 0.01 * angle], 1)
    edges = np.stack([np.arange(180), (np.arange(180) + 1) % 180], 1)
    rims = close_with_cones(helix, edges)
    points = np.random.default_rng(0).normal(0, 0.4, (500, 3))
    exact = np.asarray(igl.winding_number(rims.vertices, rims.cones, points))
    assert np.abs(exact).max() > 1.2
    assert np.abs(rims.winding(points) - exact).max() < 1e-9


def test_a_rim_that_crosses_itself_is_no_dipole():
    """A figure of eight: its two lobes cancel as a whole, but not from the side."""
    import igl

    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    eight = np.stack([np.sin(2 * angle), 0 * angle, np.sin(angle)], 1)
    rims = close_with_cones(eight, np.stack([np.arange(100), (np.arange(100) + 1) % 100], 1))
    points = np.random.default_rng(0).normal(0, 4, (3000, 3))
    exact = np.asarray(igl.winding_number(rims.vertices, rims.cones, points))
    assert np.abs(rims.winding(points) - exact).max() < 2e-3


def test_an_inverted_scan_has_the_opposite_rims(rng):
    raw = punched(sphere(subdivisions=3), rng, 3, 0.2)
    first, second = (closed(mesh) for mesh in (raw, inverted(raw)))
    assert np.allclose(first.center, second.center)
    assert np.allclose(first.normal, -second.normal)
    inward = np.einsum("ij,ij->i", first.normal, first.center)
    assert (inward > 0).all(), "a lid faces outwards like the surface it completes"
