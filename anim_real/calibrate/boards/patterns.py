"""What is printed on the sides of a target: black areas of a grid, and triangles (origin top left, x right, y down, m).

A side carries one board, or several single markers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.banners import banner_cells, cell_edges
from anim_real.calibrate.boards.target import Board, Target, side_frame
from anim_real.target import BannerSpec, BoardSpec, MarkerSpec

Array = NDArray[np.float64]
_NO_TRIANGLES = np.zeros((0, 3, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """The black areas of a side.

    Attributes:
        x_edges: (C + 1,) column edges.
        y_edges: (R + 1,) row edges.
        is_black: (R, C).
        triangles: (T, 3, 2) further black triangles, x and y.
    """

    x_edges: Array
    y_edges: Array
    is_black: NDArray[np.bool_]
    triangles: Array


def side_pattern(target: Target, side: int) -> Pattern:
    """Pattern of a whole side: its boards on white."""
    _, (width, height) = side_frame(target.spec, side)
    pattern = Pattern(
        x_edges=np.array([0.0, width]),
        y_edges=np.array([0.0, height]),
        is_black=np.zeros((1, 1), bool),
        triangles=_NO_TRIANGLES,
    )
    for board in target.boards:
        if board.spec.side == side:
            pattern = _merged(pattern, _board_pattern(board, target.dictionary))
    return pattern


def rectangles(pattern: Pattern) -> Array:
    """(N, 4) x, y, width, height of the black rectangles; runs of black cells in a row are one."""
    boxes = []
    for row, cells in enumerate(pattern.is_black):
        edges = np.flatnonzero(np.diff(np.r_[False, cells, False].astype(int)))
        top, bottom = pattern.y_edges[row], pattern.y_edges[row + 1]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            left, right = pattern.x_edges[start], pattern.x_edges[stop]
            boxes.append((left, top, right - left, bottom - top))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _board_pattern(board: Board, dictionary: cv2.aruco.Dictionary) -> Pattern:
    """One board in its place on the side."""
    width, height = board.side_size
    x, y = width / 2 + board.spec.center[0], height / 2 - board.spec.center[1]
    match board.spec:
        case BoardSpec() as spec:
            steps = _square_steps(spec, dictionary)
            left, top = x - spec.size[0] / 2, y - spec.size[1] / 2
            columns = left + (np.arange(spec.columns)[:, None] * spec.square_m + steps[:-1]).ravel()
            rows = top + (np.arange(spec.rows)[:, None] * spec.square_m + steps[:-1]).ravel()
            black = _board_cells(spec, dictionary) ^ spec.inverted
            return Pattern(
                x_edges=np.r_[columns, left + spec.size[0]],
                y_edges=np.r_[rows, top + spec.size[1]],
                is_black=black,
                triangles=_NO_TRIANGLES,
            )
        case MarkerSpec() as spec:
            num_cells = dictionary.markerSize + 2
            steps = (np.arange(num_cells + 1) / num_cells - 0.5) * spec.marker_m
            bits = _marker_bits(dictionary, spec.first_marker)
            if spec.inverted:
                bits = np.pad(~bits, 1, constant_values=True)
                cell = spec.marker_m / num_cells
                steps = np.r_[steps[0] - cell, steps, steps[-1] + cell]
            return Pattern(x_edges=x + steps, y_edges=y + steps, is_black=bits, triangles=_NO_TRIANGLES)
        case BannerSpec() as spec:
            return _banner_pattern(spec, x, y)


def _banner_pattern(spec: BannerSpec, x: float, y: float) -> Pattern:
    """Code cells in a rectangle down to the notch, and a triangle at either side of it."""
    across, down = cell_edges(spec)  # y up
    notch, left_bottom, left_top, right_top, right_bottom = (np.array(corner) for corner in spec.corners())
    black = np.pad(~banner_cells(spec.first_marker), 1, constant_values=True)
    inner_left, inner_right = np.array([left_top[0], notch[1]]), np.array([right_top[0], notch[1]])
    triangles = np.array([[inner_left, notch, left_bottom], [inner_right, notch, right_bottom]])
    return Pattern(
        x_edges=x + np.r_[left_top[0], across, right_top[0]],
        y_edges=y - np.r_[left_top[1], down, notch[1]],
        is_black=black,
        triangles=np.array([x, y]) + triangles * (1.0, -1.0),
    )


def _merged(first: Pattern, second: Pattern) -> Pattern:
    """Both patterns on a common grid."""
    x_edges = _union(first.x_edges, second.x_edges)
    y_edges = _union(first.y_edges, second.y_edges)
    black = np.zeros((len(y_edges) - 1, len(x_edges) - 1), bool)
    for pattern in (first, second):
        rows = _cells_of((y_edges[1:] + y_edges[:-1]) / 2, pattern.y_edges)
        columns = _cells_of((x_edges[1:] + x_edges[:-1]) / 2, pattern.x_edges)
        padded = np.pad(pattern.is_black, 1)
        black |= padded[rows[:, None] + 1, columns[None, :] + 1]
    triangles = np.concatenate([first.triangles, second.triangles])
    return Pattern(x_edges=x_edges, y_edges=y_edges, is_black=black, triangles=triangles)


def _union(first: Array, second: Array) -> Array:
    edges = np.sort(np.concatenate([first, second]))
    return edges[np.r_[True, np.diff(edges) > 1e-9]]  # metres: the same edge, rounded


def _cells_of(centers: Array, edges: Array) -> NDArray[np.int64]:
    """Index of the cell that holds each centre; -1 or the number of cells outside."""
    return np.searchsorted(edges, centers) - 1


def _square_steps(spec: BoardSpec, dictionary: cv2.aruco.Dictionary) -> Array:
    """Edges within one square: its border, then the marker's cells."""
    margin = (spec.square_m - spec.marker_m) / 2
    num_cells = dictionary.markerSize + 2
    return np.r_[0.0, margin + np.arange(num_cells + 1) * spec.marker_m / num_cells, spec.square_m]


def _board_cells(spec: BoardSpec, dictionary: cv2.aruco.Dictionary) -> NDArray[np.bool_]:
    """Black cells of all squares: plain squares and markers alternate, the first is plain unless it is white."""
    num_cells = dictionary.markerSize + 4
    cells = np.zeros((spec.rows, num_cells, spec.columns, num_cells), bool)
    markers: Iterator[int] = iter(spec.marker_ids)
    for row in range(spec.rows):
        for column in range(spec.columns):
            if (row + column) % 2 == int(spec.first_is_white):
                cells[row, :, column, :] = True
            else:
                cells[row, 1:-1, column, 1:-1] = _marker_bits(dictionary, next(markers))
    return cells.reshape(spec.rows * num_cells, spec.columns * num_cells)


def _marker_bits(dictionary: cv2.aruco.Dictionary, number: int) -> NDArray[np.bool_]:
    """(C, C) black cells of a marker with its black border."""
    return np.asarray(cv2.aruco.generateImageMarker(dictionary, number, dictionary.markerSize + 2) < 128)
