"""The recipe of a run: everything that decides what is learned, in one strict TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from anim_real.data.dataset import DataSpec
from anim_real.errors import ConfigError
from anim_real.files import require_file
from anim_real.resources import find
from anim_real.specs import Spec, parse
from anim_real.train.losses import LossSpec
from anim_real.train.schedule import ScheduleSpec

SCHEMA = "anim-real/recipe/1"


Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Spec):
    """Adam (ANIM, Sec. 8)."""

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled (AdamW); 0 is plain Adam")
    clip_norm: float | None = Field(default=None, gt=0, description="largest gradient norm")


class RunSpec(Spec):
    """How the run is carried out; none of it changes what is learned, up to rounding, but ``ema``."""

    device: str = Field(default="auto", description="auto: cuda where there is one, else cpu")
    mixed_precision: bool = Field(default=False, description="bfloat16 in the convolutions and the MLP")
    checkpoint_activations: bool = Field(default=False, description="recompute the hourglasses in backward")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of an averaged copy, which becomes the weights"
    )
    log_every: int = Field(default=10, gt=0)
    checkpoint_every: int = Field(default=1000, gt=0)
    kept_checkpoints: int = Field(default=3, gt=0)
    tensorboard: bool = True


class RecipeSpec(Spec):
    """Content of ``training/<name>.toml``. Without ``preset`` it is a fine-tune: the network comes with the weights."""

    schema_: Literal["anim-real/recipe/1"] = Field(alias="schema")
    description: str = ""
    preset: str | None = None
    variant: str = "anim"
    network: dict[str, Any] = Field(default_factory=dict, description="changes to the preset's network")
    seed: int = Field(default=0, ge=0)
    data: DataSpec = DataSpec()
    loss: LossSpec = LossSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec
    run: RunSpec = RunSpec()

    @model_validator(mode="after")
    def _network_belongs_to_a_preset(self) -> RecipeSpec:
        if self.preset is None and (self.network or self.variant != "anim"):
            raise ValueError("network and variant change a preset; a fine-tune (no preset) takes the weights' network")
        return self


def load_recipe(name: str, changes: Sequence[str] = ()) -> RecipeSpec:
    """Find a recipe by name or path and lay ``key.sub=value`` changes over it.

    Raises:
        NotFoundError: no such recipe.
        ConfigError: not TOML, an unknown key, a value out of range, or a change that is not ``key=value``.
    """
    path = _find(name)
    try:
        table = tomllib.loads(require_file(path, "recipe").read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML ({error})", where=path) from error
    for change in changes:
        _apply(table, change)
    if "epochs" in _assigned(changes) and "steps" not in _assigned(changes):
        table.get("schedule", {}).pop("steps", None)
    if "steps" in _assigned(changes) and "epochs" not in _assigned(changes):
        table.get("schedule", {}).pop("epochs", None)
    return parse(RecipeSpec, table, where=path)


def _find(name: str) -> Path:
    if name.startswith("tables/") and not Path(name).is_file():
        return find("training/tables", name.removeprefix("tables/"))
    return find("training", name)


def _assigned(changes: Sequence[str]) -> set[str]:
    """Which keys of ``schedule`` the changes set."""
    keys = (change.partition("=")[0].strip() for change in changes)
    return {key.removeprefix("schedule.") for key in keys if key.startswith("schedule.")}


def _apply(table: dict[str, Any], change: str) -> None:
    """Set ``a.b.c=value`` in nested tables; the value is read as TOML, else taken as text."""
    key, sign, text = change.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(
            f"{change!r} is not key=value", where="--set", fix="Write, for example, --set schedule.steps=200"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{part!r} is not a table", where=f"--set {change}")
    table[parts[-1]] = value
