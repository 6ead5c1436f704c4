"""What far cones add, linear in blocks of points, against libigl's sum over the cones' triangles."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.meshes.cone_blocks import less_cones_near
from anim_real.meshes.inspect import mend
from anim_real.meshes.winding import INSIDE

from .shapes import punched, sphere
from .test_signs import SCANS

MANY = {"many holes": lambda rng: punched(sphere(subdivisions=5), rng, 80, 0.025)}
HOLED = {name: SCANS[name] for name in ("small holes", "large holes", "lid off", "overlapping")} | MANY


def clustered(scan, rng):
    """Many points close together: on the surface, in the holes and on the cones."""
    faces = rng.integers(len(scan.faces), size=60)
    middles = np.concatenate(
        [scan.vertices[scan.faces].mean(1)[faces], scan.rims.center, scan.rims.vertices[scan.rims.cones].mean(1)[::9]]
    )
    return (middles[:, None] + rng.uniform(-0.012, 0.012, (len(middles), 300, 3))).reshape(-1, 3)


@pytest.mark.parametrize("name", HOLED)
@pytest.mark.parametrize("levels", [(INSIDE,), (INSIDE, INSIDE - 1.0)])
def test_sides_are_those_of_the_exact_number(rng, name, levels):
    import igl

    scan = mend(HOLED[name](rng))
    rims, points = scan.rims, clustered(scan, rng)
    count = rng.integers(-1, 3, len(points))
    ours = less_cones_near(levels, rims, count, points)
    assert ours is not None, "close together"
    truth = count - np.asarray(igl.winding_number(rims.vertices, rims.cones, points))
    assert np.abs(ours - truth).max() < 0.2
    assert np.abs(ours - (count - rims.winding(points))).max() > 0.0, "some of it is linear"
    for level in levels:
        near = np.abs(truth - level) < 0.09
        assert near.sum() > 10
        assert np.abs(ours - truth)[near].max() < 2e-3
        clear = np.abs(truth - level) > 0.01
        assert np.array_equal(ours[clear] > level, truth[clear] > level)


def test_few_or_scattered_points_are_left_to_the_cones(rng):
    rims = mend(SCANS["small holes"](rng)).rims
    for points in (rng.uniform(-1, 1, (500, 3)), rng.uniform(-1, 1, (20_000, 3)), np.zeros((5000, 3))):
        assert less_cones_near((INSIDE,), rims, np.zeros(len(points), dtype=int), points) is None
