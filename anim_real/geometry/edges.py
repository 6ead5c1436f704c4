"""Edges of triangle meshes, put in order in linear time. No positions, no units."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
_LARGE_BUCKET = 32  # more edges at one vertex are sorted by the library


def count_faulty_edges(faces: Indices, num_vertices: int) -> tuple[int, int]:
    """How many directed edges of faces (F, 3) are repeated, and how many edges run in one direction only.

    Both are 0 exactly if the faces are closed, edge-manifold and consistently oriented.
    """
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    return _count_faulty(start, end, edge_order(start, end, num_vertices))


def unmatched_edges(faces: Indices, num_vertices: int) -> Indices:
    """(R, 2) directed edges of faces (F, 3) that no opposite edge cancels: the boundary of the faces as a chain.

    An edge that k more faces run along than against appears k times.
    """
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    return _unmatched(start, end, edge_order(start, end, num_vertices))


@numba.njit(cache=True)
def edge_order(start: Indices, end: Indices, num_vertices: int) -> Indices:
    """(N,) stable order of edges by their lower, then their higher vertex: one bucket per lower vertex."""
    first = np.zeros(num_vertices + 1, np.int64)
    for i in range(len(start)):
        first[min(start[i], end[i]) + 1] += 1
    for v in range(num_vertices):
        first[v + 1] += first[v]
    order, fill = np.empty(len(start), np.int64), first.copy()
    for i in range(len(start)):
        low = min(start[i], end[i])
        order[fill[low]] = i
        fill[low] += 1
    for v in range(num_vertices):
        bucket = order[first[v] : first[v + 1]]
        if len(bucket) > _LARGE_BUCKET:
            bucket[:] = bucket[np.argsort(np.maximum(start[bucket], end[bucket]), kind="mergesort")]
            continue
        for i in range(1, len(bucket)):
            edge, place = bucket[i], i
            while place > 0 and max(start[bucket[place - 1]], end[bucket[place - 1]]) > max(start[edge], end[edge]):
                bucket[place] = bucket[place - 1]
                place -= 1
            bucket[place] = edge
    return order


@numba.njit(cache=True)
def _run(start: Indices, end: Indices, order: Indices, first: int) -> tuple[int, int, int]:
    """End of the run of equal edges that begins at ``first``, and how many of it go up and down."""
    low, high = min(start[order[first]], end[order[first]]), max(start[order[first]], end[order[first]])
    up = down = 0
    place = first
    while place < len(order):
        a, b = start[order[place]], end[order[place]]
        if min(a, b) != low or max(a, b) != high:
            break
        if a == low:
            up += 1
        else:
            down += 1
        place += 1
    return place, up, down


@numba.njit(cache=True)
def _count_faulty(start: Indices, end: Indices, order: Indices) -> tuple[int, int]:
    repeated = one_way = place = 0
    while place < len(order):
        place, up, down = _run(start, end, order, place)
        repeated += max(up - 1, 0) + max(down - 1, 0)
        one_way += (up == 0) != (down == 0)
    return repeated, one_way


@numba.njit(cache=True)
def _unmatched(start: Indices, end: Indices, order: Indices) -> Indices:
    rows = np.empty((len(order), 2), np.int64)
    size = place = 0
    while place < len(order):
        a, b = start[order[place]], end[order[place]]
        low, high = min(a, b), max(a, b)
        place, up, down = _run(start, end, order, place)
        for _ in range(abs(up - down)):
            rows[size, 0] = low if up > down else high
            rows[size, 1] = high if up > down else low
            size += 1
    return rows[:size].copy()
