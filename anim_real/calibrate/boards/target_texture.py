"""What a target's texture is made of: drawn patterns of its sides in one image, with plain greys below them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.patterns import Pattern, side_pattern
from anim_real.calibrate.boards.target import Target

Array = NDArray[np.float64]
BODY_GREY, SPHERE_GREY, POST_GREY = 205, 185, 60
_GREYS = (BODY_GREY, SPHERE_GREY, POST_GREY)
_WHITE, _BLACK = 235, 22  # matt paper and toner, 8 bit
_TRIANGLE_SAMPLES = 8
_GUTTER_PX = 4  # repeated border texels: bilinear look-ups never reach a neighbour
_SWATCH_PX = 16


def draw_pattern(pattern: Pattern, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Draw a pattern as (height_px, width_px) uint8 grey; every pixel is the mean over its area.

    Exact for the grid; triangles are sampled at 8 x 8 places of a pixel.
    """
    across = _coverage(pattern.x_edges, width_px)
    down = _coverage(pattern.y_edges, height_px)
    black = down @ pattern.is_black.astype(np.float64) @ across.T
    black = np.minimum(black + _triangle_share(pattern, width_px, height_px), 1.0)
    return np.rint(_WHITE + (_BLACK - _WHITE) * black).astype(np.uint8)


def _triangle_share(pattern: Pattern, width_px: int, height_px: int) -> Array:
    """(H, W) share of every pixel that the triangles cover."""
    if len(pattern.triangles) == 0:
        return np.zeros((height_px, width_px))
    scale = np.array([width_px / pattern.x_edges[-1], height_px / pattern.y_edges[-1]]) * _TRIANGLE_SAMPLES
    canvas = np.zeros((height_px * _TRIANGLE_SAMPLES, width_px * _TRIANGLE_SAMPLES), np.uint8)
    for triangle in pattern.triangles:
        corners = np.rint((triangle * scale - 0.5) * 256).astype(np.int32)
        cv2.fillConvexPoly(canvas, corners, 1, shift=8)
    blocks = canvas.reshape(height_px, _TRIANGLE_SAMPLES, width_px, _TRIANGLE_SAMPLES)
    return blocks.mean((1, 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """The texture: one rectangle per side in shelves, a strip of plain greys below.

    Attributes:
        image: (H, W, 3) uint8.
        origin_px: (S, 2) left, top of every side's rectangle, in texel edges.
        size_px: width, height of a rectangle.
    """

    image: NDArray[np.uint8]
    origin_px: NDArray[np.int64]
    size_px: tuple[int, int]

    @classmethod
    def of(cls, target: Target, texture_px: int) -> Atlas:
        """Draw all sides; ``texture_px`` is the larger side of the image."""
        body = target.spec.body
        num_sides = body.num_sides
        width, height = body.width_m, body.height_m
        per_shelf = min(range(1, num_sides + 1), key=lambda n: max(n * width, -(-num_sides // n) * height))
        num_shelves = -(-num_sides // per_shelf)
        room = texture_px - _SWATCH_PX
        scale = min((room / per_shelf - 2 * _GUTTER_PX) / width, (room / num_shelves - 2 * _GUTTER_PX) / height)
        size = (int(width * scale), int(height * scale))
        step = np.array(size) + 2 * _GUTTER_PX
        image = np.full((num_shelves * step[1] + _SWATCH_PX, per_shelf * step[0]), 255, np.uint8)
        origins = np.array([(side % per_shelf, side // per_shelf) for side in range(num_sides)]) * step + _GUTTER_PX
        for side, (left, top) in enumerate(origins):
            drawn = np.pad(draw_pattern(side_pattern(target, side), *size), _GUTTER_PX, mode="edge")
            image[top - _GUTTER_PX : top + size[1] + _GUTTER_PX, left - _GUTTER_PX : left + size[0] + _GUTTER_PX] = (
                drawn
            )
        for column, grey in enumerate(_GREYS):
            image[-_SWATCH_PX:, column * _SWATCH_PX : (column + 1) * _SWATCH_PX] = grey
        return cls(image=np.repeat(image[..., None], 3, 2), origin_px=origins, size_px=size)

    def uv(self, texel_edges: Array) -> Array:
        """Texture coordinates (v up) of texel-edge coordinates (..., 2)."""
        height, width = self.image.shape[:2]
        return np.stack([texel_edges[..., 0] / width, 1.0 - texel_edges[..., 1] / height], -1)

    def swatch(self, grey: int) -> Array:
        """(2,) texture coordinates of the middle of a plain grey."""
        column = _GREYS.index(grey)
        return self.uv(np.array([(column + 0.5) * _SWATCH_PX, self.image.shape[0] - _SWATCH_PX / 2]))


def _coverage(edges: Array, num_px: int) -> Array:
    """(num_px, cells) share of every pixel that each cell between ``edges`` covers."""
    borders = np.linspace(edges[0], edges[-1], num_px + 1)
    low = np.maximum(borders[:-1, None], edges[None, :-1])
    high = np.minimum(borders[1:, None], edges[None, 1:])
    return np.maximum(high - low, 0.0) * num_px / (edges[-1] - edges[0])
