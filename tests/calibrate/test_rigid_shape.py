"""The rigid target's shape from several scans: exact, noisy, with wrong corners, refused."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.boards.rigid_shape import CornerCloud, share_shape
from anim_real.errors import DataError
from anim_real.geometry.frames import Rigid


def scans(rng: np.random.Generator, noise_m: float, *, num: int = 8) -> tuple[dict, dict, np.ndarray]:
    """Scans of 60 corners that are printed 0.3 % too large; every scan misses some."""
    shape = 1.003 * rng.uniform(-0.4, 0.4, (60, 3))
    clouds, truth = {}, {}
    for key in range(num):
        pose = Rigid.from_rotvec("scan", "target", rng.normal(0, 1, 3), rng.normal(0, 1, 3))
        ids = np.sort(rng.choice(60, 45, replace=False))
        truth[key] = pose.apply(shape[ids])
        clouds[key] = CornerCloud(ids=ids, points=truth[key] + rng.normal(0, noise_m, (45, 3)))
    return clouds, truth, shape / 1.003


def error_m(clouds: dict, truth: dict) -> float:
    return float(np.sqrt(np.mean([((clouds[key].points - truth[key]) ** 2).mean() for key in truth])))


def test_exact_scans_stay_as_they_are():
    clouds, truth, drawing = scans(np.random.default_rng(0), 0.0)
    shared = share_shape(clouds, np.arange(60), drawing)
    assert error_m(shared.clouds, truth) < 1e-6
    assert max(shared.rms_m.values()) < 1e-6


def test_noise_is_averaged_over_the_scans_though_the_drawing_is_wrong():
    clouds, truth, drawing = scans(np.random.default_rng(1), 0.3e-3)
    shared = share_shape(clouds, np.arange(60), drawing)
    assert error_m(shared.clouds, truth) < 0.5 * error_m(clouds, truth)  # six scans see each corner: 1/sqrt(6) at best
    assert 0.3e-3 < np.mean(list(shared.rms_m.values())) < 0.6e-3  # 3D length, less what the fit takes


def test_a_wrong_corner_harms_no_other():
    clouds, truth, drawing = scans(np.random.default_rng(2), 0.2e-3)
    clouds[3].points[7] += (0.02, 0.0, -0.01)
    shared = share_shape(clouds, np.arange(60), drawing)
    assert error_m(shared.clouds, truth) < 0.15e-3
    assert np.abs(shared.clouds[3].points[7] - truth[3][7]).max() < 1e-3


def test_a_scan_with_two_corners_keeps_its_own():
    clouds, _, drawing = scans(np.random.default_rng(3), 0.2e-3)
    clouds[9] = CornerCloud(ids=np.array([1, 2]), points=np.zeros((2, 3)))
    shared = share_shape(clouds, np.arange(60), drawing)
    assert shared.clouds[9] is clouds[9]
    assert 9 not in shared.rms_m


def test_a_foreign_corner_is_refused():
    with pytest.raises(DataError, match="not of this target"):
        share_shape({0: CornerCloud(ids=np.array([99]), points=np.zeros((1, 3)))}, np.arange(3), np.eye(3))
