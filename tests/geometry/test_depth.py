"""Points and normals of depth images, against planes and spheres known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.depth import camera_rays, normals, unproject

CAMERA = Camera(width=80, height=60, fx=70.0, fy=72.0, cx=38.2, cy=31.0, distortion=np.array([0.1, -0.05, 1e-3, -2e-3]))

# A real device's NFOV depth camera, binned: the lens bends lines by ten pixels towards the corners.
LENS = np.array([0.548, -0.021, 3e-5, -7.5e-5, -0.0027, 0.89, 0.086, -0.0139])
REAL = Camera(width=320, height=288, fx=252.0, fy=252.2, cx=162.5, cy=166.1, distortion=LENS, max_radius=1.74)


def sphere_depth(camera: Camera, center: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First hit of every pixel's ray with a sphere: z (0 = none), outward normals, and cosines of incidence."""
    rays = np.concatenate([camera.rays(), np.ones((camera.height, camera.width, 1))], -1)
    along, square = rays @ center, (rays**2).sum(-1)
    inside = along**2 - square * (center @ center - radius**2)
    z = np.where(inside > 0, (along - np.sqrt(np.maximum(inside, 0.0))) / square, 0.0)
    outward = (rays * z[..., None] - center) / radius
    return z, outward, -(outward * rays).sum(-1) / np.sqrt(square)


def degrees_between(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((found * expected).sum(-1), -1.0, 1.0)))


def plane_depth(camera: Camera, normal: np.ndarray, offset: float) -> np.ndarray:
    rays = np.concatenate([camera.rays(), np.ones((camera.height, camera.width, 1))], -1)
    return offset / (rays @ normal)


def test_points_project_back_to_their_pixels(rng: np.random.Generator) -> None:
    depth_mm = rng.integers(500, 4000, (60, 80)).astype(np.uint16)
    points = unproject(depth_mm, CAMERA)
    rows, columns = np.indices((60, 80))
    np.testing.assert_allclose(CAMERA.project(points), np.stack([columns, rows], -1), atol=1e-7)
    np.testing.assert_array_equal(points[..., 2], depth_mm * 1e-3)


def test_no_depth_is_nan_in_all_three_coordinates() -> None:
    depth_mm = np.full((60, 80), 1000, np.uint16)
    depth_mm[10, 20] = 0
    points = unproject(depth_mm, CAMERA)
    assert np.isnan(points[10, 20]).all()
    assert np.isnan(points).sum() == 3


def test_beyond_the_lens_radius_is_nan() -> None:
    narrow = Camera(width=80, height=60, fx=70.0, fy=72.0, cx=38.2, cy=31.0, max_radius=0.3)
    points = unproject(np.full((60, 80), 1000, np.uint16), narrow)
    assert np.isnan(points[0, 0]).all()
    assert np.isfinite(points[31, 38]).all()


def test_metres_may_be_given_instead() -> None:
    z = np.full((60, 80), 1.2345)
    z[5, 5] = 0.0
    z[6, 6] = np.nan
    points = unproject(np.zeros((60, 80)), CAMERA, z)
    assert points[0, 0, 2] == 1.2345
    assert np.isnan(points[[5, 6], [5, 6]]).all()
    assert z[5, 5] == 0.0  # the caller's array is left alone


def test_an_orthographic_image_is_lifted_in_parallel() -> None:
    camera = OrthographicCamera(width=5, height=4, px_per_m=100.0, cx=2.0, cy=1.5)
    points = unproject(np.full((4, 5), 2000, np.uint16), camera)
    np.testing.assert_allclose(points[0, 4], [0.02, -0.015, 2.0])
    rows, columns = np.indices((4, 5))
    np.testing.assert_allclose(camera.project(points), np.stack([columns, rows], -1), atol=1e-12)


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        unproject(np.zeros((60, 81)), CAMERA)


def test_rays_are_shared_and_cannot_be_changed() -> None:
    assert camera_rays(CAMERA) is camera_rays(CAMERA.crop(0, 0, 80, 60))
    with pytest.raises(ValueError, match="read-only"):
        camera_rays(CAMERA)[0, 0] = 1.0


@pytest.mark.parametrize("normal", [[0.0, 0.0, -1.0], [0.5, 0.3, -1.0], [-0.6, 0.2, -1.0]])
def test_a_plane_has_one_normal_towards_the_camera(normal: list[float]) -> None:
    unit = np.array(normal) / np.linalg.norm(normal)
    found = normals(unproject(np.zeros((60, 80)), CAMERA, plane_depth(CAMERA, unit, -1.5)))
    np.testing.assert_allclose(found, np.broadcast_to(unit, found.shape), atol=1e-9)


