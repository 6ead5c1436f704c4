"""Integer winding numbers of a closed surface at any points: the crossings of one line each, counted exactly.

Lines run along the axis in which the surface is shortest. A square grid across that axis lists which faces a line can
meet; as in ``crossings``, positions are snapped to integers and a line on an edge is moved aside by an infinitesimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.grids import bounding_box
from anim_real.meshes.crossings import is_left, side_of

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_BITS = 28  # steps along the longest side of the box
_FACES_PER_BIN = 2
_MAX_LISTED = 16  # bins that a face is listed in, on average
_NEAR = 8.0  # steps: nearer to a face than this, snapping may have changed sides


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """A closed surface, prepared to count.

    Attributes:
        low: (3,) where the steps begin.
        step_m: length of a step.
        steps: (V, 3) vertices in whole steps.
        faces: (F, 3) int64.
        axis: along which lines run.
        shift: log2 of a bin's width in steps.
        shape: bins along the two other axes.
        first: (B + 1,) bin b lists ``listed[first[b]:first[b + 1]]``.
        listed: faces whose box reaches into each bin, int32.
    """

    low: Array
    step_m: float
    steps: Indices
    faces: Indices
    axis: int
    shift: int
    shape: tuple[int, int]
    first: Indices
    listed: NDArray[np.int32]

    @classmethod
    def of(cls, vertices: Array, faces: Indices) -> Columns:
        """Prepare faces (F, 3) that have no boundary."""
        low, high = bounding_box(vertices)
        size = high - low
        step_m = float(size.max()) / (1 << _BITS)
        steps = np.rint((vertices - low) / step_m).astype(np.int64)
        axis = int(size.argmin())
        along, across = (axis + 1) % 3, (axis + 2) % 3
        width = np.sqrt(size[along] * size[across] * _FACES_PER_BIN / len(faces)) / step_m
        shift = int(np.clip(np.log2(max(width, 1.0)), _BITS // 2, _BITS))
        while True:
            shape = (int(size[along] / step_m) + 1 >> shift) + 1, (int(size[across] / step_m) + 1 >> shift) + 1
            first = _sizes(steps, faces, along, across, shift, shape[1], shape[0] * shape[1])
            if first[-1] <= _MAX_LISTED * len(faces) or shift == _BITS:
                break
            shift += 1
        return cls(
            low=low,
            step_m=step_m,
            steps=steps,
            faces=faces,
            axis=axis,
            shift=shift,
            shape=shape,
            first=first,
            listed=_listed(steps, faces, along, across, shift, shape[1], first),
        )

    def count(self, points: Array, first_watched: int) -> tuple[Indices, NDArray[np.bool_]]:
        """(P,) winding number at points (P, 3), and whether a face from ``first_watched`` on may hold the point."""
        local = (points - self.low) / self.step_m
        shape = np.array(self.shape)
        return _count(
            local, self.steps, self.faces, self.axis, self.shift, shape, self.first, self.listed, first_watched
        )


@numba.njit(cache=True)
def _reach(steps: Indices, faces: Indices, f: int, axis: int, shift: int) -> tuple[int, int]:
    """First and last bin of a face along one axis."""
    a, b, c = steps[faces[f, 0], axis], steps[faces[f, 1], axis], steps[faces[f, 2], axis]
    return min(a, b, c) >> shift, max(a, b, c) >> shift


@numba.njit(cache=True)
def _sizes(steps: Indices, faces: Indices, along: int, across: int, shift: int, width: int, num_bins: int) -> Indices:
    """(B + 1,) where the list of each bin begins."""
    first = np.zeros(num_bins + 1, np.int64)
    for f in range(len(faces)):
        low, high = _reach(steps, faces, f, along, shift)
        left, right = _reach(steps, faces, f, across, shift)
        for i in range(low, high + 1):
            for j in range(left, right + 1):
                first[i * width + j + 1] += 1
    for b in range(num_bins):
        first[b + 1] += first[b]
    return first


@numba.njit(cache=True)
def _listed(
    steps: Indices, faces: Indices, along: int, across: int, shift: int, width: int, first: Indices
) -> NDArray[np.int32]:
    """The faces of all bins, bin by bin."""
    listed, fill = np.empty(first[-1], np.int32), first.copy()
    for f in range(len(faces)):
        low, high = _reach(steps, faces, f, along, shift)
        left, right = _reach(steps, faces, f, across, shift)
        for i in range(low, high + 1):
            for j in range(left, right + 1):
                listed[fill[i * width + j]] = f
                fill[i * width + j] += 1
    return listed


@numba.njit(cache=True)
def _count(
    local: Array,
    steps: Indices,
    faces: Indices,
    axis: int,
    shift: int,
    shape: Indices,
    first: Indices,
    listed: NDArray[np.int32],
    first_watched: int,
) -> tuple[Indices, NDArray[np.bool_]]:
    """Sum up the crossings on the line from far away to each point."""
    along, across = (axis + 1) % 3, (axis + 2) % 3
    count, is_near = np.zeros(len(local), np.int64), np.zeros(len(local), np.bool_)
    for p in range(len(local)):
        x, y, z = local[p, axis], int(np.rint(local[p, along])), int(np.rint(local[p, across]))
        i, j = y >> shift, z >> shift
        if i < 0 or j < 0 or i >= shape[0] or j >= shape[1]:
            continue
        for place in range(first[i * shape[1] + j], first[i * shape[1] + j + 1]):
            f = listed[place]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ay, by, cy = steps[a, along], steps[b, along], steps[c, along]
            az, bz, cz = steps[a, across], steps[b, across], steps[c, across]
            if f >= first_watched:
                is_near[p] |= _is_near(steps, a, b, c, local[p, 0], local[p, 1], local[p, 2])
            if min(ay, by, cy) > y or max(ay, by, cy) < y or min(az, bz, cz) > z or max(az, bz, cz) < z:
                continue
            area = side_of(ay, az, by, bz, cy, cz)
            if area == 0:
                continue
            ab = side_of(ay, az, by, bz, y, z)
            bc = side_of(by, bz, cy, cz, y, z)
            ca = side_of(cy, cz, ay, az, y, z)
            if (
                is_left(ab, ay, az, by, bz) != (area > 0)
                or is_left(bc, by, bz, cy, cz) != (area > 0)
                or is_left(ca, cy, cz, ay, az) != (area > 0)
            ):
                continue
            ax, bx, cx = steps[a, axis], steps[b, axis], steps[c, axis]
            if ax + (float(ca) * (bx - ax) + float(ab) * (cx - ax)) / float(area) < x:
                count[p] += -1 if area > 0 else 1
    return count, is_near


@numba.njit(cache=True)
def _is_near(steps: Indices, a: int, b: int, c: int, x: float, y: float, z: float) -> bool:
    """Whether a point is so near to the plane of a face that its side is not sure."""
    ax, ay, az = float(steps[a, 0]), float(steps[a, 1]), float(steps[a, 2])
    ux, uy, uz = steps[b, 0] - ax, steps[b, 1] - ay, steps[b, 2] - az
    vx, vy, vz = steps[c, 0] - ax, steps[c, 1] - ay, steps[c, 2] - az
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    offset = (x - ax) * nx + (y - ay) * ny + (z - az) * nz
    return offset * offset <= _NEAR * _NEAR * (nx * nx + ny * ny + nz * nz)
