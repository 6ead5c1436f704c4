"""The nearest lens of four coefficients: exact where there is one, honest about the rest, refused beyond its limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.capture.export import device_cameras
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.interchange.radtan import MAX_RMS_RAD, nearest_radtan
from interchange.rigs import COLOR, DEPTH, RADTAN


def test_a_lens_of_four_coefficients_is_kept() -> None:
    camera = replace(COLOR.camera, distortion=RADTAN, max_radius=1.7)
    found = nearest_radtan(camera, name="c")
    assert (found.rms_px, found.max_px) == (0.0, 0.0)
    np.testing.assert_array_equal(found.camera.matrix, camera.matrix)
    np.testing.assert_array_equal(found.camera.distortion[:4], RADTAN)


def test_a_rational_lens_that_is_a_radtan_in_disguise_is_found() -> None:
    """k3 of 1e-9 sends it through the fit, which must return the four and no residual."""
    camera = replace(COLOR.camera, distortion=np.array([*RADTAN, 1e-9]))
    found = nearest_radtan(camera, name="c")
    np.testing.assert_allclose(found.camera.distortion[:4], RADTAN, atol=1e-6)
    np.testing.assert_allclose(found.camera.matrix, camera.matrix, atol=1e-4)
    assert found.max_px < 1e-5


def test_the_stated_residual_is_opencvs_difference_over_all_pixels() -> None:
    camera = DEPTH.camera
    found = nearest_radtan(camera, name="c")
    rays = camera.rays().reshape(-1, 2)
    points = np.column_stack([rays, np.ones(len(rays))])
    images = [
        cv2.projectPoints(points, np.zeros(3), np.zeros(3), each.matrix, each.distortion)[0][:, 0]
        for each in (camera, found.camera)
    ]
    error = np.linalg.norm(images[0] - images[1], axis=-1)
    assert found.rms_px == pytest.approx(np.sqrt((error**2).mean()), rel=0.15)  # the grid weighs the border more
    assert found.max_px == pytest.approx(error.max(), rel=0.02)
    assert not found.camera.distortion[4:].any()


def test_no_lens_nearby_is_nearer() -> None:
    """Least squares: every small change of the eight values makes the residual larger."""
    found = nearest_radtan(DEPTH.camera, name="c")
    grid = np.stack(np.meshgrid(np.linspace(0, 639, 61), np.linspace(0, 575, 46)), -1).reshape(-1, 2)
    rays = DEPTH.camera.normalize(grid)

    def cost(camera) -> float:
        return float((((camera.distort(rays) * (camera.fx, camera.fy) + (camera.cx, camera.cy)) - grid) ** 2).sum())

    best = cost(found.camera)
    for name in ("fx", "fy", "cx", "cy"):
        for step in (-0.5, 0.5):
            assert cost(replace(found.camera, **{name: getattr(found.camera, name) + step})) > best
    for index in range(4):
        for step in (-1e-3, 1e-3):
            lens = found.camera.distortion.copy()
            lens[index] += step
            assert cost(replace(found.camera, distortion=lens)) > best


def test_a_lens_too_far_from_any_is_refused_with_its_residual() -> None:
    wide = replace(DEPTH.camera, width=1024, height=1024, cx=511.0, cy=512.0, max_radius=1.74)
    with pytest.raises(DataError, match="px rms") as caught:
        nearest_radtan(wide, name="k0-depth")
    stated = float(caught.value.what.split("misses by ")[1].split(" ")[0])
    assert MAX_RMS_RAD * 504.0 < stated < 10.0
    assert "k0-depth" in str(caught.value)


def test_the_limit_is_an_angle_and_not_a_number_of_pixels() -> None:
    """The same lens before four times as many pixels of half the size: twice the residual, the same verdict."""
    once, twice = nearest_radtan(DEPTH.camera, name="c"), nearest_radtan(DEPTH.camera.scale(2.0), name="c")
    assert twice.rms_px == pytest.approx(2 * once.rms_px, rel=0.02)
    assert twice.rms_px > 1.0


def test_the_figures_of_a_real_device_are_those_of_the_page(shared_data: Path) -> None:
    """docs/formats.md states them."""
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        factory = device_cameras(recording).factory
    for name, mode, rms_px, max_px in (
        ("color", "720P", 0.5, 2), ("color", "1536P", 1.1, 11), ("depth", "NFOV_UNBINNED", 0.8, 14)
    ):  # fmt: skip
        found = nearest_radtan(factory.camera(name, mode, check_radius=True), name=mode)
        assert (round(found.rms_px, 1), round(found.max_px)) == (rms_px, max_px)
    with pytest.raises(DataError, match=r"misses by 2\.2\d px rms"):
        nearest_radtan(factory.camera("depth", "WFOV_UNBINNED", check_radius=True), name="wide")
