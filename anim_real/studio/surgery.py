"""Cutting and sewing triangle meshes: refine, slice along a line, cap holes, open seams without leaving holes.

A ``Cloth`` is a mesh whose vertices are rows of attributes that may be blended linearly (rest position and
skinning weights) and whose texture coordinates belong to face corners, as in an atlas with seams.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Faces that replace a triangle, by which edges are split (bits 01, 12, 20); 3, 4, 5 are the new points.
_PATTERNS: dict[int, tuple[tuple[int, int, int], ...]] = {
    0: ((0, 1, 2),),
    1: ((0, 3, 2), (3, 1, 2)),
    2: ((0, 1, 4), (0, 4, 2)),
    4: ((0, 1, 5), (5, 1, 2)),
    3: ((3, 1, 4), (0, 3, 4), (0, 4, 2)),
    6: ((4, 2, 5), (0, 1, 4), (0, 4, 5)),
    5: ((0, 3, 5), (3, 1, 2), (3, 2, 5)),
    7: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}
_SNAP = 0.12  # a cut this close to a vertex (fraction of the edge) goes through the vertex


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloth:
    """A mesh under the scissors.

    Attributes:
        rows: (V, K) attributes per vertex; the first three are the rest position in metres.
        faces: (F, 3) vertex indices.
        uv: (F, 3, 2) texture coordinates per corner.
        layer: (F,) small integer label per face.
    """

    rows: Array
    faces: Index
    uv: Array
    layer: Index

    @property
    def points(self) -> Array:
        """(V, 3) rest positions."""
        return self.rows[:, :3]


def edges_of(faces: Index) -> tuple[Index, Index]:
    """Return undirected edges (E, 2), first index smaller, and for every face the indices of edges 01, 12, 20."""
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1)
    ordered = np.sort(directed.reshape(-1, 2), axis=1)
    key = ordered[:, 0] * (faces.max() + 1) + ordered[:, 1]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return ordered[first], inverse.reshape(-1, 3)


def split_edges(cloth: Cloth, edges_E2: Index, face_edges_F3: Index, fraction_E: Array) -> Cloth:
    """Insert a vertex on every edge whose fraction (0..1 from its first vertex) is finite; stays conforming."""
    is_split = np.isfinite(fraction_E)
    new_index = np.full(len(edges_E2), -1)
    new_index[is_split] = len(cloth.rows) + np.arange(int(is_split.sum()))
    share = fraction_E[is_split, None]
    first, second = edges_E2[is_split].T
    rows = np.concatenate([cloth.rows, (1 - share) * cloth.rows[first] + share * cloth.rows[second]])
    corners = np.concatenate([cloth.faces, new_index[face_edges_F3]], axis=1)
    forward = cloth.faces == edges_E2[face_edges_F3][..., 0]
    along = np.where(forward, fraction_E[face_edges_F3], 1 - fraction_E[face_edges_F3])[..., None]
    middle_uv = (1 - along) * cloth.uv + along * np.roll(cloth.uv, -1, axis=1)
    corner_uv = np.concatenate([cloth.uv, middle_uv], axis=1)
    pattern = (is_split[face_edges_F3] * np.array([1, 2, 4])).sum(1)
    faces, uv, layer = [], [], []
    for bits, triangles in _PATTERNS.items():
        chosen = np.flatnonzero(pattern == bits)
        for triangle in triangles:
            faces.append(corners[chosen][:, triangle])
            uv.append(corner_uv[chosen][:, triangle])
            layer.append(cloth.layer[chosen])
    return Cloth(rows=rows, faces=np.concatenate(faces), uv=np.concatenate(uv), layer=np.concatenate(layer))


def refine(cloth: Cloth, face_mask: NDArray[np.bool_], max_edge_m: float) -> Cloth:
    """Halve the edges of the marked faces that are longer than ``max_edge_m``."""
    edges, face_edges = edges_of(cloth.faces)
    wanted = np.zeros(len(edges), dtype=bool)
    wanted[face_edges[face_mask].ravel()] = True
    length = np.linalg.norm(cloth.points[edges[:, 0]] - cloth.points[edges[:, 1]], axis=1)
    return split_edges(cloth, edges, face_edges, np.where(wanted & (length > max_edge_m), 0.5, np.nan))


def slice_at_zero(cloth: Cloth, field_V: Array) -> tuple[Cloth, Array]:
    """Cut the faces along the zero line of a field on the vertices.

    Returns:
        The cloth with edges along the line, and (F,) the sign of every face: +1 or -1.
    """
    values = field_V.copy()
    edges, face_edges = edges_of(cloth.faces)
    a, b = values[edges].T
    crossing = (a > 0) != (b > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(crossing, a / (a - b), np.nan)
    rows = cloth.rows.copy()
    for end, close in ((0, crossing & (fraction < _SNAP)), (1, crossing & (fraction > 1 - _SNAP))):
        vertex, other = edges[close, end], edges[close, 1 - end]
        share = (fraction[close] if end == 0 else 1 - fraction[close])[:, None]
        rows[vertex] = (1 - share) * cloth.rows[vertex] + share * cloth.rows[other]
        values[vertex] = 0.0
    a, b = values[edges].T
    crossing = a * b < 0
    fraction = np.where(crossing, np.clip(a / np.where(crossing, a - b, 1.0), 0.02, 0.98), np.nan)
    cut = split_edges(replace(cloth, rows=rows), edges, face_edges, fraction)
    values = np.concatenate([values, np.zeros(int(crossing.sum()))])
    return cut, np.where(values[cut.faces].sum(1) > 0, 1.0, -1.0)


def keep_faces(cloth: Cloth, mask_F: NDArray[np.bool_]) -> Cloth:
    """Drop faces, and the vertices that no face uses any more."""
    used, inverse = np.unique(cloth.faces[mask_F], return_inverse=True)
    return Cloth(rows=cloth.rows[used], faces=inverse.reshape(-1, 3), uv=cloth.uv[mask_F], layer=cloth.layer[mask_F])


def boundary_loops(faces: Index) -> list[Index]:
    """Return the closed loops of open edges, each in the direction of its faces."""
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    base = faces.max() + 1
    forward, backward = directed[:, 0] * base + directed[:, 1], directed[:, 1] * base + directed[:, 0]
    follow = {int(a): int(b) for a, b in directed[~np.isin(backward, forward)]}
    loops = []
    while follow:
        start, vertex = next(iter(follow.items()))
        loop = [start]
        del follow[start]
        while vertex != start:
            loop.append(vertex)
            vertex = follow.pop(vertex)
        loops.append(np.array(loop))
    return loops


def cap_holes(cloth: Cloth) -> Cloth:
    """Close every hole with a fan around the mean of its rim (attributes are the rim's mean)."""
    corner_uv = np.zeros((len(cloth.rows), 2))
    corner_uv[cloth.faces.ravel()] = cloth.uv.reshape(-1, 2)
    corner_layer = np.zeros(len(cloth.rows), dtype=np.int64)
    corner_layer[cloth.faces.ravel()] = np.repeat(cloth.layer, 3)
    for loop in boundary_loops(cloth.faces):
        centre = len(cloth.rows)
        fan = np.stack([np.roll(loop, -1), loop, np.full(len(loop), centre)], axis=1)
        corner_uv = np.concatenate([corner_uv, corner_uv[loop].mean(0, keepdims=True)])
        cloth = Cloth(
            rows=np.concatenate([cloth.rows, cloth.rows[loop].mean(0, keepdims=True)]),
            faces=np.concatenate([cloth.faces, fan]),
            uv=np.concatenate([cloth.uv, corner_uv[fan]]),
            layer=np.concatenate([cloth.layer, corner_layer[loop]]),
        )
    return cloth


def unpinched(cloth: Cloth) -> tuple[Cloth, Index]:
    """Give every fan of faces its own vertex where fans touch only in a point; also returns the old vertex of each."""
    start, corner = cloth.faces.ravel(), np.arange(cloth.faces.size)
    after = corner - corner % 3 + (corner + 1) % 3
    base = cloth.faces.max() + 1
    forward, backward = start * base + start[after], start[after] * base + start
    _, ours, theirs = np.intersect1d(forward, backward, return_indices=True)
    links = np.concatenate([np.stack([ours, after[theirs]], 1), np.stack([after[ours], theirs], 1)])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(start), len(start)))
    _, fan = connected_components(graph, directed=False)
    _, representative = np.unique(fan, return_index=True)
    old = start[representative]
    return replace(cloth, rows=cloth.rows[old], faces=fan.reshape(-1, 3).astype(np.int64)), old


