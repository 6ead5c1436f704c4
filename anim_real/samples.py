"""Labelled points around a scan: the pools that training draws from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError


class Region(IntEnum):
    """Semantic region of a surface point (ANIM, Sec. 3.3: face and hands get extra samples)."""

    OTHER = 0
    FACE = 1
    HAND = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class PointSamples:
    """Points with their signed distance to the watertight scan.

    Attributes:
        points: (P, 3) float32 metres, in the frame the owner names (``scan`` in shards).
        sdf: (P,) float32 metres, negative inside, linear and unclipped.
        region: (P,) uint8 ``Region`` of the surface the point was drawn from.
        invented: (P,) bool: the label is the hole filling's, not the scan's: the nearest surface closed a hole,
            or holes fill so much of the view that the sign rests on them.
        band: (P,) uint8 what drew the point: 0 surface + sigma_LR, 1 uniform in the box, 2 region + sigma_HR.
    """

    points: NDArray[np.float32]
    sdf: NDArray[np.float32]
    region: NDArray[np.uint8]
    invented: NDArray[np.bool_]
    band: NDArray[np.uint8]

    def __post_init__(self) -> None:
        num_points = len(self.points)
        if self.points.shape != (num_points, 3) or num_points == 0:
            raise DataError(f"points must be (P, 3) and not empty, got {self.points.shape}", where="samples")
        for name in ("sdf", "region", "invented", "band"):
            if getattr(self, name).shape != (num_points,):
                raise DataError(f"{name} must be ({num_points},), got {getattr(self, name).shape}", where="samples")
        if not (np.isfinite(self.points).all() and np.isfinite(self.sdf).all()):
            raise DataError("points and distances must be finite", where="samples")
