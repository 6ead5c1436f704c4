"""Parts of a point cloud: connected groups, and what lies off the planes of a room. Metres, any frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_BACKGROUND_PLANE_M = 1.2  # a plane that reaches farther is floor or wall
_PLANE_TOLERANCE_M = 0.015
_MIN_PLANE_SHARE = 0.05
_GAP_M = 0.045
_MAX_GROUPS = 8


def clusters(points: Array) -> list[NDArray[np.int64]]:
    """Indices of every connected group of points, the largest first."""
    if len(points) == 0:
        return []
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    cell = np.floor(points / (_GAP_M / 2)).astype(np.int64)
    cell -= cell.min(0)
    size = cell.max(0) + 1
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]  # one number per cell sorts faster than three
    _, first, member = np.unique(key, return_index=True, return_inverse=True)
    cells = cell[first]
    pairs = cKDTree(cells).query_pairs(1.8, output_type="ndarray")  # cells that touch by a face or an edge
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(cells), len(cells)))
    labels = np.asarray(connected_components(graph, directed=False)[1])[member]
    largest = np.argsort(-np.bincount(labels), kind="stable")[:_MAX_GROUPS]
    return [np.flatnonzero(labels == label) for label in largest]


def off_planes(points: Array) -> NDArray[np.int64]:
    """Indices of the points that lie on no plane larger than any object."""
    rng = np.random.default_rng(1)
    kept = np.arange(len(points))
    for _ in range(6):
        if len(kept) < 50:
            break
        sample = points[kept[rng.integers(len(kept), size=min(len(kept), 3_000))]]
        triples = sample[rng.integers(len(sample), size=(400, 3))]
        normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        away = np.abs(sample @ normals.T - np.einsum("ni,ni->n", normals, triples[:, 0]))
        best = int((away < _PLANE_TOLERANCE_M).sum(0).argmax())
        inside = sample[away[:, best] < _PLANE_TOLERANCE_M]
        middle = inside.mean(0)
        normal = np.linalg.svd(inside - middle, full_matrices=False)[2][2]
        on_plane = np.abs((points[kept] - middle) @ normal) < 1.5 * _PLANE_TOLERANCE_M
        if on_plane.mean() < _MIN_PLANE_SHARE or extent(points[kept[on_plane]]) < _BACKGROUND_PLANE_M:
            break
        kept = kept[~on_plane]
    return kept


def extent(points: Array) -> float:
    """Diagonal of the box along the points' principal axes, without the outermost 1 %."""
    centered = points - points.mean(0)
    axes = np.linalg.eigh(centered.T @ centered)[1]
    low, high = np.percentile(centered @ axes, (0.5, 99.5), axis=0)
    return float(np.linalg.norm(high - low))
