"""ChArUco boards placed on a target: poses, corner and marker ids, the printed pattern (metres, target frame, y up).

Corner ids run over all boards of a target: board after board, each row by row from its top left
inner corner, as OpenCV numbers the corners of one ChArUco board.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.geometry.frames import Rigid
from anim_real.target import BoardSpec, PrismBody, SphereSpec, TargetSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """One ChArUco board of a target.

    Attributes:
        index: position among the target's boards.
        spec: its squares and markers.
        T_target_board: board frame = origin at the centre of its side, x right, y up, z out of the side.
        side_size: (width, height) of the side that carries it, metres.
        first_corner: id of its first corner.
    """

    index: int
    spec: BoardSpec
    T_target_board: Rigid
    side_size: tuple[float, float]
    first_corner: int

    @property
    def marker_ids(self) -> NDArray[np.int32]:
        """(M,) dictionary ids of its markers."""
        return np.arange(self.spec.first_marker, self.spec.first_marker + self.spec.num_markers, dtype=np.int32)

    @property
    def corner_ids(self) -> NDArray[np.int64]:
        """(N,) ids of its corners."""
        return np.arange(self.first_corner, self.first_corner + self.spec.num_corners)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the printed squares, metres."""
        return self.spec.columns * self.spec.square_m, self.spec.rows * self.spec.square_m

    def corners_board(self) -> Array:
        """(N, 3) corners in the board frame."""
        width, height = self.size
        column, row = np.meshgrid(np.arange(1, self.spec.columns), np.arange(1, self.spec.rows))
        x = column.ravel() * self.spec.square_m - width / 2
        y = height / 2 - row.ravel() * self.spec.square_m
        return np.stack([x, y, np.zeros(len(x))], 1).astype(np.float64)

    def opencv(self, dictionary: cv2.aruco.Dictionary) -> cv2.aruco.CharucoBoard:
        """Return the same board for OpenCV's detectors."""
        return cv2.aruco.CharucoBoard(
            (self.spec.columns, self.spec.rows), self.spec.square_m, self.spec.marker_m, dictionary, self.marker_ids
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A target with its boards placed.

    Attributes:
        spec: what its TOML says.
        boards: the boards in the target frame.
    """

    spec: TargetSpec
    boards: tuple[Board, ...]

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.spec.name

    @property
    def spheres(self) -> tuple[SphereSpec, ...]:
        """Its spheres, target frame."""
        return self.spec.spheres

    @cached_property
    def dictionary(self) -> cv2.aruco.Dictionary:
        """OpenCV's marker dictionary."""
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.spec.dictionary))


def make_target(spec: TargetSpec, *, where: object = "target") -> Target:
    """Place the boards of a spec."""
    if not hasattr(cv2.aruco, spec.dictionary):
        raise ConfigError(f"OpenCV has no dictionary {spec.dictionary}", where=f"{where}:dictionary")
    held = len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary)).bytesList)
    needed = max(board.first_marker + board.num_markers for board in spec.boards)
    if needed > held:
        raise ConfigError(f"{spec.dictionary} holds {held} markers, {needed} are needed", where=f"{where}:boards")
    boards: list[Board] = []
    first_corner = 0
    for index, board in enumerate(spec.boards):
        pose, size = side_frame(spec, board.side)
        boards.append(Board(index=index, spec=board, T_target_board=pose, side_size=size, first_corner=first_corner))
        first_corner += board.num_corners
    return Target(spec=spec, boards=tuple(boards))


def corner_positions(target: Target) -> tuple[NDArray[np.int64], Array]:
    """Ids (N,) and nominal positions (N, 3) of every corner in the target frame, metres."""
    ids = np.concatenate([board.corner_ids for board in target.boards])
    points = np.concatenate([board.T_target_board.apply(board.corners_board()) for board in target.boards])
    return ids, points


def side_frame(spec: TargetSpec, side: int) -> tuple[Rigid, tuple[float, float]]:
    """Pose ``T_target_board`` (origin at the side's centre, x right, y up, z outward) and size of a side, metres."""
    body = spec.body
    if isinstance(body, PrismBody):
        angle, reach = 2.0 * np.pi * side / body.sides, body.apothem_m
    else:
        angle, reach = np.pi * side, body.thickness_m / 2
    normal = np.array([np.sin(angle), 0.0, np.cos(angle)])
    right = np.array([np.cos(angle), 0.0, -np.sin(angle)])
    up = np.array([0.0, 1.0, 0.0])
    center = normal * reach + up * body.height_m / 2
    return Rigid.from_parts("target", "board", np.stack([right, up, normal], 1), center), (body.width_m, body.height_m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """What is printed on a side: black and white rectangles of a grid; origin top left, x right, y down, metres.

    Attributes:
        x_edges: (C + 1,) column edges.
        y_edges: (R + 1,) row edges.
        is_black: (R, C).
    """

    x_edges: Array
    y_edges: Array
    is_black: NDArray[np.bool_]


def side_pattern(target: Target, side: int) -> Pattern:
    """Pattern of a whole side: its board (if any) centred on white."""
    _, (width, height) = side_frame(target.spec, side)
    board = next((board for board in target.boards if board.spec.side == side), None)
    if board is None:
        return Pattern(x_edges=np.array([0.0, width]), y_edges=np.array([0.0, height]), is_black=np.zeros((1, 1), bool))
    inner = _board_cells(board, target.dictionary)
    steps = _square_steps(board.spec, target.dictionary)
    left, top = (width - board.size[0]) / 2, (height - board.size[1]) / 2
    x = left + (np.arange(board.spec.columns)[:, None] * board.spec.square_m + steps[:-1]).ravel()
    y = top + (np.arange(board.spec.rows)[:, None] * board.spec.square_m + steps[:-1]).ravel()
    return Pattern(
        x_edges=np.r_[0.0, x, width - left, width],
        y_edges=np.r_[0.0, y, height - top, height],
        is_black=np.pad(inner, 1),
    )


def _square_steps(spec: BoardSpec, dictionary: cv2.aruco.Dictionary) -> Array:
    """Edges within one square: its border, then the marker's cells."""
    margin = (spec.square_m - spec.marker_m) / 2
    num_cells = dictionary.markerSize + 2
    return np.r_[0.0, margin + np.arange(num_cells + 1) * spec.marker_m / num_cells, spec.square_m]


def _board_cells(board: Board, dictionary: cv2.aruco.Dictionary) -> NDArray[np.bool_]:
    """Black cells of all squares: black squares where column + row is even, markers in the others (OpenCV >= 4.6)."""
    num_cells = dictionary.markerSize + 4
    cells = np.zeros((board.spec.rows, num_cells, board.spec.columns, num_cells), bool)
    markers = iter(board.marker_ids)
    for row in range(board.spec.rows):
        for column in range(board.spec.columns):
            if (row + column) % 2 == 0:
                cells[row, :, column, :] = True
            else:
                bits = cv2.aruco.generateImageMarker(dictionary, int(next(markers)), num_cells - 2) < 128
                cells[row, 1:-1, column, 1:-1] = bits
    return cells.reshape(board.spec.rows * num_cells, board.spec.columns * num_cells)
