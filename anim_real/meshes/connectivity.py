"""Which faces share edges and which pieces hang together."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.edges import edge_order

Faces = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeTable:
    """Edges of F triangles. The edge opposite to corner k of a face is its edge k.

    Attributes:
        pairs: (P, 2) faces that share an edge which no third face has.
        agrees: (P,) whether both faces run along it in opposite directions, as neighbours should.
        is_rim: (F, 3) bool: the edge belongs to no other face.
        num_open, num_nonmanifold: edges of one face, and of more than two.
        num_loops: connected rims that the open edges form.
    """

    pairs: Faces
    agrees: NDArray[np.bool_]
    is_rim: NDArray[np.bool_]
    num_open: int
    num_nonmanifold: int
    num_loops: int

    @classmethod
    def of(cls, faces: Faces, num_vertices: int) -> EdgeTable:
        """Build the table of faces (F, 3)."""
        start, end = np.roll(faces, -1, axis=1).ravel(), np.roll(faces, -2, axis=1).ravel()
        low, high = np.minimum(start, end), np.maximum(start, end)
        order = edge_order(start, end, num_vertices)
        ordered = (low * num_vertices + high)[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        count = np.diff(np.append(first, len(ordered)))
        twice = first[count == 2]
        one, other = order[twice], order[twice + 1]
        rows = order[first[count == 1]]
        is_rim = np.zeros(len(order), dtype=bool)
        is_rim[rows] = True
        rim = np.stack([low[rows], high[rows], high[rows]], 1)
        return cls(
            pairs=np.stack([one // 3, other // 3], 1),
            agrees=start[one] != start[other],
            is_rim=is_rim.reshape(-1, 3),
            num_open=len(rows),
            num_nonmanifold=int((count > 2).sum()),
            num_loops=face_pieces(rim, num_vertices)[0] if len(rim) else 0,
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
