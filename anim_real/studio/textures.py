"""Procedural paint of a performer: one colour texture for skin, face, eyes, hair and cloth.

``bake`` visits every texel of the atlas, knows the layer and the place at rest that it shows, and asks the
layer's paint for a colour. Colours are sRGB in 0..1 until the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Array = NDArray[np.float64]
Paint = Callable[[Array, Array], Array]
PATTERNS = ("plain", "stripes", "pinstripes", "checks", "plaid", "dots", "print")


@dataclass(frozen=True, kw_only=True, eq=False)
class Texels:
    """Covered texels of a texture.

    Attributes:
        rows, columns: (T,) place in the image.
        face: (T,) face shown.
        weights: (T, 3) barycentric weights of its corners.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    face: NDArray[np.int64]
    weights: Array


def rasterize(uv_F32: Array, width: int, height: int) -> Texels:
    """Find the texels whose centres lie in each triangle of the atlas (v up, texel centres at half integers)."""
    corners = uv_F32 * np.array([width, height]) - 0.5
    corners[..., 1] = height - 1 - corners[..., 1]
    low = np.maximum(np.ceil(corners.min(1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(1)), [width - 1, height - 1]).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    count = size.prod(1)
    face = np.repeat(np.arange(len(corners)), count)
    step = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    column = low[face, 0] + step % size[face, 0]
    row = low[face, 1] + step // size[face, 0]
    a, b, c = np.moveaxis(corners, 1, 0)
    p = np.stack([column, row], 1).astype(np.float64)

    def area(u: Array, v: Array, w: Array) -> Array:
        return (v[:, 0] - u[:, 0]) * (w[:, 1] - u[:, 1]) - (v[:, 1] - u[:, 1]) * (w[:, 0] - u[:, 0])

    total = area(a, b, c)[face]
    total = np.where(np.abs(total) < 1e-12, np.nan, total)
    weights = (
        np.stack([area(p, b[face], c[face]), area(a[face], p, c[face]), area(a[face], b[face], p)], 1) / total[:, None]
    )
    inside = (weights >= -1e-6).all(1)
    return Texels(rows=row[inside], columns=column[inside], face=face[inside], weights=weights[inside])


def bake(
    uv_F32: Array, cloth_F33: Array, layer_F: NDArray[np.int64], paints: dict[int, Paint], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Paint the atlas.

    Args:
        uv_F32: texture coordinates of every face corner.
        cloth_F33: coordinates of the corners that paints are drawn in, metres.
        layer_F: layer of every face.
        paints: layer → function of ((T, 3) cloth coordinates, (T, 2) uv) to (T, 3) sRGB 0..1.
        size: (width, height) in texels.

    Returns:
        (height, width, 3) uint8; texels that no face covers repeat the nearest covered one.
    """
    width, height = size
    texels = rasterize(uv_F32, width, height)
    place = np.einsum("tk,tkd->td", texels.weights, cloth_F33[texels.face])
    uv = np.einsum("tk,tkd->td", texels.weights, uv_F32[texels.face])
    color = np.zeros((len(place), 3))
    layer = layer_F[texels.face]
    for name, paint in paints.items():
        mine = layer == name
        if mine.any():
            color[mine] = paint(place[mine], uv[mine])
    image = np.zeros((height, width, 3), dtype=np.uint8)
    covered = np.zeros((height, width), dtype=bool)
    image[texels.rows, texels.columns] = np.clip(color * 255 + 0.5, 0, 255).astype(np.uint8)
    covered[texels.rows, texels.columns] = True
    nearest = np.asarray(distance_transform_edt(~covered, return_distances=False, return_indices=True))
    return image[nearest[0], nearest[1]]


def cloth_color(rng: np.random.Generator, *, dark: bool) -> Array:
    """(3,) a plausible dye."""
    hue, saturation = rng.uniform(0, 6), rng.uniform(0.05, 0.60)
    value = rng.uniform(0.10, 0.22) if dark else rng.uniform(0.35, 0.92)
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation + saturation * wheel)


def cloth_paint(pattern: str, base: Array, accent: Array, rng: np.random.Generator) -> Paint:
    """Return a paint for a pattern of ``PATTERNS``; lengths in metres on the cloth."""
    pitch = float(rng.uniform(0.03, 0.07))
    phase = rng.uniform(0, 1, 3)
    spots = rng.normal(size=(7, 3)) * 28
    spot_phase = rng.uniform(0, 2 * np.pi, 7)

    def share(p: Array) -> Array:
        across, up = p[:, 0] + 0.6 * p[:, 2], p[:, 1]
        if pattern == "stripes":
            return _band(up / pitch + phase[0], 0.45)
        if pattern == "pinstripes":
            return 0.8 * _band(across / (0.5 * pitch) + phase[0], 0.14)
        if pattern == "checks":
            return 0.5 * _band(across / pitch + phase[0], 0.5) + 0.5 * _band(up / pitch + phase[1], 0.5)
        if pattern == "plaid":
            broad = _band(across / (2 * pitch) + phase[0], 0.4) + _band(up / (2 * pitch) + phase[1], 0.4)
            thin = _band(across / (2 * pitch) + phase[2], 0.08) + _band(up / (2 * pitch) + phase[2], 0.08)
            return np.clip(0.35 * broad + 0.5 * thin, 0, 1)
        if pattern == "dots":
            cell = np.stack([across / pitch + 0.5 * np.floor(up / pitch), up / pitch], 1) % 1.0 - 0.5
            return np.clip((0.28 - np.linalg.norm(cell, axis=1)) * 12, 0, 1)
        if pattern == "print":
            return np.clip(np.sin(p @ spots.T + spot_phase).sum(1) * 1.3 - 0.6, 0, 1)
        return np.zeros(len(p))

    def paint(p: Array, uv: Array) -> Array:
        mixed = base + (accent - base) * share(p)[:, None]
        return mixed * (1 + 0.05 * _grain(p))[:, None]

    return paint


def skin_paint(tone: Array, lips: Array, brows: Array, beard: float, scale: float) -> Paint:
    """Return the paint of skin and face; the face's features sit at fixed places of the body's atlas.

    Args:
        tone: (3,) colour of the skin.
        lips: (3,) colour of the lips.
        brows: (3,) colour of the brows.
        beard: 0 none, 1 a full shadow on jaw and lip.
        scale: factor on u that fits the body's own atlas into the texture.
    """

    def paint(p: Array, uv: Array) -> Array:
        u, v = uv[:, 0] / scale, np.abs(uv[:, 1] - 0.4863)
        color = (
            np.tile(tone, (len(p), 1))
            * (1 + 0.03 * np.sin(p @ np.array([31.0, 17.0, 23.0])) + 0.02 * _grain(p))[:, None]
        )
        flush = _blob(u, v, 0.882, 0.050, 0.018, 0.022)[:, None]
        color = color * (1 - flush * np.array([0.02, 0.12, 0.12]))
        jaw = beard * np.clip(_blob(u, v, 0.930, 0.0, 0.050, 0.07) - 0.15, 0, 1)[:, None]
        color = color * (1 - 0.55 * jaw)
        mouth = np.clip(2.5 * _blob(u, v, 0.908, 0.0, 0.011, 0.021) - 0.6, 0, 1)[:, None]
        color = color + (lips - color) * 0.8 * mouth
        arch = 0.817 + 0.10 * np.abs(v - 0.040)
        brow = np.clip(1.6 * np.exp(-(((u - arch) / 0.0038) ** 2)) * ((v > 0.016) & (v < 0.066)) - 0.2, 0, 1)[:, None]
        return color + (brows - color) * 0.85 * brow

    return paint


def eye_paint(centres_23: Array, radius: float, iris: Array) -> Paint:
    """Return the paint of the eyeballs: white, iris and pupil looking along +z."""

    def paint(p: Array, uv: Array) -> Array:
        centre = np.where(p[:, :1] > 0, centres_23[0], centres_23[1])
        away = np.hypot(p[:, 0] - centre[:, 0], p[:, 1] - centre[:, 1]) / radius
        front = p[:, 2] > centre[:, 2]
        color = np.tile(np.array([0.90, 0.88, 0.86]), (len(p), 1))
        color[front & (away < 0.46)] = iris
        color[front & (away < 0.20)] = 0.03
        return color

    return paint


def hair_paint(color: Array) -> Paint:
    """Return a paint of fine strands."""

    def paint(p: Array, uv: Array) -> Array:
        strands = np.sin(700 * p[:, 0] + 5 * np.sin(45 * p[:, 1]) + 4 * np.sin(40 * p[:, 2]))
        return color * (1 + 0.22 * strands + 0.05 * _grain(p))[:, None]

    return paint


def _band(turns: Array, share: float) -> Array:
    """1 in a share of every turn, with flanks a tenth of a turn wide at most."""
    distance = np.abs(turns % 1.0 - 0.5) * 2
    return np.clip((share - distance) / 0.10 + 0.5, 0, 1)


def _blob(u: Array, v: Array, u0: float, v0: float, ru: float, rv: float) -> Array:
    return np.exp(-(((u - u0) / ru) ** 2) - ((v - v0) / rv) ** 2)


def _grain(p: Array) -> Array:
    """Deterministic fine noise of places, about -1..1."""
    mixed = np.sin(p @ np.array([1271.3, 3117.7, 2741.9])) * 43758.5453
    return 2 * (mixed - np.floor(mixed)) - 1
