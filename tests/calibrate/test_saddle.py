"""Corners fitted to images of crossing edges: exact, then noisy, then refused."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.boards.saddle import fit_saddles

SIZE, FINE = 41, 16


def saddle_image(corner, angles, *, blur_px=0.5, black=40.0, white=210.0, marker=False, axes=None) -> np.ndarray:
    """Pixels that average two crossing edges over their squares, by brute force: no formula of the fit is used."""
    step = (np.arange(SIZE * FINE) + 0.5) / FINE - 0.5
    x, y = np.meshgrid(step - corner[0], step - corner[1])
    sides = [np.cos(angle) * y - np.sin(angle) * x > 0 for angle in angles]
    fine = np.where(sides[0] ^ sides[1], black, white)
    if marker:  # dark blocks in both white squares, as a board's markers
        plane = np.stack([x, y], -1) @ np.linalg.inv(axes).T
        fine[(plane[..., 0] * plane[..., 1] > 0) & (np.abs(plane) > 0.14).all(-1)] = black
    if blur_px:
        kernel = np.exp(-0.5 * (np.arange(-4 * FINE, 4 * FINE + 1) / (blur_px * FINE)) ** 2)
        kernel /= kernel.sum()
        padded = np.pad(fine, 4 * FINE, mode="edge")
        padded = np.apply_along_axis(np.convolve, 0, padded, kernel, "valid")
        fine = np.apply_along_axis(np.convolve, 1, padded, kernel, "valid")
    return fine.reshape(SIZE, FINE, SIZE, FINE).mean((1, 3))


def axes_of(angles, square_px) -> np.ndarray:
    """(2, 2) pixels per square: u runs along the second edge, v along the first."""
    first, second = angles
    return square_px * np.array([[np.cos(second), np.cos(first)], [np.sin(second), np.sin(first)]])


def fitted(image, start, axes, margin=0.14):
    return fit_saddles(np.clip(np.rint(image), 0, 255).astype(np.uint8), np.array([start]), axes[None], margin)


@pytest.mark.parametrize("blur_px", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("square_px", [16.0, 40.0])
def test_no_place_between_the_pixels_is_preferred(rng, blur_px, square_px):
    errors = []
    for shift in np.linspace(0.0, 0.9, 7):
        corner = np.array([20 + shift, 20 + 0.7 * shift])
        angles = np.radians([88.0, 3.0]) + rng.uniform(-0.1, 0.1, 2)
        found = fitted(saddle_image(corner, angles, blur_px=blur_px), corner + rng.uniform(-0.7, 0.7, 2),
                       axes_of(angles, square_px))  # fmt: skip
        assert found.fits.all()
        errors.append(found.pixels[0] - corner)
    assert np.abs(errors).max() < (0.06 if blur_px == 0 else 0.015)  # edges sharper than a pixel tell less
    assert np.abs(np.mean(errors, axis=0)).max() < (0.012 if blur_px == 0 else 0.006)


def test_markers_beside_the_corner_do_not_draw_it(rng):
    for square_px in (14.0, 20.0, 32.0):
        corner, angles = np.array([20.3, 19.8]), np.radians([80.0, -5.0])
        axes = axes_of(angles, square_px)
        found = fitted(saddle_image(corner, angles, marker=True, axes=axes), corner + np.array([0.4, -0.3]), axes)
        assert found.fits.all() and np.abs(found.pixels - corner).max() < 0.03


def test_oblique_boards_and_light_that_falls_off():
    """A board turned by 70 degrees, and twice as much light on one side."""
    corner, angles = np.array([20.45, 20.1]), np.radians([86.0, 12.0])
    axes = axes_of(angles, 30.0) * (0.34, 1.0)
    angles = np.arctan2(axes[1, 1], axes[0, 1]), np.arctan2(axes[1, 0], axes[0, 0])
    light = np.linspace(1.0, 2.0, SIZE) / 2
    found = fitted(saddle_image(corner, angles) * light, corner + np.array([0.3, 0.3]), axes)
    assert found.fits.all() and np.abs(found.pixels - corner).max() < 0.02


def test_noise_leads_to_the_scatter_that_it_must(rng):
    """The error of an edge's place is its noise over slope and root of its length: 0.01 px here."""
    corner, angles = np.array([20.2, 20.6]), np.radians([85.0, -2.0])
    image, axes = saddle_image(corner, angles), axes_of(angles, 24.0)
    errors = [fitted(image + rng.normal(0, 4.0, image.shape), corner, axes).pixels[0] - corner for _ in range(40)]
    assert 0.003 < np.std(errors) < 0.02
    assert np.abs(np.mean(errors, axis=0)).max() < 0.008


def test_the_sign_of_the_contrast_tells_the_squares(rng):
    corner, angles = np.array([20.0, 20.0]), np.radians([90.0, 0.0])
    axes = axes_of(angles, 24.0)
    image = saddle_image(corner, angles)
    first, second = fitted(image, corner, axes).contrast[0], fitted(255 - image, corner, axes).contrast[0]
    assert first == pytest.approx(-second, rel=0.01) and abs(first) == pytest.approx(170, rel=0.05)


@pytest.mark.parametrize("scene", ["flat", "edge", "line", "noise", "beside"])
def test_what_is_no_corner_is_refused(rng, scene):
    axes = axes_of(np.radians([90.0, 0.0]), 24.0)
    x = np.broadcast_to(np.arange(SIZE, dtype=float), (SIZE, SIZE))
    image = {
        "flat": np.full((SIZE, SIZE), 120.0),
        "edge": np.where(x < 20, 40.0, 200.0),
        "line": np.where(np.abs(x - 20) < 2, 40.0, 200.0),
        "noise": rng.uniform(0, 255, (SIZE, SIZE)),
        "beside": np.where(x < 20, 40.0, 200.0).T,
    }[scene]
    assert not fitted(image, (20.0, 20.0), axes).fits.any()


def test_corners_at_the_image_border_are_left_out():
    axes = axes_of(np.radians([90.0, 0.0]), 24.0)
    image = saddle_image((20.0, 20.0), np.radians([90.0, 0.0]))
    for start in ((3.0, 20.0), (20.0, 39.0), (-5.0, 500.0)):
        assert not fitted(image, start, axes).fits.any()
    assert len(fit_saddles(image.astype(np.uint8), np.zeros((0, 2)), np.zeros((0, 2, 2)), 0.1).pixels) == 0
