"""A skirt as a closed shell that hangs around the posed legs: never through them, by construction.

Rings in the pelvis' frame: the radius in a direction is the largest of the flare and of what the legs push
outwards (their support function plus a margin), never much less than the ring above (cloth hangs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float64]
NUM_RINGS, NUM_ANGLES = 24, 64
_SUPPORT_ANGLES = 32
_WINDOW = 2  # rings above and below that a body point pushes
_FADE_M = 0.20  # how fast its push fades, metres per ring squared beyond its own ring
_MARGIN_M = 0.011  # air between body and cloth


@dataclass(frozen=True, kw_only=True, eq=False)
class Skirt:
    """The drawn shape of a skirt, heights relative to the rest pose.

    Attributes:
        top, hem: heights at rest, metres.
        centre: (x, z) of the axis at rest.
        flare: radius gained per metre of drop.
        folds: (NUM_ANGLES,) radial waviness at the hem, metres.
        sway: phase that shifts the folds with the pose, per radian of hip bending.
    """

    top: float
    hem: float
    centre: tuple[float, float]
    flare: float
    folds: Array
    sway: float

    @property
    def heights(self) -> Array:
        """(NUM_RINGS,) heights of the rings at rest, from the waist down."""
        return np.linspace(self.top, self.hem, NUM_RINGS)

    def rings(self, body_N3: Array, swing: float) -> Array:
        """(2 * NUM_RINGS * NUM_ANGLES, 3) outer then inner ring points, in the pelvis' rest frame.

        Args:
            body_N3: points of trunk and legs in the same frame.
            swing: how far the folds have travelled around, radians.
        """
        angles = np.linspace(0, 2 * np.pi, NUM_ANGLES, endpoint=False)
        reach = self._support(body_N3)
        drop = (self.top - self.heights)[:, None]
        step = (self.top - self.hem) / (NUM_RINGS - 1)
        radius = reach[0][None] + self.flare * drop
        radius = np.maximum(radius, reach)
        for ring in range(1, NUM_RINGS):
            radius[ring] = np.maximum(radius[ring], radius[ring - 1] - 0.10 * step)
        smooth = gaussian_filter1d(gaussian_filter1d(radius, 1.2, axis=0, mode="nearest"), 1.5, axis=1, mode="wrap")
        radius = np.maximum(smooth, reach - 0.003)
        share = drop / (self.top - self.hem)
        shift = swing * NUM_ANGLES / (2 * np.pi)
        wavy = np.interp(np.arange(NUM_ANGLES) - shift, np.arange(NUM_ANGLES), self.folds, period=NUM_ANGLES)
        outer = radius + share**0.8 * (wavy - self.folds.min())
        inner = outer - np.where(share < 0.08, 0.03 - 0.30 * share, 0.0055)
        return np.concatenate([self._points(side, angles) for side in (outer, inner)])

    def _support(self, body_N3: Array) -> Array:
        """(NUM_RINGS, NUM_ANGLES) how far the body reaches in every direction around each ring."""
        x, y, z = body_N3.T
        offset = np.stack([x - self.centre[0], z - self.centre[1]], axis=1)
        place = (self.top - y) / (self.top - self.hem) * (NUM_RINGS - 1)
        angles = np.linspace(0, 2 * np.pi, _SUPPORT_ANGLES, endpoint=False)
        reach = offset @ np.stack([np.sin(angles), np.cos(angles)])
        table = np.zeros((NUM_RINGS, _SUPPORT_ANGLES))
        for shift in range(
            -_WINDOW, _WINDOW + 1
        ):  # a point fades out of a ring as it leaves its height: no jumps in time
            ring = np.round(place).astype(int) + shift
            inside = (ring >= 0) & (ring < NUM_RINGS)
            fade = _FADE_M * np.maximum(np.abs(place - ring)[inside] - 0.75, 0.0) ** 2
            np.maximum.at(table, ring[inside], reach[inside] - fade[:, None])
        table += _MARGIN_M
        wrapped = np.concatenate([table, table[:, :1]], axis=1)
        fine = np.linspace(0, _SUPPORT_ANGLES, NUM_ANGLES, endpoint=False)
        low = fine.astype(int)
        part = fine - low
        return wrapped[:, low] * (1 - part) + wrapped[:, low + 1] * part

    def _points(self, radius: Array, angles: Array) -> Array:
        x = self.centre[0] + radius * np.sin(angles)
        z = self.centre[1] + radius * np.cos(angles)
        y = np.broadcast_to(self.heights[:, None], x.shape)
        return np.stack([x, y, z], axis=-1).reshape(-1, 3)


def draw_skirt(top: float, hem: float, centre: tuple[float, float], rng: np.random.Generator) -> Skirt:
    """Draw flare and folds."""
    angles = np.linspace(0, 2 * np.pi, NUM_ANGLES, endpoint=False)
    folds = np.zeros(NUM_ANGLES)
    for count in (5, 7, 8, 9, 11):
        folds += rng.uniform(0.2, 1.0) * np.sin(count * angles + rng.uniform(0, 2 * np.pi))
    return Skirt(
        top=top,
        hem=hem,
        centre=centre,
        flare=float(rng.uniform(0.10, 0.28)),
        folds=folds * float(rng.uniform(0.007, 0.013)),
        sway=float(rng.uniform(0.1, 0.25)),
    )


def skirt_faces() -> NDArray[np.int64]:
    """Faces of the closed shell over the points of ``Skirt.rings``."""
    ring, angle = np.meshgrid(np.arange(NUM_RINGS - 1), np.arange(NUM_ANGLES), indexing="ij")
    a = (ring * NUM_ANGLES + angle).ravel()
    b = (ring * NUM_ANGLES + (angle + 1) % NUM_ANGLES).ravel()
    c, d = a + NUM_ANGLES, b + NUM_ANGLES
    outer = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    size = NUM_RINGS * NUM_ANGLES
    inner = outer[:, ::-1] + size
    k = np.arange(NUM_ANGLES)
    after = (k + 1) % NUM_ANGLES
    top = np.concatenate([np.stack([k, after, k + size], 1), np.stack([after, after + size, k + size], 1)])
    last = (NUM_RINGS - 1) * NUM_ANGLES
    hem = top[:, ::-1] + last
    return np.concatenate([outer, inner, top, hem]).astype(np.int64)


def skirt_coordinates(skirt: Skirt) -> tuple[Array, Array]:
    """Texture coordinates (2 * NUM_RINGS * NUM_ANGLES, 2) in 0..1 and cloth coordinates in metres (.., 3).

    The left half mirrors the right one, so that the texture has no seam.
    """
    angle = np.linspace(0, 2, NUM_ANGLES, endpoint=False)
    across = np.where(angle <= 1, angle, 2 - angle)
    u, y = np.meshgrid(across, skirt.heights)
    v = (y - skirt.hem) / (skirt.top - skirt.hem)
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)
    cloth = np.stack([u * 0.55, y, np.zeros_like(u)], axis=-1).reshape(-1, 3)
    return np.concatenate([uv, uv]), np.concatenate([cloth, cloth])
