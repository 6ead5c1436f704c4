"""Depth to colour: against a plain NumPy reference on the real frame, and against geometry."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.alignment import STEP_RATIO, depth_to_color
from anim_real.capture.k4a_calibration import FactoryCalibration, parse_calibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

from .alignment_reference import reference_depth_to_color
from .simulated_frames import COLOR_MODES, DEPTH_MODES, simulated_patches

CAMERA = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
BIG = Camera(
    width=320, height=288, fx=250.0, fy=251.0, cx=161.0, cy=143.0, distortion=np.array([0.1, -0.05, 1e-3, -2e-3])
)
SAME = Rigid.identity("color", "depth")
TURNED = Rigid.from_rotvec("color", "depth", [0.01, -0.02, 0.03], [-0.03, 0.01, 0.0])


def rough_depth(rng: np.random.Generator) -> np.ndarray:
    """A slope with noise, a step in the middle and missing pixels, for BIG."""
    rows, columns = np.indices((288, 320))
    depth_mm = 1200 + 2 * rows + 600 * (columns > 150) + rng.normal(0.0, 4.0, rows.shape)
    return np.where(rng.random(rows.shape) < 0.05, 0.0, depth_mm).astype(np.uint16)


@pytest.fixture(scope="module")
def real_frame(shared_data: Path) -> tuple[np.ndarray, FactoryCalibration]:
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        depth_mm = recording.capture(0, decode_color=False).depth_mm
        factory = parse_calibration(recording.calibration_json)
    assert depth_mm is not None
    return depth_mm, factory


@pytest.mark.parametrize(("repair", "share"), [(True, 0.573), (False, 0.570)])
def test_the_real_frame_equals_the_reference_exactly(
    real_frame: tuple[np.ndarray, FactoryCalibration], repair: bool, share: float
) -> None:
    depth_mm, factory = real_frame
    cameras = factory.camera("depth", "NFOV_UNBINNED"), factory.camera("color", "720P")
    found = depth_to_color(depth_mm, *cameras, factory.T_color_depth, repair=repair)
    expected = reference_depth_to_color(depth_mm, *cameras, factory.T_color_depth, repair=repair)
    np.testing.assert_array_equal(found, expected)
    assert (found > 0).mean() == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize("color_mode", COLOR_MODES)
@pytest.mark.parametrize("depth_mode", DEPTH_MODES)
def test_simulated_frames_equal_the_reference_in_every_mode_pair(depth_mode: str, color_mode: str) -> None:
    factory, depth_mm = simulated_patches(depth_mode)
    cameras = factory.camera("depth", depth_mode), factory.camera("color", color_mode)
    found = depth_to_color(depth_mm, *cameras, factory.T_color_depth)
    expected = reference_depth_to_color(depth_mm, *cameras, factory.T_color_depth)
    np.testing.assert_array_equal(found, expected)
    assert (found > 0).mean() > 0.01


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64, np.int64])
def test_the_type_of_the_depth_does_not_matter(dtype: type) -> None:
    depth_mm = (1500 + 4 * np.indices((48, 64)).sum(0)).astype(np.uint16)
    expected = depth_to_color(depth_mm, CAMERA, CAMERA, TURNED)
    np.testing.assert_array_equal(depth_to_color(depth_mm.astype(dtype), CAMERA, CAMERA, TURNED), expected)


@pytest.mark.parametrize("roll", [0.0, 0.5 * np.pi, np.pi, 2.5])
@pytest.mark.parametrize("num_threads", [1, 2, 3, 4])
def test_the_number_of_threads_does_not_matter(
    num_threads: int, roll: float, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", num_threads)
    depth_mm = rough_depth(rng)
    fine = BIG.scale(1.7)
    T_color_depth = Rigid.from_rotvec("color", "depth", [0.0, 0.0, roll], [-0.03, 0.01, 0.0])
    found = depth_to_color(depth_mm, BIG, fine, T_color_depth)
    np.testing.assert_array_equal(found, reference_depth_to_color(depth_mm, BIG, fine, T_color_depth))
    assert (found > 0).mean() > 0.2


def test_python_threads_may_align_at_the_same_time(rng: np.random.Generator) -> None:
    depths = [rough_depth(rng) for _ in range(8)]
    expected = [depth_to_color(depth_mm, BIG, BIG, TURNED) for depth_mm in depths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda depth_mm: depth_to_color(depth_mm, BIG, BIG, TURNED), depths * 4))
    np.testing.assert_array_equal(found, expected * 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_may_align_after_its_parent_did() -> None:
    """In a process of its own: the libraries that other tests have loaded do not all survive a fork."""
    script = """if True:
        import os
        import numba
        import numpy as np
        from anim_real.capture.alignment import depth_to_color
        from anim_real.geometry.cameras import Camera
        from anim_real.geometry.frames import Rigid
        numba.config.NUMBA_NUM_THREADS = 2
        camera = Camera(width=320, height=288, fx=250.0, fy=250.0, cx=160.3, cy=144.6)
        depth_mm = np.full((288, 320), 1000, np.uint16)
        align = lambda: depth_to_color(depth_mm, camera, camera, Rigid.identity("color", "depth"))
        parent = align()
        child = os.fork()
        if child == 0:
            os._exit(0 if (align() == parent).all() and parent.any() else 1)
        assert os.waitpid(child, 0)[1] == 0
    """
    finished = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr


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
    np.testing.assert_array_equal(repaired, reference_depth_to_color(depth_mm, CAMERA, fine, SAME))
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


def test_depth_that_uint16_cannot_hold_is_left_out() -> None:
    depth_mm = np.full((48, 64), 65_000, np.uint16)
    for shift_m, is_held in ((0.5, True), (0.6, False)):
        T_color_depth = Rigid.from_parts("color", "depth", np.eye(3), [0.0, 0.0, shift_m])
        assert depth_to_color(depth_mm, CAMERA, CAMERA, T_color_depth).any() == is_held


def test_a_pixel_that_the_lens_sends_to_infinity_counts_as_missing() -> None:
    """The lens divides by (1 - 8 r²)²: even without a radius check the top left pixel, at r² = 1/8, has no image."""
    quad = Camera(width=2, height=2, fx=4.0, fy=4.0, cx=1.0, cy=1.0)
    lens = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -16.0, 64.0, 0.0])
    target = Camera(width=400, height=300, fx=80.0, fy=80.0, cx=200.0, cy=100.0, distortion=lens)
    depth_mm = np.full((2, 2), 1000, np.uint16)
    found = depth_to_color(depth_mm, quad, target, SAME)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(found, reference_depth_to_color(depth_mm, quad, target, SAME))
    assert (found == 1000).sum() == pytest.approx(80 * 80 / 2, rel=0.02)  # the triangle of the others
    assert not depth_to_color(depth_mm, quad, target, SAME, repair=False).any()
