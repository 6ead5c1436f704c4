"""The surfaces of a target's parts: sides of the body, its caps, posts and spheres (target frame, metres)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.target import side_frame
from anim_real.calibrate.boards.target_texture import BODY_GREY, Atlas
from anim_real.target import PrismBody, TargetSpec

Array = NDArray[np.float64]
_POST_SEGMENTS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A piece of a mesh: vertices (V, 3), faces (F, 3), texture coordinates (V, 2)."""

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array

    @classmethod
    def plain(cls, vertices: Array, faces: NDArray[np.int64], swatch: Array) -> Part:
        """Paint a piece in one plain grey."""
        return cls(vertices=vertices, faces=faces, uv=np.broadcast_to(swatch, (len(vertices), 2)))


def _steps(length: float, edge_m: float) -> int:
    return max(1, int(np.ceil(length / edge_m - 1e-9)))


def side_part(spec: TargetSpec, side: int, atlas: Atlas, edge_m: float) -> Part:
    """A side of the body with its pattern, as a grid of triangles."""
    pose, (width, height) = side_frame(spec, side)
    across, up = _steps(width, edge_m), _steps(height, edge_m)
    s, t = np.meshgrid(np.linspace(0, 1, across + 1), np.linspace(0, 1, up + 1))  # right and up
    vertices = pose.apply(np.stack([(s - 0.5) * width, (t - 0.5) * height, np.zeros_like(s)], -1).reshape(-1, 3))
    texel = atlas.origin_px[side] + np.stack([s, 1.0 - t], -1).reshape(-1, 2) * atlas.size_px
    corner = (np.arange(up)[:, None] * (across + 1) + np.arange(across)).ravel()
    right, above = corner + 1, corner + across + 1
    faces = np.concatenate([np.stack([corner, right, above + 1], 1), np.stack([corner, above + 1, above], 1)])
    return Part(vertices=vertices, faces=faces, uv=atlas.uv(texel))


def cap_parts(spec: TargetSpec, atlas: Atlas, edge_m: float) -> list[Part]:
    """Top and bottom of the body, and what a plate has between front and back."""
    body = spec.body
    ring = _outline(spec, edge_m)
    bottom, top = np.insert(ring, 1, 0.0, axis=1), np.insert(ring, 1, body.height_m, axis=1)
    swatch = atlas.swatch(BODY_GREY)
    caps = [_fan(top, edge_m), _fan(bottom, edge_m)]
    caps[1] = (caps[1][0], caps[1][1][:, ::-1])
    parts = [Part.plain(vertices, faces, swatch) for vertices, faces in caps]
    if isinstance(body, PrismBody):
        return parts
    up = _steps(body.height_m, edge_m)
    across = _steps(body.width_m, edge_m)
    for first, second in ((across, across + 1), (2 * across + 1, 0)):  # the plate's narrow sides
        vertices = np.concatenate([np.linspace(bottom[i], top[i], up + 1) for i in (first, second)])
        low = np.arange(up)
        far = low + up + 1
        faces = np.concatenate([np.stack([low, far, far + 1], 1), np.stack([low, far + 1, low + 1], 1)])
        parts.append(Part.plain(vertices, faces, swatch))
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


def cylinder(center_xz: Array, bottom: float, top: float, radius: float) -> tuple[Array, NDArray[np.int64]]:
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


def sphere_surface(center: Array, radius: float) -> tuple[Array, NDArray[np.int64]]:
    """Icosphere whose faces lie 0.1 % of the radius inside the sphere at most."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    return center + radius * np.asarray(ball.vertices, dtype=np.float64), np.asarray(ball.faces, dtype=np.int64)