def test_a_sphere_has_radial_normals() -> None:
    camera = OrthographicCamera(width=101, height=101, px_per_m=200.0, cx=50.0, cy=50.0)
    grid = (np.arange(101) - 50) / 200.0
    x, y = np.meshgrid(grid, grid)
    inside = np.hypot(x, y) < 0.2
    z = np.where(inside, 2.0 - np.sqrt(np.maximum(0.25**2 - x * x - y * y, 0.0)), 0.0)
    found = normals(unproject(z, camera, z))
    expected = np.stack([x, y, z - 2.0], -1) / 0.25
    core = np.hypot(x, y) < 0.19
    angle = np.degrees(np.arccos(np.clip((found * expected).sum(-1)[core], -1, 1)))
    assert angle.max() < 1.0  # central differences at 5 mm pixels; a one-sided difference would give 4 degrees
    assert np.isnan(found[~inside]).all()


@pytest.mark.parametrize("center", [[0.0, 0.0, 1.2], [0.6, -0.4, 1.2], [-0.4, 0.2, 1.0]])
def test_a_sphere_seen_through_a_real_lens_has_radial_normals(center: list[float]) -> None:
    z, expected, cosine = sphere_depth(REAL, np.array(center), 0.25)
    found = normals(unproject(z, REAL, z))
    is_facing = (z > 0) & (cosine > 0.5)
    assert is_facing.sum() > 1000
    assert degrees_between(found, expected)[is_facing].max() < 0.2  # curvature of the pixel's 5 mm neighbourhood
    assert np.isnan(found[z == 0]).all()


def test_rounding_to_millimetres_turns_normals_but_does_not_bias_them() -> None:
    z, expected, cosine = sphere_depth(REAL, np.array([0.1, -0.1, 1.2]), 0.25)
    rounded = np.rint(z * 1e3) * 1e-3
    found = normals(unproject(rounded, REAL, rounded))
    is_facing = (z > 0) & (cosine > 0.5)
    angle = degrees_between(found, expected)[is_facing]
    assert angle.max() < 11.0  # 0.5 mm at either end of 7.5 mm (at 0.95 m), in both axes
    difference = (found - expected)[is_facing].mean(0)
    assert np.linalg.norm(difference) < np.radians(0.3)


@pytest.mark.parametrize("tilt_deg", [0.0, 40.0, 70.0])
def test_a_plane_seen_through_a_real_lens_has_one_normal(tilt_deg: float) -> None:
    tilt = np.radians(tilt_deg)
    unit = np.array([np.sin(tilt), 0.0, -np.cos(tilt)])
    depth = plane_depth(REAL, unit, -1.5 * np.cos(tilt))
    rays = np.concatenate([REAL.rays(), np.ones((288, 320, 1))], -1)
    cosine = -(rays @ unit) / np.linalg.norm(rays, axis=-1)
    z = np.where((depth > 0.3) & (depth < 8.0), depth, 0.0)
    found = normals(unproject(z, REAL, z))
    is_found = np.isfinite(found[..., 0])
    is_expected = (z > 0) & (cosine > np.cos(np.radians(74.0)))  # a slope of 4 is 76 degrees
    assert is_expected.mean() > 0.3
    assert is_found[is_expected].all()
    np.testing.assert_allclose(found[is_found], np.broadcast_to(unit, found[is_found].shape), atol=1e-8)


def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    z = np.where(
        rng.random((288, 320)) < 0.1, 0.0, 1.5 + 0.3 * (np.arange(320) > 130) + rng.normal(0, 0.01, (288, 320))
    )
    points = unproject(z, REAL, z)
    answers = []
    for num_threads in (1, 2, 4):
        monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", num_threads)
        answers.append(normals(points))
    assert np.isfinite(answers[0]).mean() > 0.5
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


def test_normals_do_not_cross_depth_edges() -> None:
    """Left half 1 m, right half 2 m, both facing the camera: so must every normal."""
    camera = CAMERA.pinhole()
    z = np.full((60, 80), 1.0)
    z[:, 40:] = 2.0
    found = normals(unproject(z, camera, z))
    np.testing.assert_allclose(found[..., 2], -1.0, atol=1e-12)


def test_coarse_pixels_on_a_steep_surface_have_normals() -> None:
    """At 6 cm per pixel a surface of 60 degrees steps 10 cm: still one surface."""
    camera = OrthographicCamera(width=16, height=16, px_per_m=16.0, cx=7.5, cy=7.5)
    unit = np.array([np.sin(np.pi / 3), 0.0, -np.cos(np.pi / 3)])
    z = 3.0 + np.tile((np.arange(16) - 7.5) / 16.0 * np.tan(np.pi / 3), (16, 1))
    found = normals(unproject(z, camera, z))
    np.testing.assert_allclose(found, np.broadcast_to(unit, found.shape), atol=1e-12)


def test_a_lonely_pixel_has_no_normal() -> None:
    z = np.zeros((60, 80))
    z[30, 40] = 1.0
    z[10, 10:20] = 1.0  # a line has no second axis
    assert np.isnan(normals(unproject(z, CAMERA, z))).all()


def test_normals_stay_unit_under_noise(rng: np.random.Generator) -> None:
    z = 1.5 + rng.normal(0.0, 0.002, (60, 80))
    found = normals(unproject(z, CAMERA, z))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-12)
    points = unproject(z, CAMERA, z)
    assert ((found * points).sum(-1) < 0).all()  # towards the camera, whatever the noise
