"""Working on closed surfaces: choosing the outer components, volumes, places on triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.meshes.connectivity import compact, face_pieces
from anim_real.meshes.winding import INSIDE, WindingNumber

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """The components of a closed surface that matter.

    Attributes:
        vertices: (V, 3) positions.
        faces: (F, 3) int64.
        source: (V,) number of each vertex before.
        num_components: how many outer components were kept.
        dropped_components: small outer ones removed.
        dropped_cavities: inner walls removed: an object has no hollow inside.
    """

    vertices: Array
    faces: NDArray[np.int64]
    source: NDArray[np.int64]
    num_components: int
    dropped_components: int
    dropped_cavities: int


def outer_components(vertices: Array, faces: NDArray[np.int64], min_volume_share: float) -> Outer:
    """Keep the outer components of a closed surface whose volume is at least a share of the largest."""
    count, piece = face_pieces(faces, len(vertices))
    volume = piece_volumes(vertices - vertices.mean(0), faces, piece, count)
    keep = volume >= max(min_volume_share * float(volume.max()), 1e-300)
    largest = int(volume.argmax())
    num_cavities = int((volume <= 0).sum())
    if keep.sum() > 1:
        around = WindingNumber(vertices, faces[piece == largest])
        others = [which for which in np.flatnonzero(keep) if which != largest]
        first = np.full(count, -1)
        first[piece[::-1]] = np.arange(len(faces))[::-1]
        enclosed = np.array(others)[around.at(vertices[faces[first[others], 0]]) > INSIDE]
        keep[enclosed] = False
        num_cavities += len(enclosed)
    kept_faces = faces if keep.all() else faces[keep[piece]]
    used, kept = compact(kept_faces, len(vertices))
    return Outer(
        vertices=vertices[used],
        faces=kept,
        source=used,
        num_components=int(keep.sum()),
        dropped_components=count - int(keep.sum()) - num_cavities,
        dropped_cavities=num_cavities,
    )


@numba.njit(cache=True)
def piece_volumes(vertices: Array, faces: NDArray[np.int64], piece: NDArray[np.int64], count: int) -> Array:
    """(count,) signed volumes of closed pieces, by the divergence theorem."""
    volume = np.zeros(count)
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        volume[piece[f]] += (
            a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        ) / 6.0
    return volume


def barycentric(triangles: Array, points: Array) -> Array:
    """(P, 3) barycentric weights of points (P, 3) in triangles (P, 3, 3), clipped to the triangle."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (np.einsum("ij,ij->i", p, q) for p, q in ((u, u), (u, v), (v, v)))
    wu, wv = np.einsum("ij,ij->i", w, u), np.einsum("ij,ij->i", w, v)
    scale = np.maximum(uu * vv - uv * uv, 1e-300)
    second, third = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    weights = np.clip(np.stack([1.0 - second - third, second, third], 1), 0.0, 1.0)
    return weights / weights.sum(1, keepdims=True)
