"""Solid extras of a performer: hair volume, long hair or a bun, and shoes, as closed lofted tubes.

Hair on the scalp is a layer of the body (``Layer.HAIR``) pushed out by ``scalp_offset``; what leaves the
head is a tube of its own. Rest pose, metres, y up, facing +z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.studio.garments import Fields
from anim_real.studio.skeleton import Skeleton

Array = NDArray[np.float64]
HAIR_STYLES = ("short", "curly", "long", "bun", "ponytail")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """A closed tube.

    Attributes:
        points: (V, 3) rest positions.
        faces: (F, 3).
        uv: (V, 2) 0..1, mirrored left to right, so without a seam.
        bones: bone name → (V,) skinning weight.
    """

    points: Array
    faces: NDArray[np.int64]
    uv: Array
    bones: dict[str, Array]


def loft(rings_KN3: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Close a stack of rings with faces and two fans; rings run counter-clockwise seen from the last towards the first.

    Returns:
        (K*N + 2, 3) points, faces, and (K*N + 2, 2) mirrored texture coordinates.
    """
    num_rings, num_around, _ = rings_KN3.shape
    ring, around = np.meshgrid(np.arange(num_rings - 1), np.arange(num_around), indexing="ij")
    a = (ring * num_around + around).ravel()
    b = (ring * num_around + (around + 1) % num_around).ravel()
    c, d = a + num_around, b + num_around
    k = np.arange(num_around)
    after, last = (k + 1) % num_around, (num_rings - 1) * num_around
    first_centre, last_centre = num_rings * num_around, num_rings * num_around + 1
    faces = [
        np.stack([a, c, b], 1),
        np.stack([b, c, d], 1),
        np.stack([k, after, np.full(num_around, first_centre)], 1),
        np.stack([after + last, k + last, np.full(num_around, last_centre)], 1),
    ]
    points = np.concatenate([rings_KN3.reshape(-1, 3), rings_KN3[[0, -1]].mean(1)])
    turn = np.arange(num_around) * 2 / num_around
    u, v = np.meshgrid(np.where(turn <= 1, turn, 2 - turn), np.linspace(1, 0, num_rings))
    uv = np.concatenate([np.stack([u, v], -1).reshape(-1, 2), [[0.5, 1.0], [0.5, 0.0]]])
    table = np.concatenate(faces).astype(np.int64)
    corners = points[table] - points.mean(0)
    if np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        table = table[:, ::-1]
    return points, table, uv


def scalp_offset(fields: Fields, skeleton: Skeleton, style: str, rng: np.random.Generator) -> Array:
    """(V,) thickness of the hair above the scalp, metres: thin at the hairline, full on top."""
    full = {"short": 0.014, "curly": 0.040, "long": 0.022, "bun": 0.010, "ponytail": 0.010}[style]
    rise = np.clip(fields.hairline / 0.05, 0.0, 1.0)
    away = (fields.points - skeleton.joint("head")) / 0.1
    texture = np.zeros(len(away))
    scale = 9.0 if style == "curly" else 5.0
    for _ in range(5):
        texture += np.sin(away @ (rng.normal(size=3) * scale) + rng.uniform(0, 2 * np.pi)) / 5
    bumps = 0.30 if style == "curly" else 0.12
    return 0.003 + full * np.sqrt(rise) * (1.0 + bumps * texture)


