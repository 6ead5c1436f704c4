from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.meshes.regions import sample_texture
from anim_real.meshes.render import normal_maps, render_rgbd, shaded

from .shapes import box, joined, sphere

LENS = np.array([0.08, -0.05, 0.001, -0.0015, 0.02, 0.0, 0.0, 0.0])


def placed(z: float) -> Rigid:
    return Rigid.from_parts("camera", "mesh", np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, z])


def test_sphere_through_a_lens_is_where_it_should_be():
    camera = Camera(width=160, height=120, fx=150, fy=152, cx=80.3, cy=58.9, distortion=LENS)
    mesh = sphere(0.3, 6)
    view = render_rgbd(mesh, camera, placed(2.0))
    points = camera.unproject(np.stack(np.meshgrid(np.arange(160), np.arange(120)), -1), view.depth_m)
    offset = points[view.mask] - (0, 0, 2.0)
    # facets of 6 subdivisions lie at most 0.03 mm inside the sphere
    assert np.abs(np.linalg.norm(offset, axis=1) - 0.3).max() < 1e-4
    assert np.abs(view.normals[view.mask] - offset / 0.3).max() < 5e-3
    assert (view.normals[view.mask][:, 2] < 0.02).all(), "what is seen faces the camera"
    # the silhouette of a sphere covers the directions within asin(r / d) of the axis
    rays = camera.rays()
    angle = np.arctan(np.hypot(rays[..., 0], rays[..., 1]))
    limit = np.arcsin(0.3 / 2.0)
    assert view.mask[angle < limit - 2e-3].all()
    assert not view.mask[angle > limit + 1e-4].any()
    assert (view.depth_m[~view.mask] == 0).all()
    assert view.depth_mm.dtype == np.uint16
    assert np.abs(view.depth_mm[view.mask] / 1000 - view.depth_m[view.mask]).max() <= 0.0005


def test_orthographic_box_is_exact():
    camera = OrthographicCamera(width=101, height=81, px_per_m=50.0, cx=50.0, cy=40.0)
    view = render_rgbd(box((-0.31, -0.21, -0.1), (0.31, 0.21, 0.1)), camera, placed(3.0), has_smooth_normals=False)
    expected = np.zeros((81, 101), dtype=bool)
    expected[40 - 10 : 40 + 11, 50 - 15 : 50 + 16] = True
    assert np.array_equal(view.mask, expected)
    assert np.allclose(view.depth_m[view.mask], 2.9, atol=1e-6)
    assert np.allclose(view.normals[view.mask], (0, 0, -1))


def test_a_mesh_behind_an_orthographic_camera_origin_is_still_seen():
    camera = OrthographicCamera(width=21, height=21, px_per_m=10.0, cx=10.0, cy=10.0)
    view = render_rgbd(box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)), camera, placed(0.0))
    assert view.depth_m[10, 10] == pytest.approx(-0.5, abs=1e-6)


def test_texture_lands_on_its_pixels():
    """A checker on the front of a box, seen straight on: image and texture must agree texel by texel."""
    quad = Mesh(
        vertices=np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]),
        texture=np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8),
    )
    camera = OrthographicCamera(width=16, height=16, px_per_m=16.0, cx=7.5, cy=7.5)
    view = render_rgbd(quad, camera, placed(1.0))
    assert view.mask.all()
    assert quad.texture is not None
    assert np.abs(view.color.astype(int) - quad.texture).max() <= 1


def test_texture_rule():
    texture = np.array([[[10] * 3, [20] * 3], [[30] * 3, [50] * 3]], dtype=np.uint8)
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.75], [0.5, 0.5]])
    assert sample_texture(texture, uv)[:, 0].tolist() == [30, 50, 10, 20, 15, 28]


def test_vertex_colors_are_interpolated():
    mesh = box((-1, -1, -1), (1, 1, 1))
    colors = np.where(mesh.vertices[:, :1] > 0, 200, 100) * np.ones((1, 3))
    camera = OrthographicCamera(width=21, height=3, px_per_m=10.0, cx=10.0, cy=1.0)
    view = render_rgbd(
        Mesh(vertices=mesh.vertices, faces=mesh.faces, colors=colors.astype(np.uint8)), camera, placed(5.0)
    )
    assert np.abs(view.color[1, :, 0].astype(float) - np.linspace(100, 200, 21)).max() <= 1


def test_the_camera_pose_is_used():
    turn = Rigid.from_rotvec("camera", "mesh", [0.2, -0.4, 0.1], [0.1, -0.05, 2.5])
    camera = Camera(width=200, height=200, fx=200, fy=200, cx=99.5, cy=99.5)
    marks = np.array([[0.3, 0.2, 0.1], [-0.25, 0.3, -0.2], [0.0, -0.35, 0.15]])
    view = render_rgbd(joined(*(sphere(0.02, 3, mark) for mark in marks)), camera, turn)
    pixels = camera.project(turn.apply(marks))
    for pixel, z in zip(pixels, turn.apply(marks)[:, 2], strict=True):
        column, row = np.rint(pixel).astype(int)
        # half a pixel is 6 mm here, and the ball is seen askew: together up to 3 mm of its 20 mm
        assert view.depth_m[row, column] == pytest.approx(z - 0.02, abs=3e-3)


def test_normal_maps_turn_around_y():
    """An arm to +x and a nose to +z: yaw 0 sees the nose in front, yaw 90 looks at the arm's end."""
    mesh = joined(sphere(0.3, 4), sphere(0.1, 4, (0.6, 0.0, 0.0)), sphere(0.05, 4, (0.0, 0.2, 0.4)))
    normals, masks = normal_maps(mesh, size=101, center=(0.0, 0.0, 0.0), half_extent_m=0.8)
    assert normals.shape == (4, 101, 101, 3)
    assert normals[0, 50, 50] == pytest.approx((0, 0, 1), abs=0.05), "what faces the viewer has z = 1"
    assert normals[0, 50 + 10, 50][1] < -0.1, "below the middle the sphere faces down"
    columns = [np.flatnonzero(mask.any(0)) for mask in masks]
    assert columns[0].max() - 50 == pytest.approx(0.7 / 1.6 * 101, abs=1), "front: the arm is on the right"
    assert 50 - columns[2].min() == pytest.approx(0.7 / 1.6 * 101, abs=1), "back: on the left"
    assert 50 - columns[1].min() == pytest.approx(0.45 / 1.6 * 101, abs=1), "from +x the nose is on the left"
    assert columns[3].max() - 50 == pytest.approx(0.45 / 1.6 * 101, abs=1)
    assert np.allclose(np.linalg.norm(normals[masks], axis=-1), 1.0)
    assert (normals[~masks] == 0).all()


def test_shaded_fills_the_picture():
    picture = shaded(sphere(0.5, 4), 30.0, 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert (picture[0] == 255).all()
    assert (picture[32, 32] < 255).all()
    share = (picture.min(-1) < 255).mean()
    assert share == pytest.approx(np.pi / 4 / 1.08**2, abs=0.02)
