"""The calibration target: a solid with ChArUco boards on its sides and spheres above it.

Written by people as ``calibration/targets/<name>.toml``, in metres. Target frame: y up, origin at the
centre of the body's bottom, side 0 faces +z. Sides are counted counter-clockwise seen from above.
A prism of n sides has sides 0..n-1; a plate has side 0 (front, +z) and side 1 (back).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from anim_real.errors import ConfigError
from anim_real.resources import find
from anim_real.specs import Spec, load_toml

_FIT_TOLERANCE_M = 1e-9  # rounding of decimal sizes


class PrismBody(Spec):
    """An upright regular prism."""

    kind: Literal["prism"]
    sides: int = Field(ge=3, le=12)
    side_m: float = Field(gt=0, description="width of one side")
    height_m: float = Field(gt=0)

    @property
    def num_sides(self) -> int:
        """Number of sides that can carry a board."""
        return self.sides

    @property
    def width_m(self) -> float:
        """Width of a side."""
        return self.side_m

    @property
    def apothem_m(self) -> float:
        """Distance from the axis to a side."""
        return self.side_m / (2.0 * math.tan(math.pi / self.sides))


class PlateBody(Spec):
    """An upright flat plate."""

    kind: Literal["plate"]
    width_m: float = Field(gt=0)
    height_m: float = Field(gt=0)
    thickness_m: float = Field(gt=0)

    @property
    def num_sides(self) -> int:
        """Front and back."""
        return 2


class BoardSpec(Spec):
    """A ChArUco board, centred on a side of the body; its first square (top left) is black.

    Attributes:
        side: which side of the body carries it.
        columns, rows: number of squares.
        square_m, marker_m: edge lengths of a chessboard square and of a marker.
        first_marker: dictionary id of the first marker; the others follow.
    """

    side: int = Field(ge=0)
    columns: int = Field(ge=2)
    rows: int = Field(ge=2)
    square_m: float = Field(gt=0)
    marker_m: float = Field(gt=0)
    first_marker: int = Field(ge=0)

    @property
    def num_markers(self) -> int:
        """Markers sit in the white squares."""
        return self.columns * self.rows // 2

    @property
    def num_corners(self) -> int:
        """Inner chessboard corners."""
        return (self.columns - 1) * (self.rows - 1)


class SphereSpec(Spec):
    """A sphere on a post. ``center`` in the target frame; the post runs straight down into the body."""

    center: tuple[float, float, float]
    radius_m: float = Field(gt=0)
    post_radius_m: float = Field(default=0.0, ge=0, description="0 = no post")


class TargetSpec(Spec):
    """Content of ``calibration/targets/<name>.toml``."""

    schema_: Literal["anim-real/target/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    dictionary: str = Field(pattern=r"^DICT_[A-Z0-9_]+$", description="name of an OpenCV ArUco dictionary")
    body: Annotated[PrismBody | PlateBody, Field(discriminator="kind")]
    boards: tuple[BoardSpec, ...] = Field(min_length=1)
    spheres: tuple[SphereSpec, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TargetSpec:
        used: set[int] = set()
        for index, board in enumerate(self.boards):
            where = f"boards.{index}"
            if board.side >= self.body.num_sides:
                raise ValueError(f"{where}: side {board.side} does not exist, the body has {self.body.num_sides}")
            if board.marker_m >= board.square_m:
                raise ValueError(f"{where}: marker_m must be smaller than square_m")
            width, height = board.columns * board.square_m, board.rows * board.square_m
            if width > self.body.width_m + _FIT_TOLERANCE_M or height > self.body.height_m + _FIT_TOLERANCE_M:
                raise ValueError(f"{where}: {width:.3f} x {height:.3f} m does not fit on its side")
            ids = set(range(board.first_marker, board.first_marker + board.num_markers))
            if used & ids:
                raise ValueError(f"{where}: marker ids {sorted(used & ids)[:4]} are used by another board")
            used |= ids
        if len({board.side for board in self.boards}) != len(self.boards):
            raise ValueError("two boards lie on the same side")
        return self


def load_target_spec(name: str) -> tuple[TargetSpec, Path]:
    """Find and read a target by name or path; return it with its file."""
    path = find("calibration/targets", name)
    spec = load_toml(TargetSpec, path)
    if spec.name != path.stem:
        raise ConfigError(
            f"name is {spec.name!r} but the file is called {path.stem!r}", where=path, fix="Make them equal"
        )
    return spec, path
