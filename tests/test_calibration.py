"""The record of a calibration: the depth bias and its inverse, what a table may not be, records without one."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from anim_real.calibration import CameraModel, DepthBias, RigidModel, SensorCalibration
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

RANGES = np.arange(1.0, 4.0, 0.04)
CURVE = tuple(
    (float(at), 0.0 if at in (RANGES[0], RANGES[-1]) else 1e-3 * float(np.sin(at / 0.1)), 2e-4) for at in RANGES
)
BIAS = DepthBias(offset_m=0.004, slope=-0.002, curve=CURVE)
CAMERA = Camera(width=640, height=576, fx=504.0, fy=504.0, cx=320.0, cy=288.0)


def test_correcting_and_applying_are_inverse():
    rng = np.random.default_rng(0)
    z, stretch = rng.uniform(0.5, 5.0, (576, 640)), rng.uniform(1.0, 1.4, (576, 640))
    assert np.abs(BIAS.correct(BIAS.apply(z, stretch), stretch) - z).max() < 1e-9
    assert np.abs(BIAS.apply(BIAS.correct(z, stretch), stretch) - z).max() < 1e-9


def test_the_curve_is_read_along_the_ray():
    """A pixel on the axis and one at the image's edge, at one range, err alike along their rays."""
    at, stretch = 2.3, np.array([1.0, 1.25])
    bias = DepthBias(curve=CURVE)
    z = np.full(2, at) / stretch
    along_ray = (z - bias.correct(z, stretch)) * stretch
    assert along_ray == pytest.approx(np.full(2, np.interp(at, RANGES, [error for _, error, _ in CURVE])), abs=1e-12)


def test_zero_stays_zero_and_a_curve_wants_the_rays():
    assert BIAS.correct(0.0, 1.0) == 0.0 and BIAS.apply(0.0, 1.0) == 0.0
    with pytest.raises(ValueError, match="range_per_z"):
        BIAS.correct(2.0)


def test_an_image_is_corrected_with_its_own_rays():
    sensor = _sensor(BIAS)
    depth_mm = np.full((576, 640), 2200, np.uint16)
    depth_mm[0, 0] = 0
    z = sensor.true_depth(depth_mm)
    rays = CAMERA.rays()
    expected = BIAS.correct(2.2, np.sqrt(1 + (rays**2).sum(-1)))
    assert z[0, 0] == 0.0
    assert z[1:] == pytest.approx(expected[1:], abs=1e-12)


def test_a_record_without_a_curve_loads_and_needs_no_rays():
    bias = DepthBias.model_validate_json('{"offset_m": -0.0021, "slope": 0.0008}')
    assert bias.correct(2.0) == pytest.approx((2.0 + 0.0021) / 1.0008)
    assert _sensor(bias).true_depth(np.full((576, 640), 2000, np.uint16))[5, 5] == pytest.approx(bias.correct(2.0))


@pytest.mark.parametrize(
    ("curve", "word"),
    [
        (((1.0, 0.0, 0.1), (1.0, 0.0, 0.1)), "ascend"),
        (((1.0, 1e-3, 0.1), (2.0, 0.0, 0.1)), "must be zero"),
        (((1.0, 0.0, 0.1), (1.01, 2e-3, 0.1), (2.0, 0.0, 0.1)), "a tenth"),
        (((1.0, 0.0, -0.1), (2.0, 0.0, 0.1)), "negative"),
    ],
)
def test_an_impossible_curve_is_refused(curve, word):
    with pytest.raises(ValidationError, match=word):
        DepthBias(curve=curve)


def _sensor(bias: DepthBias) -> SensorCalibration:
    return SensorCalibration(
        sensor="k0",
        serial=None,
        color=CameraModel.of(CAMERA, "720P"),
        depth=CameraModel.of(CAMERA, "NFOV_UNBINNED"),
        T_color_depth=RigidModel.of(Rigid.from_parts("color", "depth", np.eye(3), np.zeros(3))),
        T_color_scan=RigidModel.of(Rigid.from_parts("color", "scan", np.eye(3), np.zeros(3))),
        covariance=((0.0,) * 6,) * 6,
        depth_bias=bias,
        placements=(),
        predicted_person_mm=0.5,
    )
