"""Depth filters against exact statistics and exact scenes: planes, steps, a swinging ball, mixed pixels."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.capture.filters import (
    average_over_time,
    bilateral,
    filter_depth,
    flying_pixels,
    flying_pixels_by_angle,
)
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.rig import BilateralSpec, DepthFilterSpec, TemporalSpec

CAMERA = Camera(width=160, height=144, fx=126.0, fy=126.0, cx=79.5, cy=71.5)
CAMERA_SHAPE = (CAMERA.height, CAMERA.width)
WIDE = TemporalSpec(half_window=2, max_step_mm=100.0)
SIGMA_MM = 2.0


def noisy(truth: np.ndarray, rng: np.random.Generator, num: int) -> list[np.ndarray]:
    return [truth + rng.normal(0.0, SIGMA_MM, truth.shape) for _ in range(num)]


# -- over time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [1, 2, 4])
def test_the_variance_of_a_static_scene_falls_to_one_part_in_the_number_of_captures(
    half: int, rng: np.random.Generator
) -> None:
    truth = np.full((200, 200), 1500.0)
    spec = TemporalSpec(half_window=half, max_step_mm=100.0)
    error = average_over_time(noisy(truth, rng, 2 * half + 1), spec) - truth
    # 40,000 independent pixels: the variance is known to 0.7 %, the mean to sigma / 200 / sqrt(n)
    assert error.var() == pytest.approx(SIGMA_MM**2 / (2 * half + 1), rel=0.03)
    assert abs(error.mean()) < 4 * SIGMA_MM / 200 / np.sqrt(2 * half + 1)


def test_the_limit_costs_little_of_it(rng: np.random.Generator) -> None:
    """12 mm are six sigma: nearly every pair joins, and the variance is within 2 % of the ideal."""
    truth = np.full((200, 200), 1500.0)
    error = average_over_time(noisy(truth, rng, 5), TemporalSpec(half_window=2, max_step_mm=12.0)) - truth
    assert error.var() == pytest.approx(SIGMA_MM**2 / 5, rel=0.05)


def test_what_moves_evenly_is_not_dragged_along(rng: np.random.Generator) -> None:
    """A wall that comes nearer by 8 mm per capture: a trailing mean would lag 16 mm, this one not at all."""
    truth = np.full((200, 200), 1500.0)
    frames = [image - 8.0 * step for step, image in enumerate(noisy(truth, rng, 5), start=-2)]
    error = average_over_time(frames, WIDE) - truth
    assert abs(error.mean()) < 0.03
    assert error.var() == pytest.approx(SIGMA_MM**2 / 5, rel=0.05)


def test_a_moving_edge_does_not_smear() -> None:
    """A slab at 1 m moves 3 pixels per capture before a wall at 2 m: every pixel keeps the value of its own capture."""
    frames = []
    for step in range(-2, 3):
        image = np.full((20, 80), 2000.0)
        image[:, 30 + 3 * step : 50 + 3 * step] = 1000.0
        frames.append(image)
    np.testing.assert_array_equal(average_over_time(frames, TemporalSpec()), frames[2])
    trail = np.mean(frames, axis=0)  # what a plain mean would do
    assert ((trail > 1000) & (trail < 2000)).sum() > 400


def test_a_pixel_that_was_passed_by_does_not_reach_beyond(rng: np.random.Generator) -> None:
    """An arm crosses in the neighbouring captures: older captures of the wall are not joined either."""
    frames = [np.full((4, 4), value) for value in (2010.0, 1000.0, 2000.0, 2000.0, 2010.0)]
    np.testing.assert_array_equal(average_over_time(frames, TemporalSpec()), 2000.0)


def test_missing_depth_is_neither_used_nor_invented() -> None:
    frames = [np.full((4, 4), value) for value in (1004.0, 1000.0, 1002.0, 1001.0, 1006.0)]
    frames[2][0, 0] = 0  # none in the middle: none in the answer
    frames[1][1, 1] = 0  # its pair is passed over, the outer pair joins
    found = average_over_time(frames, TemporalSpec())
    assert found[0, 0] == 0
    assert found[1, 1] == pytest.approx((1004 + 1002 + 1006) / 3)
    assert found[2, 2] == pytest.approx(1002.6)
    absent = [None, frames[1], frames[2], frames[3], frames[4]]
    assert average_over_time(absent, TemporalSpec())[2, 2] == pytest.approx((1000 + 1002 + 1001) / 3)
    with pytest.raises(DataError, match="size"):
        average_over_time([frames[0], frames[1], np.zeros((3, 3))], TemporalSpec())


# -- in the image -----------------------------------------------------------------------------------------------------


def reference_bilateral(depth: np.ndarray, spec: BilateralSpec) -> np.ndarray:
    """The definition, pixel by pixel."""
    result = np.zeros(depth.shape)
    for row, column in np.argwhere(depth > 0):
        total = moved = 0.0
        for dy in range(-spec.radius_px, spec.radius_px + 1):
            for dx in range(-spec.radius_px, spec.radius_px + 1):
                y, x = row + dy, column + dx
                if not (0 <= y < depth.shape[0] and 0 <= x < depth.shape[1]) or depth[y, x] == 0:
                    continue
                step = depth[y, x] - depth[row, column]
                if abs(step) > 3 * spec.sigma_mm:
                    continue
                weight = np.exp(-0.5 * (dx * dx + dy * dy) / spec.sigma_px**2 - 0.5 * (step / spec.sigma_mm) ** 2)
                total, moved = total + weight, moved + weight * depth[y, x]
        result[row, column] = moved / total
    return result


def test_bilateral_is_its_definition(rng: np.random.Generator) -> None:
    depth = np.where(np.arange(40) < 20, 1000.0, 1025.0) + rng.normal(0, 4, (30, 40))
    depth[rng.random(depth.shape) < 0.1] = 0
    spec = BilateralSpec(radius_px=3, sigma_px=1.5, sigma_mm=10.0)
    # weights come from a table of 1/8 mm
    np.testing.assert_allclose(bilateral(depth, spec), reference_bilateral(depth, spec), atol=0.05)


def test_bilateral_smooths_a_plane_and_keeps_a_step(rng: np.random.Generator) -> None:
    truth = np.where(np.arange(200) < 100, 1500.0, 1560.0) + np.zeros((200, 1))
    found = bilateral(noisy(truth, rng, 1)[0], BilateralSpec())
    inner = (found - truth)[3:-3, 3:-3]
    near = np.exp(-0.5 * (np.arange(-2, 3) / 1.5) ** 2)
    gain = ((np.outer(near, near) / np.outer(near, near).sum()) ** 2).sum()  # variance of the same weighted mean
    assert inner.var() == pytest.approx(SIGMA_MM**2 * gain, rel=0.15)
    edge = (found - truth)[:, 97:103]
    assert np.abs(edge.mean(0)).max() < 0.5  # no pixel leans over the step of 60 mm


def test_bilateral_neither_fills_holes_nor_pulls_towards_them() -> None:
    depth = np.full((20, 20), 1200.0)
    depth[8:12, 8:12] = 0
    found = bilateral(depth, BilateralSpec())
    np.testing.assert_array_equal(found, depth)


# -- flying pixels ----------------------------------------------------------------------------------------------------


def mixed_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A ball and a slanted bar before a wall, each pixel the mean of 4x4 rays; and which pixels hang in the air.

    A pixel hangs where its mean is farther than 25 mm from every surface that its rays meet.
    """
    offsets = (np.arange(4) + 0.5) / 4 - 0.5
    u = (np.arange(CAMERA.width)[:, None] + offsets).ravel()
    v = (np.arange(CAMERA.height)[:, None] + offsets).ravel()
    x, y = np.meshgrid((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy)
    square = x * x + y * y + 1
    along = -0.2 * x + 0.1 * y + 1.5  # ball of 0.3 m at (-0.2, 0.1, 1.5)
    root = along**2 - square * (0.2**2 + 0.1**2 + 1.5**2 - 0.3**2)
    ball = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / square, np.inf)
    bar = np.where(np.abs(x * 1.9 - 0.55 - 0.2 * y) < 0.03, 1.9, np.inf)  # 6 cm wide: an arm
    rays = np.minimum(np.minimum(ball, bar), 2.6 + 0.1 * x) * 1e3
    blocks = rays.reshape(CAMERA.height, 4, CAMERA.width, 4).transpose(0, 2, 1, 3).reshape(*CAMERA_SHAPE, 16)
    depth = blocks.mean(-1)
    hangs = np.abs(blocks - depth[..., None]).min(-1) > 25.0
    return np.rint(depth + rng.normal(0, 2.0, depth.shape)), hangs


