"""Weights folders: what is saved is loaded, bit for bit; anything damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from data.people import FakeSource

from anim_real.data.batches import observe
from anim_real.data.dataset import DataSpec, TrainingSet
from anim_real.errors import ConfigError, DataError, NotFoundError, SchemaVersionError
from anim_real.model.anim import ANIM
from anim_real.model.presets import network_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return ANIM(network_spec("tiny", "anim", {"image_size": 64})).save_pretrained(
        tmp_path / "weights", card="Nothing yet."
    )


def test_round_trip_gives_the_same_field(folder: Path) -> None:
    torch.manual_seed(1)
    made = ANIM(network_spec("tiny", "anim", {"image_size": 64})).eval()
    loaded = ANIM.from_pretrained(folder)
    assert loaded.spec == made.spec
    assert not loaded.training
    examples = TrainingSet(FakeSource(), DataSpec(max_input_points=500), size=64, seed=0)
    frame = examples.example(0, 0).frame
    points = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)) * 30
    with torch.no_grad():
        fields = [model.query(model.encode(observe([frame])), points) for model in (made, loaded)]
    assert torch.equal(*fields)


def test_the_folder_holds_what_it_should_and_no_pickle(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    assert "Nothing yet." in card
    assert "from_pretrained" in card


def test_a_flipped_byte_is_met(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="sha256"):
        ANIM.from_pretrained(folder)


def test_another_network_and_schema_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["network"]["hidden"] = [16, 16, 16]
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match="do not fit"):
        ANIM.from_pretrained(folder)
    path.write_text(json.dumps({**config, "schema": "anim-real/weights/9"}))
    with pytest.raises(SchemaVersionError):
        ANIM.from_pretrained(folder)


def test_missing_and_existing_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        ANIM.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="exists"):
        ANIM.from_pretrained(folder).save_pretrained(folder)