def shell(cloth: Cloth, outer_layer: int, inner_layer: int) -> Cloth:
    """Turn an open sheet into a closed one of two sides: the sheet, its reversed copy, and a rim between.

    Both sides lie at the same place; whoever displaces them by layer gives the shell its thickness.
    """
    num_vertices = len(cloth.rows)
    faces, uv = [cloth.faces, cloth.faces[:, ::-1] + num_vertices], [cloth.uv, cloth.uv[:, ::-1]]
    corner_uv = np.zeros((num_vertices, 2))
    corner_uv[cloth.faces.ravel()] = cloth.uv.reshape(-1, 2)
    for loop in boundary_loops(cloth.faces):
        after = np.roll(loop, -1)
        rim = np.concatenate(
            [
                np.stack([after, loop, loop + num_vertices], 1),
                np.stack([after, loop + num_vertices, after + num_vertices], 1),
            ]
        )
        faces.append(rim)
        uv.append(corner_uv[rim % num_vertices])
    layer = np.repeat([outer_layer, inner_layer, inner_layer], [len(faces[0]), len(faces[1]), sum(map(len, faces[2:]))])
    return Cloth(
        rows=np.concatenate([cloth.rows, cloth.rows]), faces=np.concatenate(faces), uv=np.concatenate(uv), layer=layer
    )


