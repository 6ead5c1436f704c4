"""Ray tables and surfaces seen through a distorting lens."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.studio.tracing import RayTable, Sight, Surface, Window, sample_texture

LENS = np.array([0.5, -2.6, 3e-4, -2e-4, 1.5, 0.38, -2.4, 1.4])  # as strong as a k4a colour camera's
CAMERA = Camera(width=160, height=90, fx=76.0, fy=76.3, cx=80.4, cy=44.1, distortion=LENS)
WHOLE = Window(left=0, top=0, right=160, bottom=90)


def plane(normal: np.ndarray, distance: float) -> Mesh:
    """A large square with this normal at this distance along z."""
    helper = np.cross(normal, [0.0, 1.0, 0.0])
    first = helper / np.linalg.norm(helper)
    second = np.cross(normal, first)
    center = np.array([0.0, 0.0, distance])
    corners = np.array([center + 9 * (a * first + b * second) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    uv = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    texture = np.full((8, 8, 3), 200, np.uint8)
    return Mesh(vertices=corners, faces=np.array([[0, 1, 2], [0, 2, 3]]), uv=uv, texture=texture)


def test_tilted_plane_is_seen_at_its_analytic_depth():
    normal = np.array([0.3, 0.2, -1.0]) / np.linalg.norm([0.3, 0.2, -1.0])
    table = RayTable(CAMERA)
    sight = Sight(Surface(mesh=plane(normal, 2.0)), Rigid.identity("color", "world"), np.array([0.0, 0.0, -1.0]))
    seen = sight.look(table.at(WHOLE).reshape(-1, 3), ir=True)
    rays = np.concatenate([CAMERA.rays(), np.ones((90, 160, 1))], -1)
    expected = 2.0 * normal[2] / (rays @ normal)
    assert np.abs(seen.z.reshape(90, 160) - expected).max() < 2e-5  # float32 rays at a few metres
    assert seen.ir is not None
    cosine = np.abs(rays @ normal) / np.linalg.norm(rays, axis=-1)
    assert np.abs(seen.ir.reshape(90, 160) / cosine - (0.08 + 0.62 * 200 / 255)).max() < 1e-4


@pytest.mark.parametrize("offset", [(0.25, -0.25), (-0.6, 0.3)])
def test_parts_of_a_pixel_follow_the_lens(offset: tuple[float, float]):
    table = RayTable(CAMERA)
    pixels = np.stack(np.meshgrid(np.arange(160), np.arange(90)), -1) + offset
    exact = CAMERA.normalize(pixels)
    moved = table.at(WHOLE, offset)[..., :2]
    assert np.abs(moved - exact)[2:-2, 2:-2].max() * 76.0 < 0.01  # pixels; the lens bends that little within one
    rows = (np.array([10, 40]), np.array([20, 150]))
    assert table.at_pixels(rows, offset)[:, :2] == pytest.approx(moved[rows])


def test_window_holds_all_of_a_surface_and_nothing_outside_the_image():
    points = np.array([[-0.2, -0.1, 2.0], [0.3, 0.2, 2.5], [9.0, 0.0, 1.0]])
    window = RayTable(CAMERA).window_of(points[:2], margin=2)
    assert window is not None
    u, v = CAMERA.project(points[:2]).T
    assert window.left <= u.min() - 2 + 1 and window.right >= u.max() + 2
    assert window.top <= v.min() - 2 + 1 and window.bottom >= v.max() + 2
    assert RayTable(CAMERA).window_of(np.array([[0.0, 0.0, -1.0]])) is None


def test_rays_beyond_the_lens_see_nothing():
    narrow = Camera(width=160, height=90, fx=76.0, fy=76.3, cx=80.4, cy=44.1, distortion=LENS, max_radius=0.5)
    sight = Sight(Surface(mesh=plane(np.array([0.0, 0.0, -1.0]), 2.0)), Rigid.identity("c", "w"), np.zeros(3))
    seen = sight.look(RayTable(narrow).at(WHOLE).reshape(-1, 3), color=True)
    radius = np.linalg.norm(CAMERA.rays(), axis=-1).ravel()
    assert (np.isfinite(seen.z) == (radius <= 0.5)).all()


def test_texture_is_read_with_v_up_and_bilinearly():
    texture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    centers = np.array([[(2 + 0.5) / 6, 1 - (3 + 0.5) / 4], [0.0, 1.0], [1.0, 0.0]], np.float32)
    assert sample_texture(texture, centers) == pytest.approx(
        np.stack([texture[3, 2], texture[0, 0], texture[3, 5]]).astype(float), abs=1e-3
    )
    between = np.array([[3 / 6, 1 - (1 + 0.5) / 4]], np.float32)
    assert sample_texture(texture, between)[0] == pytest.approx((texture[1, 2] / 2.0 + texture[1, 3] / 2.0), abs=1e-3)
