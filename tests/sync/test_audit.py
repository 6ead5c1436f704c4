"""Depth against scans: exact on a known shape, a slipped sync found, a still performer undecided."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.mesh import Mesh
from anim_real.sync.audit import PairLimits, PairQuality, Surfaces, audit_shift, pair_quality
from anim_real.sync.matching import FrameMatch

CAMERA = np.array([0.0, 0.0, 3.0])


def sphere(center: np.ndarray, radius: float = 0.5, rows: int = 48) -> Mesh:
    """A latitude-longitude sphere, facing outwards."""
    polar, turn = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, 2 * rows), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    index = np.arange(rows * 2 * rows).reshape(rows, 2 * rows)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return Mesh(vertices=center + radius * unit.reshape(-1, 3), faces=faces)


def seen(
    center: np.ndarray, rng: np.random.Generator, *, radius: float = 0.5, noise: float = 0.002, num: int = 6000
) -> np.ndarray:
    """Points on the side of the sphere that faces the camera."""
    unit = rng.normal(size=(4 * num, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    points = center + radius * unit
    visible = np.einsum("nk,nk->n", unit, CAMERA - points) > 0
    return (points + rng.normal(0, noise, points.shape))[visible][:num]


def quality(points: np.ndarray, mesh: Mesh, rng: np.random.Generator) -> PairQuality:
    surfaces = Surfaces(lambda _: mesh, [0])
    return pair_quality(points, *surfaces.get(0), CAMERA, rng)


def test_perfect_depth_measures_zero_and_full_cover(rng) -> None:
    measured = quality(seen(np.zeros(3), rng, noise=0.0), sphere(np.zeros(3)), rng)
    assert measured.depth_to_scan_mm < 0.8  # facets of the sphere: r (1 - cos(pi/96)) = 0.27 mm, twice in two ways
    assert abs(measured.depth_bias_mm) < 0.8
    assert measured.depth_coverage > 0.95


@pytest.mark.parametrize("offset_mm", [-8.0, 5.0])
def test_bias_has_sign_and_size_also_on_flipped_patches(rng, offset_mm: float) -> None:
    mesh = sphere(np.zeros(3))
    flipped = Mesh(
        vertices=mesh.vertices,
        faces=np.where(rng.random(len(mesh.faces))[:, None] < 0.7, mesh.faces[:, ::-1], mesh.faces),
    )
    points = seen(np.zeros(3), rng, radius=0.5 + offset_mm / 1000, noise=0.0)
    assert quality(points, flipped, rng).depth_bias_mm == pytest.approx(offset_mm, abs=0.8)


def test_coverage_is_the_covered_share(rng) -> None:
    points = seen(np.zeros(3), rng)
    half = points[points[:, 0] > 0]
    assert quality(half, sphere(np.zeros(3)), rng).depth_coverage == pytest.approx(0.52, abs=0.05)


def test_nobody_near_is_refused_by_the_limits(rng) -> None:
    far = quality(seen(np.array([2.0, 0, 0]), rng), sphere(np.zeros(3)), rng)
    assert far.depth_coverage == 0.0
    assert "mm from the scan" in PairLimits().verdict(far)
    good = PairQuality(depth_coverage=0.9, depth_to_scan_mm=3.0, depth_bias_mm=-1.0, num_points=10)
    assert PairLimits().verdict(good) == ""
    assert "biased by -1.0 mm" in PairLimits(max_bias_mm=0.5).verdict(good)


def matches(num: int) -> list[FrameMatch]:
    return [
        FrameMatch(kinect_index=row, scan_index=row, kinect_time_us=row, scan_time_us=row, dt_us=0.0)
        for row in range(num)
    ]


@pytest.mark.parametrize("slip", [-2, -1, 0, 1, 2])
def test_slip_is_found_when_there_is_motion(rng, slip: int) -> None:
    """A sphere that goes 0.3 m/s (10 mm per frame); depth of match k truly shows frame k + slip."""
    path = [np.array([0.01 * step, 0.0, 0.0]) for step in range(16)]
    surfaces = Surfaces(lambda index: sphere(path[index]), range(16))
    audit = audit_shift(matches(14), surfaces, lambda k: seen(np.array([0.01 * (k + slip), 0, 0]), rng), rng)
    assert audit.best_shift == slip
    assert audit.is_decisive == (slip == 0)
    assert audit.num_pairs == 6


def test_still_performer_decides_nothing(rng) -> None:
    surfaces = Surfaces(lambda index: sphere(np.zeros(3)), range(12))
    audit = audit_shift(matches(12), surfaces, lambda k: seen(np.zeros(3), rng), rng)
    assert audit.best_shift == 0
    assert not audit.is_decisive


def test_too_short_a_take_is_not_judged(rng) -> None:
    audit = audit_shift(
        matches(4), Surfaces(lambda index: sphere(np.zeros(3)), range(4)), lambda k: seen(np.zeros(3), rng), rng
    )
    assert audit.num_pairs == 0
    assert not audit.is_decisive