def joined(parts: list[Cloth]) -> Cloth:
    """Put several cloths side by side in one, vertices in order."""
    starts = np.cumsum([0, *[len(part.rows) for part in parts[:-1]]])
    return Cloth(
        rows=np.concatenate([part.rows for part in parts]),
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        uv=np.concatenate([part.uv for part in parts]),
        layer=np.concatenate([part.layer for part in parts]),
    )


def averaging(faces: Index, size: int) -> csr_matrix:
    """(size, size) operator: half of a vertex's own value, half of its neighbours' mean."""
    edges, _ = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    neighbours = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(size, size)).tocsr()
    count = np.asarray(neighbours.sum(1)).ravel()
    own = np.where(count > 0, 0.5, 1.0)
    return csr_matrix(diags(own) + diags(0.5 / np.maximum(count, 1)) @ neighbours)


def smoothed(cloth: Cloth, free_V: NDArray[np.bool_], rounds: int) -> Cloth:
    """Relax the rest positions of the free vertices towards their neighbours' mean, along their normals only.

    Without tangential drift the lines that were cut stay where they are.
    """
    average = averaging(cloth.faces, len(cloth.rows))
    points = cloth.points.copy()
    for _ in range(rounds):
        normals = point_normals(points, cloth.faces)
        step = ((average @ points - points) * normals).sum(1)
        points += np.where(free_V, step, 0.0)[:, None] * normals
    return replace(cloth, rows=np.concatenate([points, cloth.rows[:, 3:]], axis=1))


def point_normals(points: Array, faces: Index) -> Array:
    """(V, 3) area-weighted unit normals."""
    a, b, c = np.moveaxis(points[faces], 1, 0)
    weighted = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    flat = faces.ravel()
    normals = np.stack([np.bincount(flat, weighted[:, k], len(points)) for k in range(3)], 1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, kw_only=True, eq=False)
class Seamed:
    """A closed mesh with one texture coordinate and one layer per vertex, sewn from a closed ``Cloth``.

    Where layer or texture coordinate jumps, the vertex is doubled and thin strips join the copies: the mesh
    stays closed, the strips carry the jump (a hem where offsets differ, invisible where they do not).

    Attributes:
        faces: (G, 3) faces; the first ``num_cloth_faces`` are the cloth's own, in order; strips follow.
        source: (W,) cloth vertex of every vertex.
        uv: (W, 2) texture coordinate.
        layer: (W,) layer.
        aside: (W, 2) two cloth vertices of a face of this copy: a step towards their middle separates copies.
        aside_uv: (W, 2) texture coordinate of that middle.
        is_copy: (W,) bool: the cloth vertex has more than one copy.
    """

    faces: Index
    num_cloth_faces: int
    source: Index
    uv: Array
    layer: Index
    aside: Index
    aside_uv: Array
    is_copy: NDArray[np.bool_]


