"""Depth to colour: against a plain NumPy reference on the real frame, and against geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.alignment import STEP_RATIO, depth_to_color
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

CAMERA = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
SAME = Rigid.identity("color", "depth")


def reference(depth_mm: np.ndarray, depth_camera: Camera, color_camera: Camera, T_color_depth: Rigid) -> np.ndarray:
    """The SDK's rules (rgbz.c) in NumPy: all quads at once, one pass per pixel offset inside their boxes."""
    rows, columns = np.indices(depth_mm.shape)
    points = depth_camera.unproject(np.stack([columns, rows], -1), depth_mm.astype(float))
    points_color = points @ T_color_depth.rotation.T + T_color_depth.translation * 1e3
    pixels = color_camera.project(np.where(depth_mm[..., None] > 0, points_color, np.nan))
    corners = np.concatenate([pixels, points_color[..., 2:]], -1)
    corners[~np.isfinite(corners).all(-1)] = np.nan
    tl, tr, br, bl = corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]
    quads = np.stack([tl, tr, br, bl], -2).reshape(-1, 4, 3)
    missing = np.isnan(quads[..., 2])
    tl, tr, br, bl = np.moveaxis(quads.copy(), 1, 0)
    only = missing.sum(1) == 1
    for corner in range(4):
        which = only & missing[:, corner]
        if corner == 0:
            quads[which, 0] = (tr[which] + bl[which]) * 0.5
        elif corner == 1:
            quads[which, 1], quads[which, 2] = br[which], (br[which] + bl[which]) * 0.5
        elif corner == 2:
            quads[which, 2] = (tr[which] + bl[which]) * 0.5
        else:
            quads[which, 3], quads[which, 2] = br[which], (tr[which] + br[which]) * 0.5
    quads = quads[missing.sum(1) < 2]
    near, far = quads[..., 2].min(1), quads[..., 2].max(1)
    quads = quads[far - near <= STEP_RATIO * near]
    size = np.array([color_camera.width, color_camera.height])
    low = np.maximum(np.ceil(quads[..., :2].min(1)), 0).astype(int)
    high = np.minimum(np.ceil(quads[..., :2].max(1)), size).astype(int)
    best = np.full((color_camera.height, color_camera.width), 1 << 30)
    span = (high - low).max(0)
    for dy in range(span[1]):
        for dx in range(span[0]):
            inside = (low[:, 0] + dx < high[:, 0]) & (low[:, 1] + dy < high[:, 1])
            x, y = low[inside, 0] + dx, low[inside, 1] + dy
            depth, hit = _interpolate(quads[inside], x, y)
            np.minimum.at(best, (y[hit], x[hit]), np.floor(depth[hit] + 0.5).astype(int))
    return np.where(best < 1 << 30, best, 0).astype(np.uint16)


