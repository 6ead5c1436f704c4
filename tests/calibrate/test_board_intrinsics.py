"""Intrinsics from boards: exact, noisy, with wrong views and corners, refused; ray fields; rigs of several cameras."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anim_real.calibrate.lenses.intrinsics import solve_intrinsics
from anim_real.calibrate.lenses.ray_field import ray_difference
from anim_real.calibrate.lenses.rig import compare_pose, solve_rig_poses
from anim_real.calibrate.lenses.views import BoardView, choose_spread, coverage
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.cameras import Camera

SIZE = (1280, 720)
CAMERA = Camera(width=1280, height=720, fx=610.0, fy=611.5, cx=641.3, cy=366.8, distortion=np.array([0.09, -0.05]))
RATIONAL = replace(
    CAMERA, distortion=np.array([0.45, -2.6, 0.0007, -0.0003, 1.5, 0.33, -2.43, 1.43])
)  # of an Azure Kinect's colour camera
GRID = np.stack([*np.meshgrid(np.arange(8) * 0.06 - 0.21, np.arange(6) * 0.06 - 0.15), np.zeros((6, 8))], -1)
POINTS = GRID.reshape(-1, 3)


def look(camera: Camera, turn, place, rng, *, noise: float = 0.0, name: str = "v") -> BoardView | None:
    """The board at a pose; corners outside the image are not seen."""
    pixels = camera.project(POINTS @ Rotation.from_rotvec(turn).as_matrix().T + place)
    seen = np.isfinite(pixels).all(1) & (pixels > 0).all(1) & (pixels < np.array(SIZE) - 1).all(1)
    if seen.sum() < 12:
        return None
    ids = np.flatnonzero(seen)
    noisy = pixels[seen] + rng.normal(0, noise, (seen.sum(), 2)) if noise else pixels[seen]
    return BoardView(name=name, ids=ids, points=POINTS[seen], pixels=noisy)


def views_of(camera: Camera, rng, count: int, *, noise: float = 0.0, tilt: float = 0.6) -> list[BoardView]:
    views = []
    while len(views) < count:
        turn = np.r_[rng.uniform(-tilt, tilt, 2), rng.uniform(-0.4, 0.4)]
        z = rng.uniform(0.45, 1.1)
        place = np.array([rng.uniform(-0.75, 0.75) * z, rng.uniform(-0.4, 0.4) * z, z])
        view = look(camera, turn, place, rng, noise=noise, name=f"v{len(views)}")
        if view is not None:
            views.append(view)
    return views


def test_exact_corners_give_the_camera_back(rng):
    found = solve_intrinsics(views_of(CAMERA, rng, 12), SIZE, lens="simple")
    assert [found.camera.fx, found.camera.fy] == pytest.approx([610.0, 611.5], abs=2e-3)
    assert [found.camera.cx, found.camera.cy] == pytest.approx([641.3, 366.8], abs=2e-3)
    assert found.camera.distortion[:2] == pytest.approx([0.09, -0.05], abs=1e-4)
    assert found.rms_px < 1e-3 and found.held_out_rms_px < 1e-3


def test_noisy_corners_lie_within_the_stated_deviation(rng):
    misses = []
    for _ in range(4):
        found = solve_intrinsics(views_of(CAMERA, rng, 16, noise=0.15), SIZE, lens="simple")
        error = [found.camera.fx - 610.0, found.camera.fy - 611.5, found.camera.cx - 641.3, found.camera.cy - 366.8]
        misses += [abs(e) / found.std[name] for e, name in zip(error, ("fx", "fy", "cx", "cy"), strict=True)]
        assert found.rms_px == pytest.approx(0.15 * np.sqrt(2), rel=0.1)
        assert found.held_out_rms_px < 1.15 * found.rms_px
    assert max(misses) < 4.0 and np.mean(np.array(misses) < 2.0) > 0.8  # neither too small nor
    assert np.median(misses) > 0.15  # much too large


def test_the_residuals_choose_the_lens(rng):
    rational = solve_intrinsics(views_of(RATIONAL, rng, 20, noise=0.1), SIZE)
    simple = solve_intrinsics(views_of(CAMERA, rng, 20, noise=0.1), SIZE)
    assert simple.lens == "simple" and rational.lens == "rational"
    difference = ray_difference(rational.camera, RATIONAL, cells=rational.coverage > 0).summary()
    assert difference["rms_px"] < 0.6  # the lens is extrapolated between the last corner and its cell's edge


def test_no_lens_is_chosen_that_fails_on_views_held_out(rng):
    """Seven views, few of them near the edge: some lens fits them well and tells nothing beyond."""
    worst = 0.0
    for _ in range(4):
        views = views_of(RATIONAL, rng, 7, noise=0.1)
        found = solve_intrinsics(views, SIZE)
        alone = []
        for lens in ("simple", "brown", "rational"):
            with contextlib.suppress(DataError, RefusedError):
                alone.append(solve_intrinsics(views, SIZE, lens=lens).held_out_rms_px)
        assert found.held_out_rms_px <= 1.2 * min(alone)
        worst = max(worst, max(alone) / min(alone))
    assert worst > 1.5  # there was something to choose


def test_wrong_views_and_corners_are_left_out_and_listed(rng):
    views = views_of(CAMERA, rng, 18, noise=0.1)
    bent = views[5]
    views[5] = replace(bent, pixels=bent.pixels + 4.0 * np.sin(bent.points[:, :1] * 30))
    single = views[9].pixels.copy()
    single[3] += (6.0, -4.0)
    views[9] = replace(views[9], pixels=single)
    found = solve_intrinsics(views, SIZE, lens="simple")
    assert "v5" in dict(found.left_out)
    assert "residual" in dict(found.left_out)["v5"]
    assert found.num_corners_left_out >= 1 or "v9" in dict(found.left_out)
    assert abs(found.camera.fx - 610.0) < 1.5
    assert found.rms_px < 0.2


def test_too_few_and_too_alike_views_are_refused(rng):
    with pytest.raises(RefusedError, match="5 views") as few:
        solve_intrinsics(views_of(CAMERA, rng, 5), SIZE)
    assert few.value.fix is not None and "slanted" in few.value.fix
    with pytest.raises(RefusedError, match="the focal length is"):
        solve_intrinsics(views_of(CAMERA, rng, 12, noise=0.1, tilt=0.03), SIZE)


def test_spread_views_are_chosen(rng):
    views = views_of(CAMERA, rng, 6)
    doubled = [replace(views[k % 6], name=f"{k}") for k in range(30)]  # five copies of each
    chosen = choose_spread(doubled, SIZE, 6)
    assert {k % 6 for k in chosen} == set(range(6))
    counts = coverage(views, SIZE)
    assert counts.shape == (6, 8) and counts.sum() == sum(len(view.ids) for view in views)


def test_ray_field_of_a_longer_focal_length():
    longer = replace(CAMERA.pinhole(), fx=CAMERA.fx * 1.01, fy=CAMERA.fy * 1.01)
    told = ray_difference(longer, CAMERA.pinhole())
    assert told.rotation_deg < 0.02
    corner = np.array([(1279.0 - 10 - 641.3) / 610.0, 0.0])  # a ray at the right edge, computed by hand
    expected = np.arctan(corner[0]) - np.arctan(corner[0] / 1.01)
    row, column = 24, 63
    pixel = told.pixels[row, column]
    assert pixel == pytest.approx([1269.5, 367.0])
    assert told.angle_mrad[row, column] == pytest.approx(1e3 * expected, rel=0.05)


def test_a_shifted_centre_is_mostly_a_rotation():
    shifted = replace(CAMERA.pinhole(), cx=CAMERA.cx + 6.1)  # 0.01 of the focal length
    told = ray_difference(shifted, CAMERA.pinhole())
    assert told.rotation_deg == pytest.approx(np.degrees(0.01), rel=0.35)
    assert told.summary()["rms_px"] < 0.5 * 6.1
    same = ray_difference(CAMERA, CAMERA).summary()
    assert same["max_mrad"] < 1e-6 and same["rotation_deg"] < 1e-6
    with pytest.raises(DataError, match="cannot be compared"):
        ray_difference(CAMERA, replace(CAMERA, width=640))


@pytest.fixture
def rig(rng):
    """Three cameras around a board that moves; which of them sees it changes."""
    centers = [np.zeros(3), np.array([0.9, -0.05, 0.3]), np.array([-0.8, 0.1, 0.4])]
    poses = {}
    for key, center in zip("abc", centers, strict=True):
        forward = np.array([0.0, 0.0, 1.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.eye(3) if key == "a" else np.stack([right, np.cross(forward, right), forward])
        poses[key] = (rotation, -rotation @ center)
    return poses


def moments(poses, rng, count, noise):
    views = {key: {} for key in poses}
    for moment in range(count):
        turn, place = rng.uniform(-0.5, 0.5, 3), np.array([0, 0, 1.0]) + rng.uniform(-0.15, 0.15, 3)
        board = Rotation.from_rotvec(turn).as_matrix()
        for key, (rotation, translation) in poses.items():
            view = look(CAMERA, Rotation.from_matrix(rotation @ board).as_rotvec(), rotation @ place + translation,
                        rng, noise=noise)  # fmt: skip
            if view is not None and (key != "c" or moment % 2):
                views[key][moment] = view
    return views


@pytest.mark.parametrize(("noise", "angle_deg", "mm"), [(0.0, 1e-3, 0.02), (0.2, 0.05, 0.8)])
def test_a_rig_is_recovered(rig, rng, noise, angle_deg, mm):
    found = solve_rig_poses(dict.fromkeys(rig, CAMERA), moments(rig, rng, 12, noise))
    for key in "bc":
        told = compare_pose(found.rotations[key], found.translations[key], *rig[key])
        assert told.angle_deg < angle_deg and told.distance_mm < mm
    assert found.rms_px("a") == pytest.approx(noise * np.sqrt(2), rel=0.2, abs=1e-3)


def test_a_camera_that_shares_no_moment_is_named(rig, rng):
    views = moments(rig, rng, 8, 0.0)
    views["c"] = {moment + 100: view for moment, view in views["c"].items()}
    with pytest.raises(DataError, match="camera c shares 0"):
        solve_rig_poses(dict.fromkeys(rig, CAMERA), views)


def test_poses_are_compared_by_their_camera_centres():
    turn = Rotation.from_rotvec([0, np.radians(2.0), 0]).as_matrix()
    center = np.array([2.0, 0, 0])
    told = compare_pose(turn, -turn @ (center + np.array([0, 0.01, 0])), np.eye(3), -center)
    assert told.angle_deg == pytest.approx(2.0)
    assert told.distance_mm == pytest.approx(10.0)
    assert told.baseline_percent == pytest.approx(0.5)
