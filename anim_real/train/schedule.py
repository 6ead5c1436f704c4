"""How long a run is, which examples come when, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from anim_real.data.dataset import derived_rng
from anim_real.specs import Spec


class ScheduleSpec(Spec):
    """Length and learning rate. Exactly one of ``epochs`` and ``steps`` is given."""

    epochs: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=4, gt=0)
    decay: Literal["steps", "cosine", "constant"] = "steps"
    milestones: tuple[float, ...] = Field(
        default=(8 / 12, 10 / 12), description="fractions of the run at which the rate drops"
    )
    gamma: float = Field(default=0.1, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> ScheduleSpec:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    def steps_per_epoch(self, num_examples: int) -> int:
        """Batches of one pass; the last one is filled up from the next pass's order."""
        return math.ceil(num_examples / self.batch_size)

    def num_steps(self, num_examples: int) -> int:
        """Steps of the whole run."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch(num_examples)

    def rate(self, step: int, num_steps: int) -> float:
        """Factor on the base learning rate in step ``step`` (0-based)."""
        factor = 1.0
        if self.decay == "steps":
            factor = self.gamma ** sum(step >= milestone * num_steps for milestone in self.milestones)
        elif self.decay == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        return factor * min(1.0, (step + 1) / (self.warmup_steps + 1))


def draw_batch(step: int, num_examples: int, batch_size: int, seed: int) -> Sequence[tuple[int, int]]:
    """(index, epoch) of every example of step ``step``: each pass is a permutation derived from (seed, pass).

    The stream of examples is endless and has no state: a run resumes anywhere by its step number.
    """
    drawn = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, num_examples)
        order = derived_rng(seed, epoch, "order").permutation(num_examples)
        drawn.append((int(order[place]), epoch))
    return drawn
