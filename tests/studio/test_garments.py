"""Cutting and sewing keep meshes closed; lines, layers and skirts lie where they should."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import ConfigError
from anim_real.mesh import Mesh, closedness_problem
from anim_real.studio.garments import GARMENTS, OUTFITS, bends, check_garments
from anim_real.studio.hair import loft
from anim_real.studio.motion import Arm, Leg, Pose
from anim_real.studio.skirt import NUM_ANGLES, NUM_RINGS, draw_skirt, skirt_coordinates, skirt_faces
from anim_real.studio.surgery import (
    Cloth,
    cap_holes,
    keep_faces,
    open_seams,
    refine,
    shell,
    slice_at_zero,
    smoothed,
    unpinched,
)
from anim_real.studio.textures import bake


def sphere(num: int = 12) -> Cloth:
    """A closed ball of radius 1 with a plain planar map: no seams."""
    angle = np.linspace(0, 2 * np.pi, 2 * num, endpoint=False)
    height = np.linspace(-0.95, 0.95, num)
    ring = np.sqrt(1 - height**2)
    rings = np.stack(
        [
            np.outer(ring, np.cos(angle)),
            np.broadcast_to(height[:, None], (num, 2 * num)),
            np.outer(ring, np.sin(angle)),
        ],
        -1,
    )
    points, faces, _ = loft(rings)
    return Cloth(rows=points, faces=faces, uv=points[faces][..., :2] * 0.4 + 0.5, layer=np.zeros(len(faces), np.int64))


def problem(points: np.ndarray, faces: np.ndarray) -> str | None:
    return closedness_problem(Mesh(vertices=points, faces=faces))


def area(cloth: Cloth) -> float:
    a, b, c = np.moveaxis(cloth.points[cloth.faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_slice_keeps_surface_and_puts_edges_on_the_line() -> None:
    ball = sphere()
    field = ball.points @ np.array([0.3, 1.0, 0.2]) - 0.123
    cut, side = slice_at_zero(ball, field)
    assert problem(cut.points, cut.faces) is None
    values = cut.points @ np.array([0.3, 1.0, 0.2]) - 0.123
    corner = values[cut.faces] * side[:, None]
    assert corner.min() > -1e-9  # no face crosses the line
    # Vertices near the line are drawn onto it, which moves them less than 12 % of an edge of 0.27 at most.
    assert area(cut) == pytest.approx(area(ball), rel=0.01)


def test_refine_halves_long_edges_only_and_stays_conforming() -> None:
    ball = sphere()
    fine = refine(ball, ball.points[ball.faces].mean(1)[:, 1] > 0, 0.1)
    assert problem(fine.points, fine.faces) is None
    assert area(fine) == pytest.approx(area(ball), rel=1e-12)
    assert len(ball.faces) * 1.5 < len(fine.faces) < len(ball.faces) * 4


def test_hem_and_texture_seams_are_sewn_closed() -> None:
    ball, side = slice_at_zero(sphere(), sphere().points[:, 1] - 0.1)
    other = np.where(ball.points[ball.faces].mean(1)[:, :1] > 0, 1.0, 0.0)  # two islands that meet in an atlas seam
    ball = Cloth(rows=ball.rows, faces=ball.faces, uv=ball.uv + other[:, None], layer=(side > 0).astype(np.int64))
    sewn = open_seams(ball)
    points = ball.points[sewn.source]
    lifted = points * np.where(sewn.layer == 1, 1.05, 1.0)[:, None]
    assert problem(lifted, sewn.faces) is None
    grown = Mesh(vertices=lifted, faces=sewn.faces).volume / Mesh(vertices=ball.points, faces=ball.faces).volume
    assert 1.03 < grown < 1.05**3
    np.testing.assert_array_equal(np.sort(np.unique(sewn.source)), np.arange(len(ball.rows)))
    # One layer and one texture coordinate per vertex, those of every corner that uses it.
    own = sewn.faces[: sewn.num_cloth_faces]
    np.testing.assert_array_equal(sewn.layer[own], np.repeat(ball.layer[:, None], 3, axis=1))
    np.testing.assert_allclose(sewn.uv[own], ball.uv, atol=1e-6)


def test_a_closed_cloth_without_seams_is_left_as_it_is() -> None:
    ball = sphere()
    sewn = open_seams(ball)
    assert len(sewn.faces) == len(ball.faces)
    assert len(sewn.source) == len(ball.rows)
    assert not sewn.is_copy.any()


def test_cap_and_shell_close_an_open_sheet() -> None:
    ball = sphere()
    half = keep_faces(ball, ball.points[ball.faces].mean(1)[:, 1] > 0)
    assert "open" in str(problem(half.points, half.faces))
    capped = cap_holes(half)
    assert problem(capped.points, capped.faces) is None
    both = shell(half, 5, 6)
    inner = np.arange(len(both.rows)) >= len(half.rows)
    thick = both.points * np.where(inner, 0.9, 1.0)[:, None]
    assert problem(thick, both.faces) is None
    assert set(both.layer) == {5, 6}


def test_sheets_that_touch_in_a_point_are_separated() -> None:
    rows = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]], dtype=np.float64)
    bow = Cloth(rows=rows, faces=np.array([[0, 1, 2], [0, 3, 4]]), uv=np.zeros((2, 3, 2)), layer=np.zeros(2, np.int64))
    parted, old = unpinched(bow)
    assert len(parted.rows) == 6
    np.testing.assert_array_equal(old[parted.faces], bow.faces)


def test_smoothing_flattens_a_bump_and_leaves_the_rest() -> None:
    ball = sphere(24)
    bump = np.argmax(ball.points[:, 0])
    rows = ball.rows.copy()
    rows[bump] *= 1.1
    free = np.linalg.norm(ball.points - ball.points[bump], axis=1) < 0.3
    calm = smoothed(Cloth(rows=rows, faces=ball.faces, uv=ball.uv, layer=ball.layer), free, 10)
    assert np.linalg.norm(calm.points[bump]) < 1.03
    np.testing.assert_array_equal(calm.points[~free], rows[~free])


def leg_points(lift: float) -> np.ndarray:
    """Two cylinders of 8 cm radius from the pelvis down, one swung forward by an angle, under an elliptic trunk."""
    y, angle = np.meshgrid(np.linspace(0.0, -0.55, 60), np.linspace(0, 2 * np.pi, 24, endpoint=False))
    legs = []
    for x, swing in ((0.1, lift), (-0.1, -0.6 * lift)):
        leg = np.stack([0.08 * np.cos(angle), y, 0.08 * np.sin(angle)], -1).reshape(-1, 3)
        c, s = np.cos(swing), np.sin(swing)
        legs.append(np.stack([leg[:, 0] + x, c * leg[:, 1] + s * leg[:, 2], -s * leg[:, 1] + c * leg[:, 2]], 1))
    trunk = np.stack([0.17 * np.cos(angle), y * 0.2 + 0.12, 0.12 * np.sin(angle)], -1).reshape(-1, 3)
    return np.concatenate([*legs, trunk])


@pytest.mark.parametrize("lift", [0.0, 0.4, 0.8])
def test_skirt_is_closed_and_legs_stay_inside(lift: float) -> None:
    skirt = draw_skirt(0.1, -0.4, (0.0, 0.0), np.random.default_rng(3))
    body = leg_points(lift)
    points = skirt.rings(body, 0.3)
    assert problem(points, skirt_faces()) is None
    outer = points[: NUM_RINGS * NUM_ANGLES].reshape(NUM_RINGS, NUM_ANGLES, 3)
    radius = np.hypot(outer[..., 0], outer[..., 2])
    inside = body[(body[:, 1] < 0.09) & (body[:, 1] > -0.39)]
    ring = np.round((0.1 - inside[:, 1]) / 0.5 * (NUM_RINGS - 1)).astype(int)
    place = np.arctan2(inside[:, 0], inside[:, 2]) / (2 * np.pi) * NUM_ANGLES
    allowed = np.array(
        [np.interp(p, np.arange(NUM_ANGLES), radius[k], period=NUM_ANGLES) for p, k in zip(place, ring, strict=True)]
    )
    assert (np.hypot(inside[:, 0], inside[:, 2]) < allowed).all()


def test_skirt_moves_without_jumps() -> None:
    # Cloth follows the leg: a step of 0.01 rad moves the knee by about 5 mm, cloth by a few times that at most.
    skirt = draw_skirt(0.1, -0.4, (0.0, 0.0), np.random.default_rng(3))
    swings = np.arange(0.0, 0.8, 0.01)
    rings = np.stack([skirt.rings(leg_points(lift), 0.0) for lift in swings])
    assert np.linalg.norm(np.diff(rings, axis=0), axis=-1).max() < 0.03


def test_skirt_texture_has_no_seam() -> None:
    skirt = draw_skirt(0.1, -0.4, (0.0, 0.0), np.random.default_rng(3))
    uv, _ = skirt_coordinates(skirt)
    corners = uv[skirt_faces()]
    assert np.ptp(corners, axis=1).max() < 2.5 / min(NUM_RINGS, NUM_ANGLES)


def test_bending_a_joint_makes_folds() -> None:
    still, bent = bends(Pose()), bends(Pose(left_arm=Arm(elbow=1.6), right_leg=Leg(knee=1.2)))
    assert bent["elbow.L"] > 0.7 > 0.1 > still["elbow.L"]
    assert bent["knee.R"] > 0.5 > 0.05 > still["knee.R"]
    assert bent["elbow.R"] == still["elbow.R"]


@pytest.mark.parametrize("outfit", OUTFITS)
def test_outfits_can_be_worn(outfit: tuple[str, ...]) -> None:
    check_garments(outfit)
    assert set(outfit) <= set(GARMENTS)


@pytest.mark.parametrize(
    ("garments", "message"),
    [
        (("cape",), "cannot wear cape"),
        (("tshirt", "tshirt"), "cannot wear"),
        (("skirt", "trousers"), "exclude each other"),
    ],
)
def test_impossible_outfits_are_refused(garments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_garments(garments)


def test_bake_paints_every_layer_where_its_faces_lie() -> None:
    uv = np.array(
        [[[0, 0], [0.5, 0], [0.5, 1]], [[0, 0], [0.5, 1], [0, 1]], [[0.5, 0], [1, 0], [1, 1]]], dtype=np.float64
    )
    cloth = np.concatenate([uv, np.zeros((3, 3, 1))], axis=-1)
    paints = {
        0: lambda p, _: np.stack([p[:, 0], p[:, 1], 0 * p[:, 0]], 1),
        1: lambda p, _: np.tile([0.0, 0.0, 1.0], (len(p), 1)),
    }
    image = bake(uv, cloth, np.array([0, 0, 1]), paints, (64, 32))
    rows, columns = np.mgrid[2:30, 2:30]
    expected = np.stack([(columns + 0.5) / 64, 1 - (rows + 0.5) / 32], -1) * 255
    np.testing.assert_allclose(image[rows, columns, :2], expected, atol=1.0)
    assert (image[-1, -1] == [0, 0, 255]).all()