def test_both_rules_find_mixed_pixels(rng: np.random.Generator) -> None:
    depth, hangs = mixed_scene(rng)
    assert hangs.sum() > 200
    scores = {}
    for name, found in (("neighbors", flying_pixels(depth)), ("angle", flying_pixels_by_angle(depth, CAMERA))):
        scores[name] = ((found & hangs).sum() / found.sum(), (found & hangs).sum() / hangs.sum())
    # measured: precision and recall 0.89 and 0.96 by neighbours, 1.00 and 0.92 by angle
    assert min(scores["neighbors"]) > 0.85
    assert scores["angle"][0] > 0.95 and scores["angle"][1] > 0.85


def test_surfaces_are_kept(rng: np.random.Generator) -> None:
    """A wall seen at 60 degrees, with noise and holes: fewer than 1 in 1000 pixels are lost by either rule."""
    slope = np.tan(np.radians(60)) * (np.arange(160) - 79.5) / 126.0
    depth = np.rint(1500.0 / (1.0 + 0.5 * slope) + rng.normal(0, 2.0, (144, 160)))
    assert flying_pixels(depth).mean() < 1e-3
    assert flying_pixels_by_angle(depth, CAMERA).mean() < 1e-3
    depth[rng.random(depth.shape) < 0.05] = 0
    assert flying_pixels_by_angle(depth, CAMERA).mean() < 2e-3


