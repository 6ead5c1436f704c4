"""Laws of cameras: project and unproject, images and cameras changed together; OpenCV as the oracle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera, OrthographicCamera

# lenses as the devices have them: a real colour and a real depth camera, and none
LENSES = {
    "none": np.zeros(8),
    "color": np.array([0.330121, -2.489397, 3.6e-4, -6.8e-4, 1.453671, 0.208912, -2.302916, 1.382184]),
    "depth": np.array([0.54794, -0.020971, 2.06e-5, -7.21e-5, -0.002652, 0.889679, 0.08613, -0.013910]),
}
lens = st.sampled_from(list(LENSES))
slope = st.floats(-0.6, 0.6).map(lambda value: round(value, 6))
distance = st.floats(0.3, 6.0).map(lambda value: round(value, 6))


def camera(name: str) -> Camera:
    return Camera(width=1280, height=720, fx=611.8, fy=611.9, cx=639.3, cy=365.9, distortion=LENSES[name])


@settings(deadline=None)  # the first call compiles
@given(lens, slope, slope, distance)
def test_a_projected_point_is_lifted_back(name: str, x: float, y: float, z: float) -> None:
    point = np.array([x * z, y * z, z])
    pixel = camera(name).project(point)
    np.testing.assert_allclose(camera(name).unproject(pixel, z), point, atol=1e-8)  # metres; Newton stops at 1e-12


@given(lens, slope, slope, distance)
def test_projection_is_opencvs(name: str, x: float, y: float, z: float) -> None:
    point = np.array([[x * z, y * z, z]])
    expected, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera(name).matrix, LENSES[name])
    np.testing.assert_allclose(camera(name).project(point), expected[:, 0], atol=1e-8)


@given(lens, slope, slope, st.integers(0, 300), st.integers(0, 300))
def test_a_crop_moves_the_pixel(name: str, x: float, y: float, left: int, top: int) -> None:
    pixel = camera(name).project([x, y, 1.0])
    cropped = camera(name).crop(left, top, 200, 100)
    assert (cropped.width, cropped.height) == (200, 100)
    np.testing.assert_allclose(cropped.project([x, y, 1.0]), pixel - (left, top), atol=1e-9)


@given(lens, slope, slope, st.sampled_from([0.25, 0.5, 2.0, 3.0]))
def test_a_scale_keeps_the_image_corners(name: str, x: float, y: float, factor: float) -> None:
    """Corner coordinates (pixel + 1/2) scale; pixel centres do not."""
    pixel = camera(name).project([x, y, 1.0])
    scaled = camera(name).scale(factor)
    assert (scaled.width, scaled.height) == (1280 * factor, 720 * factor)
    np.testing.assert_allclose(scaled.project([x, y, 1.0]) + 0.5, (pixel + 0.5) * factor, atol=1e-8)


@given(lens, slope, slope)
def test_a_flip_sees_the_mirrored_world(name: str, x: float, y: float) -> None:
    u, v = camera(name).project([x, y, 1.0])
    np.testing.assert_allclose(camera(name).flip().project([-x, y, 1.0]), [1279 - u, v], atol=1e-8)
    np.testing.assert_allclose(camera(name).flip().flip().project([x, y, 1.0]), [u, v], atol=1e-9)


def test_the_first_pixels_centre_is_zero() -> None:
    """A pinhole whose axis passes through the image's upper left corner has its principal point at -0.5."""
    corner = Camera(width=4, height=4, fx=2.0, fy=2.0, cx=-0.5, cy=-0.5)
    np.testing.assert_allclose(corner.rays()[0, 0], [0.25, 0.25])


def test_points_that_cannot_be_seen_are_nan() -> None:
    limited = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5, max_radius=0.5)
    points = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.6, 0.0, 1.0], [np.nan, 0.0, 1.0]])
    assert np.isnan(limited.project(points)).all(-1).tolist() == [False, True, True, True, True]
    assert np.isnan(limited.unproject([[31.5, 23.5], [63.0, 23.5]], [1.0, 1.0])[:, 0]).tolist() == [False, True]


def test_pinhole_drops_the_lens_and_the_limit() -> None:
    bare = camera("color").pinhole()
    assert not bare.distortion.any()
    np.testing.assert_allclose(bare.project([0.1, 0.2, 1.0]), [639.3 + 61.18, 365.9 + 122.38])


@pytest.mark.parametrize(
    "change",
    [{"fx": 0.0}, {"fy": -1.0}, {"cx": np.nan}, {"width": 0}, {"distortion": [np.inf]}, {"distortion": [0.0] * 9}],
)
def test_impossible_cameras_are_refused(change: dict) -> None:
    values = {"width": 64, "height": 48, "fx": 60.0, "fy": 60.0, "cx": 31.5, "cy": 23.5} | change
    with pytest.raises(DataError):
        Camera(**values)


@given(slope, slope, distance, st.integers(0, 50), st.sampled_from([0.5, 2.0]))
def test_orthographic_laws(x: float, y: float, z: float, left: int, factor: float) -> None:
    parallel = OrthographicCamera(width=512, height=512, px_per_m=250.0, cx=255.5, cy=255.5)
    pixel = parallel.project([x, y, z])
    np.testing.assert_allclose(parallel.unproject(pixel, z), [x, y, z], atol=1e-12)
    np.testing.assert_allclose(parallel.crop(left, 3, 9, 9).project([x, y, z]), pixel - (left, 3), atol=1e-10)
    np.testing.assert_allclose(parallel.scale(factor).project([x, y, z]) + 0.5, (pixel + 0.5) * factor, atol=1e-10)
    np.testing.assert_allclose(parallel.flip().project([-x, y, z]), [511 - pixel[0], pixel[1]], atol=1e-10)
