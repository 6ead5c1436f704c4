"""The calibration target: a solid with boards on its sides and spheres above it, or a scanned object without marks.

Written by people as ``calibration/targets/<name>.toml``, in metres. Target frame: y up, origin at the
centre of the body's bottom, side 0 faces +z. Sides are counted counter-clockwise seen from above.
A prism of n sides has sides 0..n-1; a plate has side 0 (front, +z) and side 1 (back).
Board frame: origin at the board's own centre, x right, y up, z out of the side.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from anim_real.errors import ConfigError
from anim_real.files import require_file
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
        inverted: printed white on black.
        legacy: drawn by OpenCV before 4.6: with an even number of rows the first square is white.
    """

    kind: Literal["charuco"] = "charuco"
    side: int = Field(ge=0)
    columns: int = Field(ge=2)
    rows: int = Field(ge=2)
    square_m: float = Field(gt=0)
    marker_m: float = Field(gt=0)
    first_marker: int = Field(ge=0)
    inverted: bool = False
    legacy: bool = False

    @model_validator(mode="after")
    def _marker_fits(self) -> BoardSpec:
        if self.marker_m >= self.square_m:
            raise ValueError("marker_m must be smaller than square_m")
        return self

    @property
    def first_is_white(self) -> bool:
        """Whether the top left square is white, apart from ``inverted``."""
        return self.legacy and self.rows % 2 == 0

    @property
    def num_markers(self) -> int:
        """Markers sit in the white squares."""
        return (self.columns * self.rows + self.first_is_white) // 2

    @property
    def marker_ids(self) -> range:
        """Dictionary ids of its markers."""
        return range(self.first_marker, self.first_marker + self.num_markers)

    @property
    def num_corners(self) -> int:
        """Inner chessboard corners."""
        return (self.columns - 1) * (self.rows - 1)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the printed squares, metres."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def center(self) -> tuple[float, float]:
        """Its place on the side, from the side's centre, metres."""
        return 0.0, 0.0

    @property
    def pitch_m(self) -> float:
        """Size of what must be resolved: a square."""
        return self.square_m

    def corners(self) -> list[tuple[float, float]]:
        """x, y of every corner in the board frame, row by row from the top left, metres."""
        width, height = self.size
        return [
            (column * self.square_m - width / 2, height / 2 - row * self.square_m)
            for row in range(1, self.rows)
            for column in range(1, self.columns)
        ]


