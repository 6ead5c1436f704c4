"""Which faces share edges and which pieces hang together."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.edges import directed_edges, run_of, sorted_edges

Faces = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeTable:
    """Edges of F triangles. Edge 3 f + k is the one opposite to corner k of face f.

    Attributes:
        pairs: (P, 2) edges that are one, of two faces; no third face has it.
        agrees: (P,) whether both faces run along it in opposite directions, as neighbours should.
        single: (S,) edges of one face only.
        crowded: (C,) edges of more than two faces.
        num_nonmanifold: how many different ones those are.
        has_twins: two faces have the same corners.
    """

    pairs: Faces
    agrees: NDArray[np.bool_]
    single: Faces
    crowded: Faces
    num_nonmanifold: int
    has_twins: bool

    @classmethod
    def of(cls, faces: Faces, num_vertices: int) -> EdgeTable:
        """Build the table of faces (F, 3)."""
        start, end = directed_edges(faces)
        pairs, agrees, single, crowded, num_crowded, has_twins = _paired(
            faces, start, *sorted_edges(start, end, num_vertices)
        )
        return cls(
            pairs=pairs,
            agrees=agrees,
            single=single,
            crowded=crowded,
            num_nonmanifold=num_crowded,
            has_twins=has_twins,
        )

    @property
    def num_open(self) -> int:
        """How many edges only one face has."""
        return len(self.single)

    def is_rim(self, num_faces: int) -> NDArray[np.bool_]:
        """(F, 3) whether the edge opposite to a corner belongs to no other face."""
        is_rim = np.zeros(3 * num_faces, dtype=bool)
        is_rim[self.single] = True
        return is_rim.reshape(-1, 3)

    def num_loops(self, faces: Faces, num_vertices: int) -> int:
        """How many connected rims the open edges form."""
        return face_pieces(_ends(faces, self.single), num_vertices)[0] if len(self.single) else 0

    def unpaired(self, faces: Faces, is_turned: NDArray[np.bool_]) -> tuple[Faces, Faces]:
        """Directed edges (U, 2) that no neighbour cancels once some of faces (F, 3) turn, and the face of each."""
        one, other = is_turned[self.pairs // 3].T
        differs = self.pairs[self.agrees == (one != other)]
        edges = np.concatenate([self.single, self.crowded, differs.ravel()])
        ends = _ends(faces, edges)
        return np.where(is_turned[edges // 3][:, None], ends[:, ::-1], ends), edges // 3


def _ends(faces: Faces, edges: Faces) -> Faces:
    """(N, 2) start and end of edges (N,)."""
    face, corner = np.divmod(edges, 3)
    return np.stack([faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]], 1)


@numba.njit(cache=True)
def _paired(
    faces: Faces, start: Faces, first: Faces, packed: Faces, bits: int
) -> tuple[Faces, NDArray[np.bool_], Faces, Faces, int, bool]:
    """Edges in order, by how many faces have them; and whether faces with the same corners were met."""
    pairs, agrees = np.empty((len(start) // 2, 2), np.int64), np.empty(len(start) // 2, np.bool_)
    single, crowded = np.empty(len(start), np.int64), np.empty(len(start), np.int64)
    num_pairs = num_single = num_crowded = num_edges = 0
    mask, has_twins = (1 << bits) - 1, False
    for low in range(len(first) - 1):
        place = first[low]
        while place < first[low + 1]:
            stop = run_of(packed, place, first[low + 1], bits)
            if stop == place + 1:
                single[num_single] = packed[place] & mask
                num_single += 1
            elif stop == place + 2:
                one, other = packed[place] & mask, packed[place + 1] & mask
                pairs[num_pairs, 0], pairs[num_pairs, 1] = one, other
                agrees[num_pairs] = start[one] != start[other]
                num_pairs += 1
                has_twins |= faces[one // 3, one % 3] == faces[other // 3, other % 3]
            else:
                num_edges += 1
                for i in range(place, stop):
                    one = packed[i] & mask
                    crowded[num_crowded] = one
                    num_crowded += 1
                    for j in range(place, i):
                        other = packed[j] & mask
                        has_twins |= faces[one // 3, one % 3] == faces[other // 3, other % 3]
            place = stop
    return (
        pairs[:num_pairs].copy(),
        agrees[:num_pairs].copy(),
        single[:num_single].copy(),
        crowded[:num_crowded].copy(),
        num_edges,
        has_twins,
    )


def linked(pairs: Faces, count: int) -> tuple[int, NDArray[np.int64]]:
    """Connected components of ``count`` nodes joined by pairs (P, 2): their number and each node's label."""
    return _label(_joined(pairs, count))


def face_pieces(faces: Faces, num_vertices: int) -> tuple[int, NDArray[np.int64]]:
    """Number of connected pieces (through shared vertices), and the (F,) piece of every face."""
    number, label = _label(_joined(faces, num_vertices))
    used, piece = compact(label[faces[:, 0]], number)
    return len(used), piece


@numba.njit(cache=True)
def _joined(groups: Faces, count: int) -> Faces:
    """(count,) parent of every node, after joining the nodes of each group (G, K): union-find with path halving."""
    parent = np.arange(count)
    for g in range(len(groups)):
        root = groups[g, 0]
        while parent[root] != root:
            parent[root] = parent[parent[root]]
            root = parent[root]
        for k in range(1, groups.shape[1]):
            other = groups[g, k]
            while parent[other] != other:
                parent[other] = parent[parent[other]]
                other = parent[other]
            if other < root:  # the smallest node is the root: labels do not depend on the order of the groups
                root, other = other, root
            parent[other] = root
    return parent


@numba.njit(cache=True)
def _label(parent: Faces) -> tuple[int, Faces]:
    """Number of roots, and the label of every node's root."""
    label, number = np.empty(len(parent), np.int64), 0
    for node in range(len(parent)):
        if parent[node] == node:
            label[node] = number
            number += 1
        else:
            label[node] = label[parent[node]]  # parents are smaller than their nodes
    return number, label


def compact(numbers: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted distinct values of ``numbers``, all below ``limit``, and the place of each number among these."""
    is_used = np.zeros(limit, dtype=bool)
    is_used[numbers] = True
    used = np.flatnonzero(is_used)
    place = np.cumsum(is_used) - 1
    return used, place[numbers]
