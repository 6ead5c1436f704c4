"""The lens both ways: how far it is one-to-one, no second root beyond the fold, agreement with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anim_real.geometry.cameras import Camera, transfer_pixels
from anim_real.geometry.frames import Rigid
from anim_real.geometry.lens import distort, one_to_one_radius, undistort

BARREL = np.array([-0.3, 0, 0, 0, 0, 0, 0, 0])  # r - 0.3 r³ turns back at r = 1/sqrt(0.9)
REAL_DEPTH = np.array([0.54794, -0.020971, 2.06e-5, -7.21e-5, -0.002652, 0.889679, 0.08613, -0.013910])


def inverted(distorted: np.ndarray, distortion: np.ndarray, max_radius: float = np.inf) -> np.ndarray:
    answer = np.array(distorted, dtype=np.float64)
    undistort(answer, distortion, min(max_radius, one_to_one_radius(tuple(distortion))))
    return answer


def test_the_fold_of_a_cubic_lens_is_where_its_derivative_vanishes() -> None:
    assert one_to_one_radius(tuple(BARREL)) == pytest.approx(1 / np.sqrt(0.9), rel=1e-9)
    assert one_to_one_radius((0.0,) * 8) == np.inf
    assert one_to_one_radius((0.2, 0, 0, 0, 0, 0, 0, 0)) == np.inf  # a pincushion never folds
    assert one_to_one_radius((0, 0, 0, 0, 0, -0.25, 0, 0)) == pytest.approx(2.0)  # the denominator's pole


def test_up_to_the_radius_the_jacobian_is_positive_and_just_beyond_it_is_not(rng: np.random.Generator) -> None:
    """Oracle: numerical derivatives on circles. The tangential bound may cost a per cent, no more."""
    checked = 0
    for _ in range(60):
        distortion = rng.normal(0, [0.4, 0.2, 2e-3, 2e-3, 0.1, 0.4, 0.2, 0.05])
        radius = one_to_one_radius(tuple(distortion))
        if not 0.05 < radius < 5.0:
            continue
        checked += 1
        for share, is_inside in ((0.3, True), (0.7, True), (0.98, True), (1.05, False)):
            angle = np.linspace(0, 2 * np.pi, 181)
            place = share * radius * np.stack([np.cos(angle), np.sin(angle)], -1)
            step = 1e-6
            columns = [
                (distort(place + shift, distortion) - distort(place - shift, distortion)) / (2 * step)
                for shift in (np.array([step, 0]), np.array([0, step]))
            ]
            smallest = np.linalg.eigvalsh(np.stack(columns, -1)).min()
            if is_inside:
                assert smallest > 0
            else:
                bottom = 1 + distortion[5:] @ (share * radius) ** np.array([2, 4, 6])
                assert smallest < 0 or bottom < 0
    assert checked > 20


def test_newton_never_lands_on_the_second_root() -> None:
    """Every image radius below the fold has two rays in a barrel lens; only the inner one may come back."""
    fold = 1 / np.sqrt(0.9)
    r = np.linspace(0.001, 0.999 * fold, 500)
    direction = np.array([np.cos(0.7), np.sin(0.7)])
    np.testing.assert_allclose(
        inverted(distort(r[:, None] * direction, BARREL), BARREL), r[:, None] * direction, atol=1e-9
    )
    outer = np.linspace(1.01 * fold, 1.7, 50)[:, None] * direction
    back = inverted(distort(outer, BARREL), BARREL)
    assert (np.hypot(*back[np.isfinite(back[:, 0])].T) < fold).all()
    farthest = fold - 0.3 * fold**3
    assert np.isnan(inverted(1.001 * farthest * direction[None], BARREL)).all()  # nothing is imaged there


def test_a_camera_sees_nothing_beyond_its_fold() -> None:
    camera = Camera(width=640, height=480, fx=300.0, fy=300.0, cx=319.5, cy=239.5, distortion=BARREL)
    assert camera.valid_radius == pytest.approx(1 / np.sqrt(0.9))
    points = np.array([[1.0, 0.0, 1.0], [1.1, 0.0, 1.0], [-0.8, -0.8, 1.0]])
    assert np.isnan(camera.project(points)[:, 0]).tolist() == [False, True, True]
    narrow = Camera(
        width=640, height=480, fx=300.0, fy=300.0, cx=319.5, cy=239.5, distortion=BARREL, max_radius=0.5
    )  # fmt: skip
    assert narrow.valid_radius == 0.5


def test_inversion_agrees_with_opencv(rng: np.random.Generator) -> None:
    xy = rng.uniform(-0.9, 0.9, (500, 2))
    seen = distort(xy, REAL_DEPTH)
    found = inverted(seen, REAL_DEPTH)
    points = np.concatenate([found, np.ones((500, 1))], -1)
    again, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), REAL_DEPTH)
    np.testing.assert_allclose(again[:, 0], seen, atol=1e-12)
    np.testing.assert_allclose(found, xy, atol=1e-11)


def test_odd_input_is_nan_and_empty_input_is_empty() -> None:
    answer = inverted(np.array([[np.nan, 0.0], [np.inf, 0.0], [0.0, 0.0], [1e9, 1e9]]), REAL_DEPTH)
    assert np.isnan(answer[:, 0]).tolist() == [True, True, False, True]
    assert answer[2].tolist() == [0.0, 0.0]
    assert inverted(np.zeros((0, 2)), REAL_DEPTH).shape == (0, 2)
    assert np.isnan(inverted(np.array([[np.nan, np.nan]]), REAL_DEPTH)).all()


def test_the_layout_of_the_pixels_in_memory_does_not_matter(rng: np.random.Generator) -> None:
    camera = Camera(width=640, height=576, fx=504.0, fy=504.0, cx=320.0, cy=338.0, distortion=REAL_DEPTH)
    pixels = np.asfortranarray(rng.uniform(0, 570, (50, 2)))
    alone = [camera.normalize(pixel) for pixel in pixels]
    np.testing.assert_allclose(camera.normalize(pixels), alone, atol=1e-14)


def test_pixels_move_between_cameras_and_back(rng: np.random.Generator) -> None:
    one = Camera(width=640, height=576, fx=504.0, fy=504.0, cx=320.0, cy=338.0, distortion=REAL_DEPTH, max_radius=1.74)
    two = Camera(width=1280, height=720, fx=612.0, fy=612.0, cx=639.0, cy=366.0)
    T_two_one = Rigid.from_rotvec("two", "one", [0.1, 0.002, -0.001], [-0.032, -0.002, 0.004])
    pixels, z = rng.uniform([100, 100], [540, 476], (200, 2)), rng.uniform(0.5, 4.0, 200)
    there = transfer_pixels(pixels, z, one, two, T_two_one)
    point = T_two_one.apply(one.unproject(pixels[0], z[0]))  # by hand, for one pixel
    np.testing.assert_allclose(there[0], [612 * point[0] / point[2] + 639, 612 * point[1] / point[2] + 366, point[2]])
    back = transfer_pixels(there[:, :2], there[:, 2], two, one, T_two_one.inverse())
    np.testing.assert_allclose(back, np.concatenate([pixels, z[:, None]], -1), atol=1e-8)
    behind = Rigid.from_parts("two", "one", np.diag([-1.0, 1.0, -1.0]), [0, 0, 0])
    assert np.isnan(transfer_pixels([320.0, 300.0], 2.0, one, two, behind)).all()
    assert np.isnan(transfer_pixels([320.0, 300.0], 0.0, one, two, T_two_one)).all()