class MarkerSpec(Spec):
    """One ArUco or AprilTag marker; its four outer corners are measured.

    Attributes:
        side: which side of the body carries it.
        first_marker: its dictionary id.
        marker_m: edge length of its black square.
        center: x right, y up of its centre from the side's centre, metres.
        inverted: printed white on black.
    """

    kind: Literal["marker"]
    side: int = Field(ge=0)
    first_marker: int = Field(ge=0)
    marker_m: float = Field(gt=0)
    center: tuple[float, float] = (0.0, 0.0)
    inverted: bool = False

    @property
    def num_corners(self) -> int:
        """Outer corners."""
        return 4

    @property
    def marker_ids(self) -> range:
        """Its dictionary id alone."""
        return range(self.first_marker, self.first_marker + 1)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, metres."""
        return self.marker_m, self.marker_m

    @property
    def pitch_m(self) -> float:
        """Size of what must be resolved: the marker."""
        return self.marker_m

    def corners(self) -> list[tuple[float, float]]:
        """x, y of its corners in the board frame: top left, top right, bottom right, bottom left (OpenCV's order)."""
        half = self.marker_m / 2
        return [(-half, half), (half, half), (half, -half), (-half, -half)]


class BannerSpec(Spec):
    """A banner of LiveScan3D: a black rectangle with a notch below, nine cells of code, five measured corners.

    Shape and code after LiveScan3D's printable markers; all parts scale with width and height.

    Attributes:
        side: which side of the body carries it.
        first_marker: its number, 0 to 15.
        width_m, height_m: extent of the black shape.
        center: x right, y up of the board frame's origin (the mean of the five corners) from the side's centre, metres.
    """

    kind: Literal["banner"]
    side: int = Field(ge=0)
    first_marker: int = Field(ge=0, le=15)
    width_m: float = Field(gt=0)
    height_m: float = Field(gt=0)
    center: tuple[float, float] = (0.0, 0.0)

    @property
    def inverted(self) -> bool:
        """Banners are black."""
        return False

    @property
    def num_corners(self) -> int:
        """The notch and four outer corners."""
        return 5

    @property
    def marker_ids(self) -> range:
        """Its number alone."""
        return range(self.first_marker, self.first_marker + 1)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a rectangle around the origin that holds it, metres."""
        return self.width_m, 2 * BANNER_TOP * self.height_m

    @property
    def pitch_m(self) -> float:
        """Size of what must be resolved: two cells of the code."""
        return self.width_m / 3

    def corners(self) -> list[tuple[float, float]]:
        """x, y of its corners in the board frame: notch, bottom left, top left, top right, bottom right."""
        half = self.width_m / 2
        return [
            (0.0, -BANNER_NOTCH * self.height_m),
            (-half, -BANNER_BOTTOM * self.height_m),
            (-half, BANNER_TOP * self.height_m),
            (half, BANNER_TOP * self.height_m),
            (half, -BANNER_BOTTOM * self.height_m),
        ]


BANNER_TOP, BANNER_NOTCH, BANNER_BOTTOM = 0.55, 0.2, 0.45  # of the height, from the mean of the corners
AnyBoardSpec = BoardSpec | MarkerSpec | BannerSpec


def _board_kind(value: Any) -> str:
    return str(value.get("kind", "charuco") if isinstance(value, dict) else getattr(value, "kind", "charuco"))


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
    dictionary: str = Field(
        default="DICT_4X4_100",
        pattern=r"^DICT_[A-Za-z0-9_]+$",
        description="name of an OpenCV ArUco or AprilTag dictionary; banners need none",
    )
    body: Annotated[PrismBody | PlateBody, Field(discriminator="kind")]
    boards: tuple[
        Annotated[
            Annotated[BoardSpec, Tag("charuco")]
            | Annotated[MarkerSpec, Tag("marker")]
            | Annotated[BannerSpec, Tag("banner")],
            Discriminator(_board_kind),
        ],
        ...,
    ] = Field(min_length=1)
    spheres: tuple[SphereSpec, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TargetSpec:
        used: set[tuple[bool, int]] = set()
        for index, board in enumerate(self.boards):
            where = f"boards.{index}"
            if board.side >= self.body.num_sides:
                raise ValueError(f"{where}: side {board.side} does not exist, the body has {self.body.num_sides}")
            _check_fit(board, self.body, where)
            ids = {(board.kind == "banner", number) for number in board.marker_ids}
            if used & ids:
                taken = sorted(number for _, number in used & ids)[:4]
                raise ValueError(f"{where}: marker ids {taken} are used by another board")
            used |= ids
        _check_overlap(self.boards)
        return self


class GeometryTargetSpec(Spec):
    """A scanned object without marks, known by its shape alone: content of ``calibration/targets/<name>.toml``.

    Attributes:
        name: the file's name without its ending.
        description: what it is.
        mesh: its mesh, beside the TOML file or absolute; without one, each placement's own scan is its shape.
    """

    schema_: Literal["anim-real/geometry-target/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    mesh: str | None = None


def _check_fit(board: AnyBoardSpec, body: PrismBody | PlateBody, where: str) -> None:
    xs, ys = zip(*_outline(board), strict=True)
    reach_x, reach_y = max(map(abs, xs)), max(map(abs, ys))
    if 2 * reach_x > body.width_m + _FIT_TOLERANCE_M or 2 * reach_y > body.height_m + _FIT_TOLERANCE_M:
        width, height = max(xs) - min(xs), max(ys) - min(ys)
        raise ValueError(f"{where}: {width:.3f} x {height:.3f} m does not fit on its side")


def _check_overlap(boards: tuple[AnyBoardSpec, ...]) -> None:
    for index, board in enumerate(boards):
        for other in boards[:index]:
            if board.side != other.side:
                continue
            if board.kind != "marker" or other.kind != "marker":
                raise ValueError("two boards lie on the same side; only single markers may share one")
            reach = (board.marker_m + other.marker_m) / 2
            if all(abs(a - b) <= reach for a, b in zip(board.center, other.center, strict=True)):
                raise ValueError(
                    f"markers {board.first_marker} and {other.first_marker} overlap; white must separate them"
                )


def _outline(board: AnyBoardSpec) -> list[tuple[float, float]]:
    """Its extreme points on the side, from the side's centre."""
    width, height = board.size
    corners = board.corners() if board.kind == "banner" else [(-width / 2, -height / 2), (width / 2, height / 2)]
    return [(x + board.center[0], y + board.center[1]) for x, y in corners]


def load_target_spec(name: str) -> tuple[TargetSpec, Path]:
    """Find and read a target with boards by name or path; return it with its file.

    Raises:
        NotFoundError: no such target.
        ConfigError: a wrong key, or a target without boards (``load_geometry_target`` reads those).
    """
    path = find("calibration/targets", name)
    if is_geometry_target(name):
        raise ConfigError(
            "is known by its shape alone, it has no boards", where=path, fix="Name a target with boards here"
        )
    spec = load_toml(TargetSpec, path)
    _check_name(spec.name, path)
    return spec, path


def is_geometry_target(name: str) -> bool:
    """Whether a target, by name or path, says that it is known by its shape alone."""
    return _schema(find("calibration/targets", name)) == "anim-real/geometry-target/1"


def load_geometry_target(name: str) -> tuple[GeometryTargetSpec, Path]:
    """Find and read a target without boards by name or path; return it with its file."""
    path = find("calibration/targets", name)
    spec = load_toml(GeometryTargetSpec, path)
    _check_name(spec.name, path)
    return spec, path


def _schema(path: Path) -> object:
    """What the file calls itself; None if it cannot be read, which ``load_toml`` then explains."""
    try:
        return tomllib.loads(require_file(path, "target file").read_text("utf-8")).get("schema")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None


def _check_name(name: str, path: Path) -> None:
    if name != path.stem:
        raise ConfigError(f"name is {name!r} but the file is called {path.stem!r}", where=path, fix="Make them equal")
