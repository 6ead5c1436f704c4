"""Spheres of known radius: exact, noisy with the covariance it claims, half hidden, with flying pixels, refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from anim_real.calibrate.spheres.fits import RangeFit, fit_range_sphere, fit_surface_sphere

FOCAL, RADIUS = 504.0, 0.07
CENTER = np.array([0.21, -0.33, 2.03])


def view(center: np.ndarray, radius: float, margin: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    """Rays of a pinhole camera around a sphere, and where each meets it (NaN = nowhere)."""
    u, v = np.meshgrid(np.arange(640), np.arange(576))
    rays = np.stack([(u - 320) / FOCAL, (v - 288) / FOCAL, np.ones(u.shape)], -1).reshape(-1, 3)
    rays = rays[np.linalg.norm(rays - center / center[2], axis=1) < margin * radius / center[2]]
    return rays, first_root(rays, center, radius)


def first_root(rays: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    """The nearer z at which |z ray - center| = radius."""
    a, b, c = (rays**2).sum(1), -2 * rays @ center, center @ center - radius**2
    with np.errstate(invalid="ignore"):
        return 2 * c / (-b + np.sqrt(b * b - 4 * a * c))


def by_lens(rays: np.ndarray) -> np.ndarray:
    derivative = np.zeros((len(rays), 2, 3))
    derivative[:, :, 0] = -rays[:, :2]
    derivative[:, 0, 1] = derivative[:, 1, 2] = -1 / FOCAL
    return derivative


def fitted(rays: np.ndarray, z: np.ndarray, start: np.ndarray, radius: float = RADIUS) -> RangeFit:
    fit = fit_range_sphere(rays, by_lens(rays), z, radius, start)
    assert fit is not None
    return fit


@pytest.fixture(scope="module")
def exact() -> tuple[np.ndarray, np.ndarray]:
    return view(CENTER, RADIUS)


def test_an_exact_sphere_is_found_exactly(exact):
    fit = fitted(*exact, CENTER + np.array([0.03, -0.03, 0.04]))
    assert np.abs(fit.center - CENTER).max() < 1e-9
    assert abs(fit.radius_error_m) < 1e-9
    assert fit.share_kept == 1.0


def test_the_covariance_holds_the_truth(exact):
    """White noise that grows towards the rim, 10 % outliers: the 95 % region holds 95 % of the centres."""
    rays, z = exact
    rng = np.random.default_rng(0)
    squared, radii = [], []
    for _ in range(150):
        seen = z + rng.normal(0, 0.8e-3, len(z))
        wrong = rng.random(len(z)) < 0.1
        seen[wrong] += rng.uniform(-0.08, 0.08, wrong.sum())
        fit = fitted(rays, seen, CENTER + rng.uniform(-0.02, 0.02, 3))
        error = fit.center - CENTER
        squared.append(error @ np.linalg.solve(fit.covariance, error))
        radii.append(fit.radius_error_m / fit.radius_sigma_m)
    assert 0.90 <= (np.array(squared) < chi2.ppf(0.95, 3)).mean() <= 0.99
    assert 2.2 < np.mean(squared) < 3.8
    assert 0.75 < np.std(radii) < 1.2


def test_errors_that_neighbours_share_widen_the_covariance(exact):
    """Errors smooth over 8 mm: the spread of the residuals alone would promise too much."""
    rays, z = exact
    rng = np.random.default_rng(1)
    squared = []
    for _ in range(40):
        direction = rng.uniform(0, 2 * np.pi, 40)
        waves = 400.0 * np.stack([np.cos(direction), np.sin(direction)])  # rad/m: 16 mm from crest to crest
        smooth = np.cos(CENTER[2] * rays[:, :2] @ waves + rng.uniform(0, 2 * np.pi, 40)).sum(1) / np.sqrt(20)
        fit = fitted(rays, z + 1e-3 * smooth, CENTER)
        error = fit.center - CENTER
        squared.append(error @ np.linalg.solve(fit.covariance, error))
    assert np.mean(squared) < 8.0


def test_a_half_hidden_sphere_keeps_its_centre(exact):
    """Something 0.3 m nearer hides one half, with flying pixels between the two."""
    rays, z = exact
    rng = np.random.default_rng(2)
    hidden = rays[:, 0] > CENTER[0] / CENTER[2]
    edge = hidden & (rays[:, 0] < CENTER[0] / CENTER[2] + 2 / FOCAL)
    seen = np.where(hidden, CENTER[2] - 0.3, z + rng.normal(0, 0.8e-3, len(z)))
    seen[edge] = CENTER[2] - rng.uniform(0.0, 0.3, edge.sum())
    whole, half = fitted(rays, z + rng.normal(0, 0.8e-3, len(z)), CENTER), fitted(rays, seen, CENTER)
    error = half.center - CENTER
    assert error @ np.linalg.solve(half.covariance, error) < chi2.ppf(0.999, 3)
    assert np.linalg.norm(error) < 1e-3
    assert half.covariance[0, 0] > 2.0 * whole.covariance[0, 0]  # known less across the edge
    assert half.share_kept < 0.6


def test_flying_pixels_and_grazing_pixels_do_no_harm(exact):
    """The rim is a mixture of the sphere and a wall behind it, and noise grows with incidence."""
    rays, z = exact
    rng = np.random.default_rng(3)
    away = np.linalg.norm(rays - CENTER / CENTER[2], axis=1) * CENTER[2] / RADIUS
    seen = np.where(np.isfinite(z), z + rng.normal(0, 0.8e-3, len(z)), 3.0)
    rim = (away > 0.85) & (away < 1.1)
    seen[rim] = CENTER[2] + rng.uniform(-0.02, 0.9, rim.sum())
    fit = fitted(rays, seen, CENTER + np.array([0.01, 0.01, -0.02]))
    assert np.linalg.norm(fit.center - CENTER) < 0.5e-3
    assert abs(fit.radius_error_m) < 1.5e-3


def test_another_radius_shows(exact):
    rays, z = exact
    fit = fitted(rays, z, CENTER, radius=0.065)
    assert fit.radius_error_m == pytest.approx(0.005, abs=1e-6)


@pytest.mark.parametrize("offset", [0.15, -0.15])
def test_no_sphere_is_none(exact, offset):
    rays, _ = exact
    flat = np.full(len(rays), CENTER[2] + offset)
    assert fit_range_sphere(rays, by_lens(rays), flat, RADIUS, CENTER) is None


def test_response_and_lens_equal_differences(exact):
    rays, z = exact
    fit = fitted(rays, z, CENTER)
    points, per_z = rays * z[:, None], np.linalg.norm(rays, axis=1)

    def moved_by(errors: np.ndarray) -> np.ndarray:
        return (fitted(rays, z + 1e-7 * errors, CENTER).center - fit.center) / 1e-7

    for column, errors in enumerate((np.ones(len(z)), *points.T)):
        assert moved_by(errors) == pytest.approx(fit.by_error[:, column], abs=2e-3 * np.nanmax(np.abs(errors)))
    for frequency in (4.0, 12.0):  # rad/m, along the ray
        expected = fit.by_range @ np.sin(frequency * fit.ranges)
        assert moved_by(np.sin(frequency * z * per_z) / per_z) == pytest.approx(expected, abs=2e-3)
    for column, step in enumerate((1e-6, 1e-4, 1e-4)):
        lens = np.zeros(3)
        lens[column] = step
        bent = rays.copy()
        bent[:, :2] += by_lens(rays) @ lens
        moved = (fitted(rays, first_root(bent, CENTER, RADIUS), CENTER).center - fit.center) / step
        assert moved == pytest.approx(fit.by_lens[:, column], abs=5e-3 * np.abs(fit.by_lens[:, column]).max())


def surface(rng: np.random.Generator, noise_m: float, num: int = 800) -> np.ndarray:
    outward = rng.normal(size=(num, 3))
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    outward = outward[outward[:, 1] > -0.7]  # nothing of the underside
    return CENTER + outward * (RADIUS + rng.normal(0, noise_m, (len(outward), 1)))


def test_a_scanned_sphere_exact_and_with_its_covariance():
    rng = np.random.default_rng(4)
    fit = fit_surface_sphere(surface(rng, 0.0), RADIUS, CENTER + 0.02)
    assert fit is not None and np.abs(fit.center - CENTER).max() < 1e-9
    squared = []
    for _ in range(150):
        noisy = np.concatenate([surface(rng, 0.3e-3), CENTER + rng.uniform(-0.13, 0.13, (100, 3))])
        fit = fit_surface_sphere(noisy, RADIUS, CENTER + rng.uniform(-0.02, 0.02, 3))
        assert fit is not None
        squared.append((fit.center - CENTER) @ np.linalg.solve(fit.covariance, fit.center - CENTER))
    assert 0.90 <= (np.array(squared) < chi2.ppf(0.95, 3)).mean() <= 0.99


def test_a_post_is_left_out():
    """A fillet around the post would pull the centre down."""
    rng = np.random.default_rng(5)
    down = np.array([0.0, -1.0, 0.0])
    angle = rng.uniform(0, 2 * np.pi, 3000)
    ring = np.stack([0.03 * np.cos(angle), np.full(3000, -0.071), 0.03 * np.sin(angle)], 1)
    points = np.concatenate([surface(rng, 0.2e-3), CENTER + ring + rng.normal(0, 3e-3, ring.shape)])
    fit = fit_surface_sphere(points, RADIUS, CENTER, post=down)
    assert fit is not None and np.linalg.norm(fit.center - CENTER) < 0.1e-3
    spoiled = fit_surface_sphere(points, RADIUS, CENTER)
    assert spoiled is None or np.linalg.norm(spoiled.center - CENTER) > np.linalg.norm(fit.center - CENTER)


def test_too_few_points_are_none():
    assert fit_surface_sphere(surface(np.random.default_rng(6), 0.0)[:20], RADIUS, CENTER) is None
