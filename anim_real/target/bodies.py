"""Bodies that carry boards: prisms and plates; their sides are counted as in ``anim_real.target``. Metres."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from anim_real.specs import Spec


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