def test_the_neighbour_rule_is_its_definition(rng: np.random.Generator) -> None:
    depth = np.rint(rng.choice([0.0, 1000.0, 1010.0, 1500.0], (40, 50), p=[0.2, 0.3, 0.2, 0.3]))
    expected = np.zeros(depth.shape, bool)
    for row, column in np.argwhere(depth > 0):
        around = depth[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        expected[row, column] = (np.abs(around - depth[row, column]) <= 0.02 * depth[row, column]).sum() - 1 < 3
    np.testing.assert_array_equal(flying_pixels(depth), expected)


def test_edges_of_objects_are_not_flying() -> None:
    """The last pixel of an object before a wall, and the wall's first, are surfaces."""
    depth = np.full((144, 160), 2500.0)
    depth[40:100, 60:100] = 1500.0
    assert not flying_pixels_by_angle(depth, CAMERA).any()
    depth[50:90, 100] = 2000.0  # between the two
    assert flying_pixels_by_angle(depth, CAMERA)[50:90, 100].all()
    assert flying_pixels_by_angle(depth, CAMERA).sum() == 40


# -- the chain --------------------------------------------------------------------------------------------------------


def test_the_chain_applies_what_it_is_told_and_rounds_once(rng: np.random.Generator) -> None:
    depth, _ = mixed_scene(rng)
    frames = [(depth + rng.normal(0, 2.0, depth.shape)).round().astype(np.uint16) for _ in range(5)]
    spec = DepthFilterSpec(flying_pixels="angle", temporal=TemporalSpec(), bilateral=BilateralSpec())
    steady = average_over_time(frames, TemporalSpec())
    steady[flying_pixels_by_angle(steady, CAMERA)] = 0
    expected = np.rint(bilateral(steady, BilateralSpec())).astype(np.uint16)
    found = filter_depth(frames, CAMERA, spec)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(filter_depth(frames[2:3], CAMERA, DepthFilterSpec()), frames[2])
    assert ((found > 0) <= (frames[2] > 0)).all()
    neighbors = filter_depth(frames[2:3], CAMERA, DepthFilterSpec(flying_pixels="neighbors"))
    np.testing.assert_array_equal(neighbors, np.where(flying_pixels(frames[2]), 0, frames[2]))
