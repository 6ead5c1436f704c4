"""Weights folders: ``model.safetensors``, ``config.json``, and ``README.md`` (the model card)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from anim_real import __version__
from anim_real.errors import DataError
from anim_real.files import atomic_folder, require_file, require_folder, sha256_file
from anim_real.model.anim import ANIM
from anim_real.model.presets import NetworkSpec
from anim_real.specs import Spec, load_json

SCHEMA = "anim-real/weights/1"


class WeightsSpec(Spec):
    """Content of ``config.json``."""

    schema_: Literal["anim-real/weights/1"] = Field(default=SCHEMA, alias="schema")
    network: NetworkSpec
    model_sha256: str
    tool_version: str = __version__


def save_weights(model: ANIM, folder: Path, *, card: str = "") -> Path:
    """Publish a weights folder in one step; it must not exist."""
    with atomic_folder(folder) as partial:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, partial / "model.safetensors")
        config = WeightsSpec(network=model.spec, model_sha256=sha256_file(partial / "model.safetensors"))
        (partial / "config.json").write_text(config.model_dump_json(indent=2, by_alias=True) + "\n", "utf-8")
        (partial / "README.md").write_text(_card(model, card), "utf-8")
    return folder


def load_weights(folder: Path) -> ANIM:
    """Load a weights folder into a model in evaluation mode; hashes, names and shapes are checked."""
    config = load_json(WeightsSpec, require_folder(folder, "weights folder") / "config.json", schema=SCHEMA)
    path = require_file(folder / "model.safetensors", "weights file")
    if sha256_file(path) != config.model_sha256:
        raise DataError(
            "the weights do not match config.json's sha256", where=path, fix="Copy the weights folder again"
        )
    model = ANIM(config.network)
    load_exactly(model, read_tensors(path), where=path)
    return model.eval()


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; a damaged one raises ``DataError``."""
    try:
        return load_file(require_file(path, "safetensors file"))
    except SafetensorError as error:
        raise DataError(f"not a readable safetensors file ({error})", where=path) from error


def load_exactly(model: torch.nn.Module, tensors: dict[str, torch.Tensor], *, where: object) -> None:
    """Load tensors into a model; any missing, foreign, misshapen or non-finite one is an error, never skipped."""
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise DataError(
            f"{len(broken)} tensors hold NaN or infinity, such as {broken[0]}", where=where, fix="Use other weights"
        )
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise DataError(f"the weights do not fit the network: {error}", where=where) from error


def num_parameters(model: torch.nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def _card(model: ANIM, card: str) -> str:
    network = json.dumps(model.spec.model_dump(mode="json"), indent=2)
    return (
        f"# ANIM weights ({model.spec.preset}, {model.spec.variant})\n\n"
        "A signed distance field of a clothed person from one RGB-D image, in centimetres, negative inside.\n"
        f"{num_parameters(model):,} parameters. Written by anim-real {__version__}.\n\n"
        "Load with `ANIM.from_pretrained(folder)`; reconstruct with `anim-real reconstruct --weights FOLDER`.\n\n"
        + (f"## Training\n\n{card}\n\n" if card else "")
        + f"## Network\n\n```json\n{network}\n```\n"
    )
