"""A scanner's bend of space: as large as asked, smooth, and none where none is asked for."""

from __future__ import annotations

import numpy as np

from anim_real.studio.bend import Bend


def test_bends_are_as_large_as_asked(rng):
    points = rng.uniform(-4.0, 4.0, (4000, 3))
    squared = [((Bend.draw(0.0002, rng)(points) - points) ** 2).sum(1).mean() for _ in range(20)]
    assert 0.00019 < np.sqrt(np.mean(squared)) < 0.00021


def test_bends_are_smooth(rng):
    """Two places 2 cm apart move alike: waves of 0.8 m and more change by a sixth of themselves at most."""
    bend = Bend.draw(0.0002, rng)
    points = rng.uniform(-1.0, 1.0, (4000, 3))
    step = rng.normal(size=points.shape)
    step *= 0.02 / np.linalg.norm(step, axis=1, keepdims=True)
    change = (bend(points + step) - points - step) - (bend(points) - points)
    assert 0 < np.linalg.norm(change, axis=1).max() < 0.0002 * np.sqrt(8) * 2 * np.pi / 0.8 * 0.02


def test_no_bend_moves_nothing(rng):
    points = rng.uniform(-1.0, 1.0, (50, 3))
    assert np.array_equal(Bend.draw(0.0, rng)(points), points)
