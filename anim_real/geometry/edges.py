"""Edges of triangle meshes, put in order in linear time. No positions, no units.

Edge 3 f + k of F faces is the one opposite to corner k of face f, in the face's direction.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
_LARGE_BUCKET = 32  # more edges at one vertex are sorted by the library


@numba.njit(cache=True)
def directed_edges(faces: Indices) -> tuple[Indices, Indices]:
    """Start and end (3 F,) of the edges of faces (F, 3)."""
    start, end = np.empty(3 * len(faces), np.int64), np.empty(3 * len(faces), np.int64)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        start[3 * f], start[3 * f + 1], start[3 * f + 2] = b, c, a
        end[3 * f], end[3 * f + 1], end[3 * f + 2] = c, a, b
    return start, end


def count_faulty_edges(faces: Indices, num_vertices: int) -> tuple[int, int]:
    """How many directed edges of faces (F, 3) are repeated, and how many edges run in one direction only.

    Both are 0 exactly if the faces are closed, edge-manifold and consistently oriented.
    """
    start, end = directed_edges(faces)
    return _count_faulty(start, *sorted_edges(start, end, num_vertices))


def unmatched(start: Indices, end: Indices, num_vertices: int) -> Indices:
    """(R, 2) those of directed edges (N,) that no opposite one cancels: of faces' edges, their boundary as a chain.

    An edge that k more run along than against appears k times.
    """
    return _unmatched(start, *sorted_edges(start, end, num_vertices))


def edge_order(start: Indices, end: Indices, num_vertices: int) -> Indices:
    """(N,) stable order of edges by their lower, then their higher vertex."""
    _, packed, bits = sorted_edges(start, end, num_vertices)
    return packed & (1 << bits) - 1


def sorted_edges(start: Indices, end: Indices, num_vertices: int) -> tuple[Indices, Indices, int]:
    """Edges by their lower, then their higher vertex, then in the order given.

    Returns:
        (V + 1,) first place of each lower vertex; (N,) higher vertex and number of the edge in one integer;
        and how many bits the number takes.
    """
    bits = max(1, (len(start) - 1).bit_length())
    assert bits + num_vertices.bit_length() < 63
    return *_sorted(start, end, num_vertices, bits), bits


@numba.njit(cache=True)
def _sorted(start: Indices, end: Indices, num_vertices: int, bits: int) -> tuple[Indices, Indices]:
    """One bucket per lower vertex."""
    first = np.zeros(num_vertices + 2, np.int64)  # shifted by one while the buckets are filled
    for i in range(len(start)):
        first[min(start[i], end[i]) + 2] += 1
    for v in range(num_vertices):
        first[v + 2] += first[v + 1]
    packed = np.empty(len(start), np.int64)
    for i in range(len(start)):
        low = min(start[i], end[i])
        packed[first[low + 1]] = max(start[i], end[i]) << bits | i
        first[low + 1] += 1
    for v in range(num_vertices):
        begin, stop = first[v], first[v + 1]
        if stop - begin > _LARGE_BUCKET:
            packed[begin:stop].sort()
            continue
        for i in range(begin + 1, stop):
            edge, place = packed[i], i
            while place > begin and packed[place - 1] > edge:
                packed[place] = packed[place - 1]
                place -= 1
            packed[place] = edge
    return first[: num_vertices + 1], packed


@numba.njit(cache=True)
def run_of(packed: Indices, begin: int, stop: int, bits: int) -> int:
    """End of the run of equal edges that begins at ``begin``, in a bucket that ends at ``stop``."""
    high = packed[begin] >> bits
    place = begin + 1
    while place < stop and packed[place] >> bits == high:
        place += 1
    return place


@numba.njit(cache=True)
def _num_up(start: Indices, packed: Indices, begin: int, stop: int, mask: int, low: int) -> int:
    """How many edges of a run go from their lower vertex to the higher."""
    up = 0
    for i in range(begin, stop):
        up += start[packed[i] & mask] == low
    return up


@numba.njit(cache=True)
def _count_faulty(start: Indices, first: Indices, packed: Indices, bits: int) -> tuple[int, int]:
    repeated = one_way = 0
    for low in range(len(first) - 1):
        place = first[low]
        while place < first[low + 1]:
            stop = run_of(packed, place, first[low + 1], bits)
            up = _num_up(start, packed, place, stop, (1 << bits) - 1, low)
            down = stop - place - up
            repeated += max(up - 1, 0) + max(down - 1, 0)
            one_way += (up == 0) != (down == 0)
            place = stop
    return repeated, one_way


@numba.njit(cache=True)
def _unmatched(start: Indices, first: Indices, packed: Indices, bits: int) -> Indices:
    rows = np.empty((len(packed), 2), np.int64)
    size = 0
    for low in range(len(first) - 1):
        place = first[low]
        while place < first[low + 1]:
            high = packed[place] >> bits
            stop = run_of(packed, place, first[low + 1], bits)
            excess = 2 * _num_up(start, packed, place, stop, (1 << bits) - 1, low) - (stop - place)
            for _ in range(abs(excess)):
                rows[size, 0] = low if excess > 0 else high
                rows[size, 1] = high if excess > 0 else low
                size += 1
            place = stop
    return rows[:size].copy()
