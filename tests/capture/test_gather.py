"""Colour to depth: against the plain NumPy reference, and against geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.gather import color_to_depth
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import unproject
from anim_real.geometry.frames import Rigid

from .alignment_reference import reference_color_to_depth
from .simulated_frames import COLOR_MODES, DEPTH_MODES, simulated_patches

DEPTH = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
COLOR = Camera(
    width=120, height=90, fx=100.0, fy=101.0, cx=58.0, cy=46.0, distortion=np.array([0.1, -0.05, 1e-3, -2e-3])
)
T_COLOR_DEPTH = Rigid.from_rotvec("color", "depth", [0.02, -0.01, 0.03], [-0.032, 0.004, 0.01])
FLAT = np.full((48, 64), 1000, np.uint16)


def shifted(pixels: float) -> Rigid:
    """A motion that shifts the image of a plane at 1 m by so many pixels to the right, for DEPTH as both cameras."""
    return Rigid.from_parts("color", "depth", np.eye(3), [pixels / 60.0, 0.0, 0.0])


@pytest.mark.parametrize("options", [{}, {"sampling": "nearest"}, {"hide_occluded": True}])
def test_the_real_frame_equals_the_reference_exactly(shared_data: Path, options: dict) -> None:
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        frame = recording.capture(0)
        factory = parse_calibration(recording.calibration_json)
    assert frame.color is not None
    assert frame.depth_mm is not None
    cameras = factory.camera("depth", "NFOV_UNBINNED"), factory.camera("color", "720P")
    found = color_to_depth(frame.color, frame.depth_mm, *cameras, factory.T_color_depth, **options)
    color, is_valid = reference_color_to_depth(frame.color, frame.depth_mm, *cameras, factory.T_color_depth, **options)
    np.testing.assert_array_equal(found.color, color)
    np.testing.assert_array_equal(found.is_valid, is_valid)
    assert is_valid.mean() == pytest.approx(0.700 if options.get("hide_occluded") else 0.713, abs=0.001)


@pytest.mark.parametrize("color_mode", COLOR_MODES)
@pytest.mark.parametrize("depth_mode", DEPTH_MODES)
def test_simulated_frames_equal_the_reference_in_every_mode_pair(
    depth_mode: str, color_mode: str, rng: np.random.Generator
) -> None:
    factory, depth_mm = simulated_patches(depth_mode)
    cameras = factory.camera("depth", depth_mode), factory.camera("color", color_mode)
    image = rng.integers(0, 256, (cameras[1].height, cameras[1].width, 1), np.uint8)
    found = color_to_depth(image, depth_mm, *cameras, factory.T_color_depth)
    color, is_valid = reference_color_to_depth(image, depth_mm, *cameras, factory.T_color_depth)
    np.testing.assert_array_equal(found.color, color)
    np.testing.assert_array_equal(found.is_valid, is_valid)
    assert is_valid.mean() > 0.01


@pytest.mark.parametrize("sampling", ["linear", "nearest"])
def test_a_ramp_arrives_with_the_value_at_the_projected_point(sampling: str) -> None:
    """A linear ramp is what bilinear sampling reproduces exactly; nearest is half a pixel's worth away at most."""
    rows, columns = np.indices((90, 120))
    ramp = (columns + rows + 10).astype(np.uint8)
    depth_mm = (900 + 3 * np.indices((48, 64)).sum(0)).astype(np.uint16)
    found = color_to_depth(ramp, depth_mm, DEPTH, COLOR, T_COLOR_DEPTH, sampling=sampling)  # type: ignore[arg-type]
    expected = COLOR.project(T_COLOR_DEPTH.apply(unproject(depth_mm, DEPTH))).sum(-1) + 10
    assert found.is_valid.mean() > 0.9
    tolerance = 0.5 if sampling == "linear" else 1.0
    assert np.abs(found.color - expected)[found.is_valid].max() <= tolerance + 1e-9


def test_linear_needs_four_pixels_and_nearest_one() -> None:
    white = np.full((48, 64, 3), 255, np.uint8)
    columns = {  # which columns of the depth image have a colour
        ("linear", 0.25): slice(0, 63), ("nearest", 0.25): slice(0, 64), ("nearest", 0.75): slice(0, 63),
        ("linear", -0.25): slice(1, 64), ("nearest", -0.25): slice(0, 64), ("nearest", -0.75): slice(1, 64),
    }  # fmt: skip
    for (sampling, shift), valid in columns.items():
        found = color_to_depth(white, FLAT, DEPTH, DEPTH, shifted(shift), sampling=sampling)  # type: ignore[arg-type]
        expected = np.zeros(64, bool)
        expected[valid] = True
        np.testing.assert_array_equal(found.is_valid[20], expected)
        np.testing.assert_array_equal(found.color[20], 255 * np.repeat(expected[:, None], 3, 1))


