"""Targets by name, and as textured closed meshes (target frame, metres, y up)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards import Target, make_target, side_frame
from anim_real.calibrate.patterns import Pattern, side_pattern
from anim_real.errors import ConfigError
from anim_real.mesh import Mesh
from anim_real.target import PrismBody, TargetSpec, load_target_spec

Array = NDArray[np.float64]
_WHITE, _BLACK = 235, 22  # matt paper and toner, 8 bit
_BODY_GREY, _SPHERE_GREY, _POST_GREY = 205, 185, 60
_TRIANGLE_SAMPLES = 8
_GUTTER_PX = 4  # repeated border texels: bilinear look-ups never reach a neighbour
_SWATCH_PX = 16
_POST_SEGMENTS = 12
_POST_OVERLAP_M = 0.01  # posts end inside the body and the sphere


def load_target(name: str) -> Target:
    """Find and read a target by name or path.

    Raises:
        NotFoundError: no such target.
        ConfigError: a wrong key, an unknown dictionary, or more markers than the dictionary holds.
    """
    spec, path = load_target_spec(name)
    return make_target(spec, where=path)


def target_mesh(target: Target, texture_px: int = 2048, *, edge_m: float = 0.02) -> Mesh:
    """Make the target as a mesh: body, posts and spheres, each a closed component, with one texture.

    Vertices repeat along the edges of the body, where the texture jumps; welded by position every component is closed.

    Args:
        target: the target.
        texture_px: the larger side of the texture; 2048 gives the default prism 0.75 mm per texel.
        edge_m: longest grid step of the body's triangles.

    Returns:
        Mesh with ``uv`` and ``texture``, target frame, metres.
    """
    if texture_px < 256 or edge_m <= 0:
        raise ConfigError(
            f"texture_px is {texture_px}, edge_m {edge_m}",
            where="target mesh",
            fix="Use at least 256 px and a positive edge",
        )
    atlas = _Atlas.of(target, texture_px)
    parts = [_side_part(target.spec, side, atlas, edge_m) for side in range(target.spec.body.num_sides)]
    parts += _cap_parts(target.spec, atlas, edge_m)
    for sphere in target.spheres:
        center = np.array(sphere.center)
        vertices, faces = _sphere(center, sphere.radius_m)
        parts.append(_Part.plain(vertices, faces, atlas.swatch(_SPHERE_GREY)))
        if sphere.post_radius_m > 0:
            bottom, top = target.spec.body.height_m - _POST_OVERLAP_M, center[1] - sphere.radius_m + _POST_OVERLAP_M
            vertices, faces = _cylinder(center[[0, 2]], bottom, top, sphere.post_radius_m)
            parts.append(_Part.plain(vertices, faces, atlas.swatch(_POST_GREY)))
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
        uv=np.concatenate([part.uv for part in parts]),
        texture=atlas.image,
    )


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
class _Part:
    vertices: Array
    faces: NDArray[np.int64]
    uv: Array

    @classmethod
    def plain(cls, vertices: Array, faces: NDArray[np.int64], swatch: Array) -> _Part:
        return cls(vertices=vertices, faces=faces, uv=np.broadcast_to(swatch, (len(vertices), 2)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Atlas:
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
    def of(cls, target: Target, texture_px: int) -> _Atlas:
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
        for column, grey in enumerate((_BODY_GREY, _SPHERE_GREY, _POST_GREY)):
            image[-_SWATCH_PX:, column * _SWATCH_PX : (column + 1) * _SWATCH_PX] = grey
        return cls(image=np.repeat(image[..., None], 3, 2), origin_px=origins, size_px=size)

    def uv(self, texel_edges: Array) -> Array:
        """Texture coordinates (v up) of texel-edge coordinates (..., 2)."""
        height, width = self.image.shape[:2]
        return np.stack([texel_edges[..., 0] / width, 1.0 - texel_edges[..., 1] / height], -1)

    def swatch(self, grey: int) -> Array:
        """(2,) texture coordinates of the middle of a plain grey."""
        column = (_BODY_GREY, _SPHERE_GREY, _POST_GREY).index(grey)
        return self.uv(np.array([(column + 0.5) * _SWATCH_PX, self.image.shape[0] - _SWATCH_PX / 2]))


def _coverage(edges: Array, num_px: int) -> Array:
    """(num_px, cells) share of every pixel that each cell between ``edges`` covers."""
    borders = np.linspace(edges[0], edges[-1], num_px + 1)
    low = np.maximum(borders[:-1, None], edges[None, :-1])
    high = np.minimum(borders[1:, None], edges[None, 1:])
    return np.maximum(high - low, 0.0) * num_px / (edges[-1] - edges[0])


def _steps(length: float, edge_m: float) -> int:
    return max(1, int(np.ceil(length / edge_m - 1e-9)))


def _side_part(spec: TargetSpec, side: int, atlas: _Atlas, edge_m: float) -> _Part:
    pose, (width, height) = side_frame(spec, side)
    across, up = _steps(width, edge_m), _steps(height, edge_m)
    s, t = np.meshgrid(np.linspace(0, 1, across + 1), np.linspace(0, 1, up + 1))  # right and up
    vertices = pose.apply(np.stack([(s - 0.5) * width, (t - 0.5) * height, np.zeros_like(s)], -1).reshape(-1, 3))
    texel = atlas.origin_px[side] + np.stack([s, 1.0 - t], -1).reshape(-1, 2) * atlas.size_px
    corner = (np.arange(up)[:, None] * (across + 1) + np.arange(across)).ravel()
    right, above = corner + 1, corner + across + 1
    faces = np.concatenate([np.stack([corner, right, above + 1], 1), np.stack([corner, above + 1, above], 1)])
    return _Part(vertices=vertices, faces=faces, uv=atlas.uv(texel))


def _cap_parts(spec: TargetSpec, atlas: _Atlas, edge_m: float) -> list[_Part]:
    """Top and bottom of the body, and what a plate has between front and back."""
    body = spec.body
    ring = _outline(spec, edge_m)
    bottom, top = np.insert(ring, 1, 0.0, axis=1), np.insert(ring, 1, body.height_m, axis=1)
    swatch = atlas.swatch(_BODY_GREY)
    caps = [_fan(top, edge_m), _fan(bottom, edge_m)]
    caps[1] = (caps[1][0], caps[1][1][:, ::-1])
    parts = [_Part.plain(vertices, faces, swatch) for vertices, faces in caps]
    if isinstance(body, PrismBody):
        return parts
    up = _steps(body.height_m, edge_m)
    across = _steps(body.width_m, edge_m)
    for first, second in ((across, across + 1), (2 * across + 1, 0)):  # the plate's narrow sides
        vertices = np.concatenate([np.linspace(bottom[i], top[i], up + 1) for i in (first, second)])
        low = np.arange(up)
        far = low + up + 1
        faces = np.concatenate([np.stack([low, far, far + 1], 1), np.stack([low, far + 1, low + 1], 1)])
        parts.append(_Part.plain(vertices, faces, swatch))
    return parts


def _outline(spec: TargetSpec, edge_m: float) -> Array:
    """(N, 2) x, z of the body's outline with the sides' steps, counter-clockwise seen from above."""
    rows = []
    for side in range(spec.body.num_sides):
        pose, (width, _) = side_frame(spec, side)
        steps = _steps(width, edge_m)
        is_plate = not isinstance(spec.body, PrismBody)
        s = np.linspace(0, 1, steps + 1)[: steps + 1 if is_plate else steps]
        rows.append(pose.apply(np.stack([(s - 0.5) * width, 0 * s, 0 * s], 1))[:, [0, 2]])
    return np.concatenate(rows)


def _fan(ring: Array, edge_m: float) -> tuple[Array, NDArray[np.int64]]:
    """Fill a star-shaped ring (N, 3), counter-clockwise seen from above, with shrinking rings and a centre."""
    center = ring.mean(0)
    num = len(ring)
    num_rings = _steps(float(np.linalg.norm(ring - center, axis=1).min()), edge_m)
    rings = [center + (ring - center) * (k / num_rings) for k in range(num_rings, 0, -1)]
    here = np.arange(num)
    after = np.roll(here, -1)
    faces = []
    for k in range(num_rings - 1):
        outer, inner = k * num, (k + 1) * num
        faces.append(np.stack([outer + here, outer + after, inner + after], 1))
        faces.append(np.stack([outer + here, inner + after, inner + here], 1))
    last = (num_rings - 1) * num
    faces.append(np.stack([last + here, last + after, np.full(num, num_rings * num)], 1))
    return np.concatenate([*rings, center[None]]), np.concatenate(faces)


def _cylinder(center_xz: Array, bottom: float, top: float, radius: float) -> tuple[Array, NDArray[np.int64]]:
    """Closed upright cylinder."""
    angle = np.arange(_POST_SEGMENTS) * 2 * np.pi / _POST_SEGMENTS
    x, z = center_xz[0] + radius * np.sin(angle), center_xz[1] + radius * np.cos(angle)
    rings = [np.stack([x, np.full_like(x, y), z], 1) for y in (bottom, top)]
    poles = np.array([[center_xz[0], y, center_xz[1]] for y in (bottom, top)])
    here = np.arange(_POST_SEGMENTS)
    after = np.roll(here, -1)
    low, high = np.full(_POST_SEGMENTS, 2 * _POST_SEGMENTS), np.full(_POST_SEGMENTS, 2 * _POST_SEGMENTS + 1)
    faces = np.concatenate(
        [
            np.stack([here, after, _POST_SEGMENTS + after], 1),
            np.stack([here, _POST_SEGMENTS + after, _POST_SEGMENTS + here], 1),
            np.stack([after, here, low], 1),
            np.stack([_POST_SEGMENTS + here, _POST_SEGMENTS + after, high], 1),
        ]
    )
    return np.concatenate([*rings, poles]), faces


def _sphere(center: Array, radius: float) -> tuple[Array, NDArray[np.int64]]:
    """Icosphere whose faces lie 0.1 % of the radius inside the sphere at most."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    return center + radius * np.asarray(ball.vertices, dtype=np.float64), np.asarray(ball.faces, dtype=np.int64)