def draw_locks(style: str, skull: Array, skeleton: Skeleton, rng: np.random.Generator) -> Tube | None:
    """Return the hair that leaves the head (None for short styles); ``skull`` (N, 3) are points of the head."""
    if style in ("short", "curly"):
        return None
    top, back = skull[:, 1].max(), skull[:, 2].min()
    half = np.ptp(skull[np.abs(skull[:, 1] - (top - 0.1)) < 0.03, 0]) / 2
    if style == "bun":
        centre, radius = np.array([0.0, top - 0.045, back + 0.012]), rng.uniform(0.04, 0.052)
        s = np.linspace(-0.96, 0.96, 12)
        path = centre + np.stack([0 * s, 0.25 * radius * s, -radius * s], 1)
        size = np.stack([radius * np.sqrt(1 - s * s)] * 2, 1)
    elif style == "ponytail":
        length = rng.uniform(0.22, 0.36)
        s = np.linspace(0, 1, 18)
        path = np.stack(
            [0 * s, top - 0.06 - length * s**1.3, back + 0.005 - 0.07 * np.sin(np.pi * np.minimum(s * 1.2, 1)) ** 0.8],
            1,
        )
        size = np.stack([0.030 * (np.sin(np.pi * (0.10 + 0.86 * s)) ** 0.7)] * 2, 1)
    else:
        length = rng.uniform(0.26, 0.40)
        s = np.linspace(0, 1, 20)
        path = np.stack([0 * s, top - 0.02 - length * s, back + 0.055 - 0.045 * np.sin(np.pi * s) ** 2], 1)
        wide = (half + 0.018) * np.sin(np.pi * (0.14 + 0.72 * s)) ** 0.6
        size = np.stack([wide, 0.055 - 0.018 * s], 1)
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    wave = 1 + 0.05 * np.sin(9 * turn + rng.uniform(0, 6.28)) * np.linspace(0.2, 1, len(path))[:, None]
    rings = np.empty((len(path), 36, 3))
    rings[..., 0] = path[:, :1] + size[:, :1] * wave * np.cos(turn)
    across = np.stack([-np.gradient(path[:, 2]), np.gradient(path[:, 1])], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    rings[..., 2] = path[:, 2:] + size[:, 1:] * wave * np.sin(turn) * across[:, 1:]
    rings[..., 1] = path[:, 1:2] + size[:, 1:] * wave * np.sin(turn) * across[:, :1]
    points, faces, uv = loft(rings)
    shoulder, neck = skeleton.joint("spine01")[1] + 0.02, skeleton.joint("neck02")[1]
    on_head = np.clip((points[:, 1] - shoulder) / (neck - shoulder), 0.0, 1.0)
    return Tube(points=points, faces=faces, uv=uv, bones={"head": on_head, "spine01": 1 - on_head})


def draw_shoe(foot: Array, side: str, height_m: float) -> Tube:
    """Return a shoe around the bare foot's points (N, 3), closed over the ankle."""
    flat = foot[:, [0, 2]] - foot[:, [0, 2]].mean(0)
    direction = np.linalg.svd(flat, full_matrices=False)[2][0]
    direction *= np.sign(direction[1])
    forward, sideways = np.array([direction[0], 0, direction[1]]), np.array([direction[1], 0, -direction[0]])
    along, across = foot @ forward, foot @ sideways
    sole = foot[:, 1].min() - 0.010
    stations = np.linspace(along.min() - 0.008, along.max() + 0.010, 26)
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    profile = np.empty((len(stations), 3))
    for index, place in enumerate(stations):
        near = np.abs(along - np.clip(place, along.min() + 0.012, along.max() - 0.016)) < 0.016
        end = min(place - stations[0], stations[-1] - place) / 0.045
        round_off = np.sqrt(1 - (1 - min(end, 1.0)) ** 2)
        low, high = across[near].min(), across[near].max()
        top = min(foot[near, 1].max(), sole + height_m) - sole + 0.007
        profile[index] = (low + high) / 2, ((high - low) / 2 + 0.006) * max(round_off, 0.30), top * max(round_off, 0.55)
    profile = np.stack([np.convolve(np.pad(column, 2, "edge"), np.full(5, 0.2), "valid") for column in profile.T], 1)
    x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.55
    y = 0.42 + 0.58 * np.sin(turn)
    y = np.where(y < 0.0, 0.0, y)
    rings = (
        stations[:, None, None] * forward
        + (profile[:, :1] + profile[:, 1:2] * x)[..., None] * sideways
        + (sole + profile[:, 2:] * y)[..., None] * np.array([0.0, 1.0, 0.0])
    )
    points, faces, uv = loft(rings)
    return Tube(points=points, faces=faces, uv=uv, bones={f"foot.{side}": np.ones(len(points))})
