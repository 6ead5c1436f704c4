"""Drawing training points from a scan's pool (ANIM, Sec. 5.1 and Eq. 6; our reading is ANIM.md's).

A contiguous window of the pre-shuffled pool holds the candidates. Of them a base set is kept, half
inside and half outside where there are enough, and semantic points (face and hands, sigma_HR) up to
their cap. ``literal`` keeps every candidate of the window and semantic points up to half their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anim_real.samples import PointSamples
from anim_real.specs import Spec

SEMANTIC_BAND = 2  # PointSamples.band of points drawn by region with sigma_HR


class SamplingSpec(Spec):
    """How many points a training example has."""

    candidates: int = Field(default=48_000, gt=0, description="rows of the pool that are looked at")
    base: int = Field(default=24_000, gt=0, description="points kept of the candidates")
    semantic: int = Field(
        default=12_000, ge=0, description="cap of extra points on face and hands; 0 = no semantic sampling"
    )
    literal: bool = Field(default=False, description="Eq. 6 as printed")

    @property
    def num_points(self) -> int:
        """Points of an example (X_t)."""
        return (
            self.candidates + (self.candidates // 2 if self.semantic else 0)
            if self.literal
            else self.base + self.semantic
        )


def choose(pool: PointSamples, spec: SamplingSpec, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a window of the pool that make one example, exactly ``spec.num_points`` of them.

    Missing semantic points are replaced by base points; missing base points by repetition.
    """
    is_semantic = pool.band == SEMANTIC_BAND
    semantic_rows, base_rows = np.flatnonzero(is_semantic), np.flatnonzero(~is_semantic)
    if len(base_rows) == 0:
        base_rows = semantic_rows
    cap = spec.candidates // 2 if spec.literal and spec.semantic else spec.semantic
    semantic = semantic_rows[:cap]
    num_base = spec.num_points - len(semantic)
    base = base_rows if spec.literal else _balanced(base_rows, pool.sdf[base_rows] < 0, num_base)
    if len(base) < num_base:
        base = np.concatenate([base, rng.choice(base_rows, num_base - len(base))])
    return np.concatenate([base[:num_base], semantic])


def _balanced(rows: NDArray[np.int64], is_inside: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Up to ``count`` rows, half inside and half outside as far as there are enough of each."""
    inside, outside = rows[is_inside], rows[~is_inside]
    num_inside = min(len(inside), max(count // 2, count - len(outside)))
    return np.concatenate([inside[:num_inside], outside[: count - num_inside]])
