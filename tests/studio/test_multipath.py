"""Patches of depth that measure too far: on the object, where it is hollow, and of the size asked for."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.studio.multipath import MultipathPatch, draw_patches, multipath_error

SHAPE = (120, 160)


def scene(fold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two walls that meet in the image's middle column, ``fold`` metres behind (or before) their outer edges."""
    v, u = np.meshgrid(np.arange(SHAPE[0]) - 59.5, np.arange(SHAPE[1]) - 79.5, indexing="ij")
    rays = np.stack([u / 150, v / 150, np.ones(SHAPE)], -1).astype(np.float32)
    is_object = (np.abs(u) < 40) & (np.abs(v) < 50)
    z = np.where(is_object, 2.0 + fold * (1 - np.abs(u) / 40), 4.0).astype(np.float32)
    return z, is_object, rays


def centers(fold: float, num: int = 150) -> np.ndarray:
    """(N, 2) columns and rows of drawn patches about the middle."""
    z, is_object, rays = scene(fold)
    drawn = [p for seed in range(num) for p in draw_patches(z, is_object, rays, 0.002, np.random.default_rng(seed))]
    points = np.array([patch.center_depth for patch in drawn])
    assert all(0 <= patch.amplitude_m <= 0.002 for patch in drawn)
    assert ((points[:, 2] > 1.65) & (points[:, 2] < 2.5)).all()  # on the object, not on the wall behind
    return points[:, :2] / points[:, 2:] * 150


def test_patches_lie_where_the_object_is_hollow():
    hollow, ridge = np.abs(centers(0.3)[:, 0]), np.abs(centers(-0.3)[:, 0])
    assert np.median(hollow) < 12  # of 40 columns on either side
    assert np.median(ridge) > 18  # a ridge has none: they lie anywhere


def test_error_is_largest_in_the_middle_and_falls_smoothly():
    patch = MultipathPatch(center_depth=np.array([0.1, 0.0, 2.0]), amplitude_m=0.0015)
    offsets = np.array([0.0, 0.1, 0.2, 0.5])
    points = patch.center_depth + offsets[:, None] * (0.0, 1.0, 0.0)
    expected = 0.0015 * np.array([1.0, np.exp(-0.5), np.exp(-2.0), 0.0])
    assert multipath_error(points, (patch,)) == pytest.approx(expected, abs=1e-8)
    assert multipath_error(points, (patch, patch)) == pytest.approx(expected, abs=1e-8)  # they do not add up
    assert not multipath_error(points, ()).any()


def test_nothing_to_see_or_switched_off_leads_to_none(rng):
    z, is_object, rays = scene(0.2)
    assert draw_patches(z, is_object, rays, 0.0, rng) == ()
    assert draw_patches(z, np.zeros(SHAPE, bool), rays, 0.002, rng) == ()
