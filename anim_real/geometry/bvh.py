"""A tree of boxes over triangles for nearest-point queries, in double precision.

Triangles are put in Morton order, four to a leaf and eight children to a node, all levels complete: so the tree needs
no links and takes one sort and one pass to build. A query goes down the nearest box first (Roussopoulos et al. 1995)
and begins with the face that its predecessor found, which bounds it well when queries are near each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import morton_keys

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_LEAF = 4
_CHILDREN = 8
_STACK = 256  # at most 7 siblings wait on each of the levels: 21 of them hold 4 * 8^21 triangles
_FLAT = 1e-14  # squared sine of a corner's angle: narrower triangles are lines
BATCH = 2048  # queries that follow each other; each batch begins anew, so that results do not depend on threads


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """Boxes over F triangles.

    Attributes:
        corners: (F, 9) positions of the three corners, in the order of the leaves.
        face: (F,) number of each triangle as given.
        boxes: (N, 6, 8) lower and upper sides of the children of every node; the lowest level first.
        level: (L + 1,) nodes of level l are level[l]..level[l + 1]; the children of the lowest are leaves.
    """

    corners: Array
    face: Indices
    boxes: Array
    level: Indices

    @classmethod
    def of(cls, vertices: Array, faces: Indices) -> Tree:
        """Build the tree of triangles (F, 3) with vertices (V, 3)."""
        keys, index_mask = morton_keys(_middles(vertices, faces))
        keys.sort()
        sizes = [-(-len(faces) // (_LEAF * _CHILDREN))]
        while sizes[-1] > 1:
            sizes.append(-(-sizes[-1] // _CHILDREN))
        level = np.concatenate([[0], np.cumsum(sizes)])
        face = keys & index_mask
        corners = _gathered(vertices, faces, face)
        return cls(corners=corners, face=face, boxes=_boxes(corners, level), level=level)


@numba.njit(cache=True)
def _middles(vertices: Array, faces: Indices) -> Array:
    """(F, 3) middles of the boxes of triangles."""
    middles = np.empty((len(faces), 3))
    for f in range(len(faces)):
        for k in range(3):
            a, b, c = vertices[faces[f, 0], k], vertices[faces[f, 1], k], vertices[faces[f, 2], k]
            middles[f, k] = 0.5 * (min(a, b, c) + max(a, b, c))
    return middles


@numba.njit(cache=True)
def _gathered(vertices: Array, faces: Indices, order: Indices) -> Array:
    """(F, 9) corners of triangles in some order."""
    corners = np.empty((len(order), 9))
    for i in range(len(order)):
        for c in range(3):
            for k in range(3):
                corners[i, 3 * c + k] = vertices[faces[order[i], c], k]
    return corners


@numba.njit(cache=True)
def _boxes(corners: Array, level: Indices) -> Array:
    """(N, 6, 8) boxes of all levels; children that do not exist are infinitely far."""
    boxes = np.empty((level[-1], 6, _CHILDREN))
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    for i in range(len(corners)):
        node, child = i // (_LEAF * _CHILDREN), i // _LEAF % _CHILDREN
        for k in range(3):
            a, b, c = corners[i, k], corners[i, 3 + k], corners[i, 6 + k]
            boxes[node, k, child] = min(boxes[node, k, child], a, b, c)
            boxes[node, 3 + k, child] = max(boxes[node, 3 + k, child], a, b, c)
    for above in range(1, len(level) - 1):
        for below in range(level[above] - level[above - 1]):
            node, child = level[above] + below // _CHILDREN, below % _CHILDREN
            for k in range(3):
                boxes[node, k, child] = boxes[level[above - 1] + below, k].min()
                boxes[node, 3 + k, child] = boxes[level[above - 1] + below, 3 + k].max()
    return boxes


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _weights(corners: Array, row: int, x: float, y: float, z: float) -> tuple[float, float]:
    """Weights of the second and third corner at the nearest point of a triangle (Ericson 2005, 5.1.5)."""
    ax, ay, az = corners[row, 0], corners[row, 1], corners[row, 2]
    ux, uy, uz = corners[row, 3] - ax, corners[row, 4] - ay, corners[row, 5] - az
    vx, vy, vz = corners[row, 6] - ax, corners[row, 7] - ay, corners[row, 8] - az
    x, y, z = x - ax, y - ay, z - az
    u_a, v_a = ux * x + uy * y + uz * z, vx * x + vy * y + vz * z
    if u_a <= 0.0 and v_a <= 0.0:
        return 0.0, 0.0
    uv = ux * vx + uy * vy + uz * vz
    u_b, v_b = u_a - (ux * ux + uy * uy + uz * uz), v_a - uv
    if u_b >= 0.0 and v_b <= u_b:
        return 1.0, 0.0
    u_c, v_c = u_a - uv, v_a - (vx * vx + vy * vy + vz * vz)
    if v_c >= 0.0 and u_c <= v_c:
        return 0.0, 1.0
    third = u_a * v_b - u_b * v_a
    if third <= 0.0 and u_a >= 0.0 and u_b <= 0.0 and u_a > u_b:
        return u_a / (u_a - u_b), 0.0
    second = u_c * v_a - u_a * v_c
    if second <= 0.0 and v_a >= 0.0 and v_c <= 0.0 and v_a > v_c:
        return 0.0, v_a / (v_a - v_c)
    first = u_b * v_c - u_c * v_b
    along, size = v_b - u_b, (v_b - u_b) + (u_c - v_c)
    if first <= 0.0 and along >= 0.0 and along <= size and size > 0.0:
        return 1.0 - along / size, along / size
    total = first + second + third  # the squared normal
    if total <= _FLAT * (u_a - u_b) * (v_a - v_c):
        return _weights_on_sides(corners, row, ax + x, ay + y, az + z)
    return second / total, third / total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weights_on_sides(corners: Array, row: int, x: float, y: float, z: float) -> tuple[float, float]:
    """The same for a triangle without area: the nearest point of its three sides."""
    best, v, w = np.inf, 0.0, 0.0
    for k in range(3):
        a, b = 3 * k, 3 * ((k + 1) % 3)
        ux, uy, uz = (
            corners[row, b] - corners[row, a],
            corners[row, b + 1] - corners[row, a + 1],
            corners[row, b + 2] - corners[row, a + 2],
        )
        px, py, pz = x - corners[row, a], y - corners[row, a + 1], z - corners[row, a + 2]
        along = min(max((px * ux + py * uy + pz * uz) / max(ux * ux + uy * uy + uz * uz, 1e-300), 0.0), 1.0)
        squared = (px - along * ux) ** 2 + (py - along * uy) ** 2 + (pz - along * uz) ** 2
        if squared < best:
            best = squared
            v = (1.0 - along) * (k == 1) + along * (k == 0)
            w = (1.0 - along) * (k == 2) + along * (k == 1)
    return v, w


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _place_on(corners: Array, row: int, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Nearest point of a triangle, and the squared distance to it."""
    v, w = _weights(corners, row, x, y, z)
    u = 1.0 - v - w
    px = u * corners[row, 0] + v * corners[row, 3] + w * corners[row, 6]
    py = u * corners[row, 1] + v * corners[row, 4] + w * corners[row, 7]
    pz = u * corners[row, 2] + v * corners[row, 5] + w * corners[row, 8]
    return px, py, pz, (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2


# without NaN, max() is one instruction; without Python's errors, loops become vector instructions
@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def nearest(
    points: Array, begin: int, end: int, corners: Array, boxes: Array, level: Indices, place: Array, found: Indices
) -> None:
    """Write the nearest places (P, 3) of points begin..end of (P, 3), and the (P,) rows of ``corners`` they lie on.

    ``begin`` must be a multiple of ``BATCH``.
    """
    nodes, levels, gaps = np.empty(_STACK, np.int64), np.empty(_STACK, np.int64), np.empty(_STACK)
    gap = np.empty(_CHILDREN)
    best = 0
    for q in range(begin, end):
        x, y, z = points[q, 0], points[q, 1], points[q, 2]
        if q % BATCH == 0:
            best = 0
        place[q, 0], place[q, 1], place[q, 2], limit = _place_on(corners, best, x, y, z)
        nodes[0], levels[0], gaps[0] = 0, len(level) - 2, 0.0
        size = 1
        while size > 0:
            size -= 1
            if gaps[size] >= limit:
                continue
            node, at = nodes[size], levels[size]
            if at < 0:
                for i in range(node * _LEAF, min(len(corners), (node + 1) * _LEAF)):
                    px, py, pz, squared = _place_on(corners, i, x, y, z)
                    if squared < limit:
                        limit, best = squared, i
                        place[q, 0], place[q, 1], place[q, 2] = px, py, pz
                continue
            row = level[at] + node
            for c in range(_CHILDREN):
                dx = max(boxes[row, 0, c] - x, x - boxes[row, 3, c], 0.0)
                dy = max(boxes[row, 1, c] - y, y - boxes[row, 4, c], 0.0)
                dz = max(boxes[row, 2, c] - z, z - boxes[row, 5, c], 0.0)
                gap[c] = dx * dx + dy * dy + dz * dz
            first = size
            for c in range(_CHILDREN):
                if gap[c] >= limit:
                    continue
                slot = size
                while slot > first and gaps[slot - 1] < gap[c]:
                    nodes[slot], levels[slot], gaps[slot] = nodes[slot - 1], levels[slot - 1], gaps[slot - 1]
                    slot -= 1
                nodes[slot], levels[slot], gaps[slot] = node * _CHILDREN + c, at - 1, gap[c]
                size += 1
        found[q] = best
