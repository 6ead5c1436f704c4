"""A target as its TOML file says it: a body with boards and spheres, or an object known by its shape alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from anim_real.specs import Spec
from anim_real.target.boards import AnyBoardSpec, BannerSpec, BoardSpec, MarkerSpec
from anim_real.target.bodies import PlateBody, PrismBody

_FIT_TOLERANCE_M = 1e-9  # rounding of decimal sizes


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
    """A scanned object without marks: content of ``calibration/targets/<name>.toml``.

    Every placement's own scan is its shape there, so the file holds no mesh.

    Attributes:
        name: the file's name without its ending.
        description: what it is.
    """

    schema_: Literal["anim-real/geometry-target/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _no_mesh(cls, table: Any) -> Any:
        if isinstance(table, dict) and "mesh" in table:
            raise ValueError("mesh: every placement's own scan is the object's shape; leave this key out")
        return table


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