def _interpolate(quads: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (y - a[:, 1]) * (b[:, 0] - a[:, 0]) - (x - a[:, 0]) * (b[:, 1] - a[:, 1])

    tl, tr, br, bl = np.moveaxis(quads, 1, 0)
    middle_area = area(tl, br)
    is_left = middle_area >= 0
    middle = np.where(is_left[:, None], bl, tr)
    first, last = area(middle, tl), area(br, middle)
    sign = np.where(is_left, 1.0, -1.0)
    hit = (sign * first >= 0) & (sign * last > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = (first * br[:, 2] + middle_area * middle[:, 2] + last * tl[:, 2]) / (first + middle_area + last)
    return depth, hit


def test_the_real_frame_equals_the_reference_exactly(shared_data: Path) -> None:
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        depth_mm = recording.capture(0, decode_color=False).depth_mm
        factory = parse_calibration(recording.calibration_json)
    assert depth_mm is not None
    depth_camera, color_camera = factory.camera("depth", "NFOV_UNBINNED"), factory.camera("color", "720P")
    found = depth_to_color(depth_mm, depth_camera, color_camera, factory.T_color_depth)
    expected = reference(depth_mm, depth_camera, color_camera, factory.T_color_depth)
    np.testing.assert_array_equal(found, expected)
    assert (found > 0).mean() == pytest.approx(0.573, abs=0.001)


def test_a_crop_of_the_target_is_a_crop_of_the_answer() -> None:
    depth_mm = (1500 + 4 * np.indices((48, 64)).sum(0)).astype(np.uint16)
    T_color_depth = Rigid.from_rotvec("color", "depth", [0.01, -0.02, 0.03], [-0.03, 0.01, 0.0])
    whole = depth_to_color(depth_mm, CAMERA, CAMERA, T_color_depth)
    part = depth_to_color(depth_mm, CAMERA, CAMERA.crop(10, 7, 20, 30), T_color_depth)
    assert (part > 0).all()
    np.testing.assert_array_equal(part, whole[7:37, 10:30])


def test_the_same_camera_gives_the_same_image() -> None:
    depth_mm = (1500 + 4 * np.indices((48, 64)).sum(0)).astype(np.uint16)
    aligned = depth_to_color(depth_mm, CAMERA, CAMERA, SAME)
    # upper and left edges belong to a quad, so the last row and column have none (up to rounding of the projection)
    assert (aligned[1:-1, 1:-1] == depth_mm[1:-1, 1:-1]).all()


def test_a_slanted_plane_arrives_where_geometry_says() -> None:
    """Every aligned depth must equal the intersection of its colour ray with the plane, within rounding."""
    normal, offset = np.array([0.3, -0.2, 1.0]), 1.6
    rays = np.concatenate([CAMERA.rays(), np.ones((48, 64, 1))], -1)
    depth_m = offset / (rays @ normal)
    T_color_depth = Rigid.from_rotvec("color", "depth", [0.1, 0.05, -0.02], [-0.032, 0.004, 0.01])
    color_camera = Camera(
        width=100, height=80, fx=88.0, fy=90.0, cx=48.0, cy=41.0, distortion=np.array([0.1, -0.05, 1e-3, -2e-3])
    )
    aligned = depth_to_color(depth_m * 1e3, CAMERA, color_camera, T_color_depth)
    normal_color = T_color_depth.rotate(normal)
    offset_color = offset + normal_color @ T_color_depth.translation
    color_rays = np.concatenate([color_camera.rays(), np.ones((80, 100, 1))], -1)
    expected_mm = 1e3 * offset_color / (color_rays @ normal_color)
    assert (aligned > 0).mean() > 0.5
    # 0.5 mm rounding, and the chord of a lens-curved quad (below 1 mm for these coarse pixels)
    assert np.abs(aligned - expected_mm)[aligned > 0].max() < 1.5


def test_the_nearest_surface_wins() -> None:
    """A near square moves over the far wall because the camera moved; the wall must not shine through."""
    depth_mm = np.full((48, 64), 3000, np.uint16)
    depth_mm[16:32, 24:40] = 1000
    aligned = depth_to_color(depth_mm, CAMERA, CAMERA, Rigid.from_parts("color", "depth", np.eye(3), [0.1, 0.0, 0.0]))
    # near: 60 px * 0.1 m / 1 m = 6 px to the right; far: 2 px
    assert (aligned[17:31, 31:45] == 1000).all()
    assert (aligned[17:31, 27:30] == 0).all()  # what only the colour camera sees


def test_depth_steps_are_not_bridged() -> None:
    depth_mm = np.full((48, 64), 1000, np.uint16)
    limit = int(1000 * STEP_RATIO)
    for step, is_bridged in ((limit, True), (limit + 1, False)):
        depth_mm[:, 32:] = 1000 + step
        aligned = depth_to_color(depth_mm, CAMERA, CAMERA.scale(4.0), SAME)
        between = aligned[
            100, 4 * 31 + 3 : 4 * 32 + 1
        ]  # the fine pixels between the last near and the first far column
        assert (between > 0).all() == is_bridged


@pytest.mark.parametrize("corner", [(20, 30), (21, 30), (20, 31), (21, 31)])
def test_a_single_missing_pixel_is_repaired_as_the_sdk_does(corner: tuple[int, int]) -> None:
    depth_mm = (2000 + 3 * np.indices((48, 64)).sum(0)).astype(np.uint16)
    depth_mm[corner] = 0
    fine = CAMERA.scale(3.0)
    repaired = depth_to_color(depth_mm, CAMERA, fine, SAME)
    plain = depth_to_color(depth_mm, CAMERA, fine, SAME, repair=False)
    np.testing.assert_array_equal(repaired, reference(depth_mm, CAMERA, fine, SAME))
    assert (repaired > 0).sum() > (plain > 0).sum()
    np.testing.assert_array_equal(repaired[plain > 0], plain[plain > 0])


def test_nothing_in_gives_nothing_out() -> None:
    assert not depth_to_color(np.zeros((48, 64), np.uint16), CAMERA, CAMERA, SAME).any()


def test_points_behind_the_colour_camera_are_left_out() -> None:
    turned = Rigid.from_rotvec("color", "depth", [0.0, np.pi, 0.0], [0.0, 0.0, 0.0])
    assert not depth_to_color(np.full((48, 64), 1000, np.uint16), CAMERA, CAMERA, turned).any()


@pytest.mark.parametrize("wrong", [np.zeros((48, 63)), np.full((48, 64), np.nan), np.full((48, 64), -1.0)])
def test_wrong_depth_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="depth"):
        depth_to_color(wrong, CAMERA, CAMERA, SAME)