def test_values_are_rounded_half_up() -> None:
    exact = Camera(width=64, height=48, fx=64.0, fy=64.0, cx=32.0, cy=24.0)  # no projection rounds
    half = Rigid.from_parts("color", "depth", np.eye(3), [0.5 / 64.0, 0.0, 0.0])
    depth_mm = np.full((48, 64), 1000, np.uint16)
    stripes = np.zeros((48, 64), np.uint8)
    stripes[:, 1::2] = 3
    found = color_to_depth(stripes, depth_mm, exact, exact, half)
    np.testing.assert_array_equal(found.color[5:40, 5:60], 2)  # 1.5
    stripes[:, 1::2] = 2
    less = Rigid.from_parts("color", "depth", np.eye(3), [0.125 / 64.0, 0.0, 0.0])
    found = color_to_depth(stripes, depth_mm, exact, exact, less)
    np.testing.assert_array_equal(found.color[20, 6:10], [0, 2, 0, 2])  # 0.25, 1.75


def test_black_is_a_color_and_no_depth_is_none() -> None:
    depth_mm = FLAT.copy()
    depth_mm[20, 30] = 0
    found = color_to_depth(np.zeros((48, 64, 3), np.uint8), depth_mm, DEPTH, DEPTH, shifted(0.25))
    assert not found.color.any()
    assert not found.is_valid[20, 30]
    assert found.is_valid[19:22, 29:32].sum() == 8


def test_what_a_near_square_hides_has_no_color() -> None:
    """A square at 1 m before a wall at 3 m: the colour camera, 0.105 m aside, cannot see a strip of the wall."""
    depth_mm = np.full((48, 64), 3000, np.uint16)
    depth_mm[16:32, 24:40] = 1000
    white = np.full((48, 64), 255, np.uint8)
    T_color_depth = Rigid.from_parts("color", "depth", np.eye(3), [0.105, 0.0, 0.0])
    plain = color_to_depth(white, depth_mm, DEPTH, DEPTH, T_color_depth)
    found = color_to_depth(white, depth_mm, DEPTH, DEPTH, T_color_depth, hide_occluded=True)
    assert plain.is_valid[20, 40:60].all()
    # The square moves 6.3 px, to 30.3-45.3, the wall 2.1 px: its columns 40-43 land at 42.1-45.1, behind the square.
    np.testing.assert_array_equal(found.is_valid[20, 36:50], [True] * 4 + [False] * 4 + [True] * 6)
    assert found.is_valid[16:32, 24:40].all()
    np.testing.assert_array_equal(found.is_valid[:14], plain.is_valid[:14])


def test_a_steep_surface_does_not_hide_itself() -> None:
    """Depth steps just below the limit from column to column: one surface, seen whole by the colour camera."""
    depth_mm = np.tile((800 * 1.046 ** np.arange(64)).astype(np.uint16), (48, 1))
    white = np.full((48, 64), 255, np.uint8)
    T_color_depth = Rigid.from_parts("color", "depth", np.eye(3), [0.01, 0.0, 0.0])
    plain = color_to_depth(white, depth_mm, DEPTH, DEPTH, T_color_depth)
    found = color_to_depth(white, depth_mm, DEPTH, DEPTH, T_color_depth, hide_occluded=True)
    np.testing.assert_array_equal(found.is_valid, plain.is_valid)
    assert found.is_valid.mean() > 0.9


@pytest.mark.parametrize(
    "wrong", [np.zeros((48, 63), np.uint8), np.zeros((48, 64)), np.zeros((1, 48, 64, 3), np.uint8)]
)
def test_a_wrong_color_image_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="colour image"):
        color_to_depth(wrong, FLAT, DEPTH, DEPTH, shifted(0.0))


def test_wrong_depth_is_refused() -> None:
    with pytest.raises(DataError, match="depth image"):
        color_to_depth(np.zeros((48, 64), np.uint8), np.full((48, 64), -1.0), DEPTH, DEPTH, shifted(0.0))
