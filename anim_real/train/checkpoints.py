"""Checkpoints: folders of safetensors and JSON, published in one step, verified when read.

Everything random derives from (seed, epoch, id), so ``step`` alone restores the position in the data.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors.torch import save_file

from anim_real.errors import DataError
from anim_real.files import atomic_folder, sha256_file
from anim_real.model.weights import load_exactly, read_tensors
from anim_real.specs import Spec, load_json

SCHEMA = "anim-real/checkpoint/1"
_MOMENTS = ("exp_avg", "exp_avg_sq")


class CheckpointSpec(Spec):
    """Content of ``state.json``."""

    schema_: Literal["anim-real/checkpoint/1"] = Field(default=SCHEMA, alias="schema")
    step: int = Field(ge=0, description="steps done")
    seed: int
    recipe_sha256: str
    files_sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What changes while training.

    Attributes:
        model: the network.
        optimizer: Adam over its parameters, one group.
        average: exponential moving average of the state, or None.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, torch.Tensor] | None


def save_checkpoint(root: Path, training: Training, *, step: int, seed: int, recipe_sha256: str, kept: int) -> Path:
    """Publish ``root/step-<n>`` and remove all but the ``kept`` newest."""
    folder = root / f"step-{step:07d}"
    parts = {"model": training.model.state_dict(), "optimizer": _optimizer_tensors(training)}
    if training.average is not None:
        parts["average"] = training.average
    if not folder.exists():
        with atomic_folder(folder) as partial:
            hashes = {}
            for name, tensors in parts.items():
                save_file(
                    {key: value.detach().cpu().contiguous() for key, value in tensors.items()},
                    partial / f"{name}.safetensors",
                )
                hashes[f"{name}.safetensors"] = sha256_file(partial / f"{name}.safetensors")
            state = CheckpointSpec(step=step, seed=seed, recipe_sha256=recipe_sha256, files_sha256=hashes)
            (partial / "state.json").write_text(state.model_dump_json(indent=2, by_alias=True) + "\n", "utf-8")
    for old in checkpoints(root)[:-kept]:
        shutil.rmtree(old)
    return folder


def checkpoints(root: Path) -> list[Path]:
    """Published checkpoints, oldest first."""
    return (
        sorted(path for path in root.glob("step-*") if re.fullmatch(r"step-\d{7,}", path.name)) if root.is_dir() else []
    )


def load_checkpoint(folder: Path, training: Training, *, recipe_sha256: str) -> int:
    """Restore model, optimizer and average in place; return the number of steps done.

    Raises:
        DataError: a file does not match its hash, belongs to another recipe, or does not fit.
    """
    state = load_json(CheckpointSpec, folder / "state.json", schema=SCHEMA)
    if state.recipe_sha256 != recipe_sha256:
        raise DataError(
            "the checkpoint belongs to another recipe", where=folder, fix="Use the same recipe and --set, or another -o"
        )
    for name, digest in state.files_sha256.items():
        if sha256_file(folder / name) != digest:
            raise DataError(
                f"{name} does not match its sha256",
                where=folder,
                fix="Remove this checkpoint; an older one is used then",
            )
    load_exactly(training.model, read_tensors(folder / "model.safetensors"), where=folder)
    _restore_optimizer(training, read_tensors(folder / "optimizer.safetensors"), where=folder)
    if training.average is not None:
        for name, tensor in read_tensors(folder / "average.safetensors").items():
            training.average[name].copy_(tensor)
    return state.step


def _optimizer_tensors(training: Training) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in training.model.named_parameters():
        state = training.optimizer.state.get(parameter, {})
        for key in (*_MOMENTS, "step"):
            if key in state:
                tensors[f"{key}.{name}"] = state[key]
    return tensors


def _restore_optimizer(training: Training, tensors: dict[str, torch.Tensor], *, where: object) -> None:
    known = set()
    for name, parameter in training.model.named_parameters():
        state = {key: tensors[f"{key}.{name}"] for key in (*_MOMENTS, "step") if f"{key}.{name}" in tensors}
        known |= {f"{key}.{name}" for key in state}
        if state:
            state = {key: value.to(parameter.device) if key in _MOMENTS else value for key, value in state.items()}
            training.optimizer.state[parameter] = state
    if known != set(tensors):
        raise DataError(f"optimizer state of unknown parameters: {sorted(set(tensors) - known)[:3]}", where=where)
