"""What a side of a target carries: a ChArUco board, single markers, or a banner of LiveScan3D.

Board frame: origin at the board's own centre, x right, y up, z out of the side. Metres.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anim_real.specs import Spec

BANNER_TOP, BANNER_NOTCH, BANNER_BOTTOM = 0.55, 0.2, 0.45  # of the height, from the mean of the corners


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


AnyBoardSpec = BoardSpec | MarkerSpec | BannerSpec
