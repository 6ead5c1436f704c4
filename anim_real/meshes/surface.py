"""Working on surfaces: cutting triangles fine, choosing the outer components, drawing vertices to the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.distances import Closest
from anim_real.meshes.connectivity import compact, face_pieces
from anim_real.meshes.winding import INSIDE, WindingNumber

Array = NDArray[np.float64]
_MAX_ROUNDS = 12
_MIN_ALIGNMENT = 0.2  # cosine between a face after drawing and the surface it stood for
_MIN_AREA_CELLS = 1e-4  # in squared cells; marching cubes itself makes faces down to this


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """The components of a closed surface that matter.

    Attributes:
        vertices: (V, 3) positions.
        faces: (F, 3) int64.
        num_components: how many outer components were kept.
        dropped_components: small outer ones removed.
        dropped_cavities: inner walls removed: an object has no hollow inside.
    """

    vertices: Array
    faces: NDArray[np.int64]
    num_components: int
    dropped_components: int
    dropped_cavities: int


def cut_fine(vertices: Array, faces: NDArray[np.int64], longest: float) -> tuple[Array, NDArray[np.int64]]:
    """Halve triangles at their longest edge until no edge is longer than ``longest``.

    Returns:
        (T, 3, 3) triangles that cover the same surface, and the (T,) face each came from.
    """
    pending, source = vertices[faces], np.arange(len(faces))
    done, done_source = [], []
    while len(pending):
        sides = pending[:, (1, 2, 0)] - pending
        edges = np.einsum("fkd,fkd->fk", sides, sides)  # squared lengths
        long = np.maximum(np.maximum(edges[:, 0], edges[:, 1]), edges[:, 2]) > longest**2
        done.append(pending[~long])
        done_source.append(source[~long])
        pending, source, edges = pending[long], source[long], edges[long]
        if len(pending):
            turn = (edges.argmax(1)[:, None] + np.arange(3)) % 3
            a, b, c = np.moveaxis(np.take_along_axis(pending, turn[..., None], 1), 1, 0)
            middle = (a + b) / 2
            pending = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
            source = np.concatenate([source, source])
    return np.concatenate(done), np.concatenate(done_source)


def outer_components(vertices: Array, faces: NDArray[np.int64], min_volume_share: float) -> Outer:
    """Keep the outer components of a closed surface whose volume is at least a share of the largest."""
    count, piece = face_pieces(faces, len(vertices))
    centered = vertices - vertices.mean(0)
    a, b, c = np.moveaxis(centered[faces], 1, 0)
    volume = np.bincount(piece, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0, count)
    keep = volume >= max(min_volume_share * float(volume.max()), 1e-300)
    largest = int(volume.argmax())
    num_cavities = int((volume <= 0).sum())
    if keep.sum() > 1:
        around = WindingNumber(vertices, faces[piece == largest])
        others = [which for which in np.flatnonzero(keep) if which != largest]
        probes = np.stack([vertices[faces[piece == which][0, 0]] for which in others])
        enclosed = np.array(others)[around.at(probes) > INSIDE]
        keep[enclosed] = False
        num_cavities += len(enclosed)
    used, kept = compact(faces[keep[piece]], len(vertices))
    return Outer(
        vertices=vertices[used],
        faces=kept,
        num_components=int(keep.sum()),
        dropped_components=count - int(keep.sum()) - num_cavities,
        dropped_cavities=num_cavities,
    )


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


def draw_to_scan(
    vertices: Array, faces: NDArray[np.int64], closest: Closest, may_move: NDArray[np.bool_], cell_m: float
) -> Array:
    """Move vertices onto their nearest scan points; take back every move that would spoil a face.

    Args:
        vertices: (V, 3) of a closed surface.
        faces: (F, 3) int64.
        closest: nearest scan point of every vertex.
        may_move: (V,) which vertices stand for a scanned place.
        cell_m: cell size of the lattice they came from, in the unit of the vertices.

    Returns:
        (V, 3) new positions. Faces keep a sane area and do not turn over.
    """
    moved = may_move.copy()
    before = _normals(vertices, faces)
    old_area = np.linalg.norm(before, axis=1)
    reference = _smooth_normals(before, faces, len(vertices))[faces].sum(1)
    reference /= np.maximum(np.linalg.norm(reference, axis=1, keepdims=True), 1e-300)
    enough = np.minimum(2 * _MIN_AREA_CELLS * cell_m**2, 0.5 * old_area)
    suspects = np.arange(len(faces))
    for _ in range(_MAX_ROUNDS):
        position = np.where(moved[:, None], closest.point, vertices)
        normal = _normals(position, faces[suspects])
        area = np.linalg.norm(normal, axis=1)
        cosine = np.einsum("ij,ij->i", normal, reference[suspects]) / np.maximum(area, 1e-300)
        spoiled = ((area < enough[suspects]) | (cosine < _MIN_ALIGNMENT)) & moved[faces[suspects]].any(1)
        if not spoiled.any():
            return position
        held = np.zeros(len(vertices), dtype=bool)
        held[faces[suspects[spoiled]]] = True
        moved &= ~held
        suspects = np.flatnonzero(held[faces].any(1))
    return vertices


def _normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return np.cross(b - a, c - a)


def _smooth_normals(normals: Array, faces: NDArray[np.int64], num_vertices: int) -> Array:
    total = np.stack([np.bincount(faces.ravel(), np.repeat(normals[:, k], 3), num_vertices) for k in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-300)
