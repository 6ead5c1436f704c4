"""Boards placed on a target: poses, corner and marker ids (metres, target frame, y up).

Corner ids run over all boards of a target: board after board, each in the order of its spec
(a ChArUco board row by row from its top left inner corner, as OpenCV numbers them).
What is printed on the sides is in ``patterns``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.geometry.frames import Rigid
from anim_real.target import AnyBoardSpec, BoardSpec, PrismBody, SphereSpec, TargetSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """One board of a target.

    Attributes:
        index: position among the target's boards.
        spec: its squares, marker or banner.
        T_target_board: board frame = origin at the board's centre, x right, y up, z out of the side.
        side_size: (width, height) of the side that carries it, metres.
        first_corner: id of its first corner.
    """

    index: int
    spec: AnyBoardSpec
    T_target_board: Rigid
    side_size: tuple[float, float]
    first_corner: int

    @property
    def marker_ids(self) -> NDArray[np.int32]:
        """(M,) ids of its markers."""
        return np.array(self.spec.marker_ids, dtype=np.int32)

    @property
    def corner_ids(self) -> NDArray[np.int64]:
        """(N,) ids of its corners."""
        return np.arange(self.first_corner, self.first_corner + self.spec.num_corners)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of what is printed, metres."""
        return self.spec.size

    def corners_board(self) -> Array:
        """(N, 3) corners in the board frame."""
        plane = np.array(self.spec.corners(), dtype=np.float64)
        return np.pad(plane, ((0, 0), (0, 1)))


def opencv_board(spec: BoardSpec, dictionary: cv2.aruco.Dictionary) -> cv2.aruco.CharucoBoard:
    """Return a ChArUco board for OpenCV's detectors."""
    ids = np.array(spec.marker_ids, dtype=np.int32)
    board = cv2.aruco.CharucoBoard((spec.columns, spec.rows), spec.square_m, spec.marker_m, dictionary, ids)
    board.setLegacyPattern(spec.legacy)
    return board


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
    needed = max((board.marker_ids.stop for board in spec.boards if board.kind != "banner"), default=0)
    if needed > held:
        raise ConfigError(f"{spec.dictionary} holds {held} markers, {needed} are needed", where=f"{where}:boards")
    boards: list[Board] = []
    first_corner = 0
    for index, board in enumerate(spec.boards):
        pose, size = side_frame(spec, board.side)
        pose = pose @ Rigid.from_parts("board", "board", np.eye(3), np.array([*board.center, 0.0]))
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