def open_seams(cloth: Cloth) -> Seamed:
    """Double the vertices of a closed cloth along jumps of texture coordinates or layers, and sew strips between."""
    faces, num_faces = cloth.faces, len(cloth.faces)
    flat_key = np.concatenate([np.round(cloth.uv, 7).reshape(-1, 2), np.repeat(cloth.layer, 3)[:, None]], axis=1)
    _, key = np.unique(flat_key, axis=0, return_inverse=True)
    key = key.reshape(-1, 3)
    pairs = _facing_corners(faces)  # (E, 4): corner of a and b in one face, corner of a and b in the other
    same_a = key.ravel()[pairs[:, 0]] == key.ravel()[pairs[:, 2]]
    same_b = key.ravel()[pairs[:, 1]] == key.ravel()[pairs[:, 3]]
    links = np.concatenate([pairs[same_a][:, [0, 2]], pairs[same_b][:, [1, 3]]])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(3 * num_faces, 3 * num_faces))
    _, copy_of_corner = connected_components(graph, directed=False)
    _, representative = np.unique(copy_of_corner, return_index=True)
    source = faces.ravel()[representative]
    strips = _strips(copy_of_corner, pairs)
    caps = _junction_caps(strips[1], source)
    face, corner = np.divmod(representative, 3)
    return Seamed(
        faces=np.concatenate([copy_of_corner.reshape(-1, 3), strips[0], caps]).astype(np.int64),
        num_cloth_faces=num_faces,
        source=source,
        uv=cloth.uv.reshape(-1, 2)[representative],
        layer=cloth.layer[face],
        aside=np.stack([faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]], axis=1),
        aside_uv=(cloth.uv[face, (corner + 1) % 3] + cloth.uv[face, (corner + 2) % 3]) / 2,
        is_copy=np.bincount(source, minlength=len(cloth.rows))[source] > 1,
    )


def _facing_corners(faces: Index) -> Index:
    """For every edge the corners of its ends a, b in the face that runs a → b, then in the one that runs b → a."""
    start, corner = faces.ravel(), np.arange(faces.size)
    after = corner - corner % 3 + (corner + 1) % 3
    end = start[after]
    base = faces.max() + 1
    forward, backward = start * base + end, end * base + start
    order = np.argsort(forward)
    partner = order[np.searchsorted(forward, backward, sorter=order)]
    first = start < end
    return np.stack([corner[first], after[first], after[partner[first]], partner[first]], axis=1)


def _strips(copies: Index, pairs: Index) -> tuple[Index, Index]:
    """Strip faces along the seams, and the directed joints (one per strip end) they leave at each vertex."""
    fa, fb, ga, gb = copies[pairs].T
    quads = np.stack([fb, fa, ga, gb], axis=1)
    two, at_a, at_b = (fa != ga) & (fb != gb), (fa == ga) & (fb != gb), (fa != ga) & (fb == gb)
    faces = np.concatenate(
        [quads[two][:, [0, 1, 2]], quads[two][:, [0, 2, 3]], quads[at_a][:, [0, 1, 3]], quads[at_b][:, [0, 1, 2]]]
    )
    joints = np.concatenate([np.stack([fa, ga], 1)[fa != ga], np.stack([gb, fb], 1)[fb != gb]])
    return faces, joints


def _junction_caps(joints: Index, source: Index) -> Index:
    """Fans that close the polygons left at vertices where three or more copies meet."""
    present = {(int(a), int(b)) for a, b in joints}
    follow = {a: b for a, b in present if (b, a) not in present}
    caps = []
    while follow:
        start = next(iter(follow))
        cycle = [start]
        vertex = follow.pop(start)
        while vertex != start:
            cycle.append(vertex)
            vertex = follow.pop(vertex)
        caps += [(cycle[0], cycle[k + 1], cycle[k]) for k in range(1, len(cycle) - 1)]
    assert all(source[a] == source[b] == source[c] for a, b, c in caps), "seams must close at their own vertex"
    return np.array(caps, dtype=np.int64).reshape(-1, 3)
