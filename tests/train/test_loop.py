"""Training: exact resume, records, refusals, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.people import FakeSource, person_mesh
from safetensors.torch import load_file

from anim_real.data.dataset import TrainingSet
from anim_real.errors import ConfigError, DataError
from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.model.anim import ANIM
from anim_real.reconstruct import ReconstructSpec, reconstruct
from anim_real.specs import parse
from anim_real.train.loop import train_run
from anim_real.train.recipe import RecipeSpec


def recipe(steps: int = 4, **changes: Any) -> RecipeSpec:
    table: dict[str, Any] = {
        "schema": "anim-real/recipe/1",
        "preset": "tiny",
        "network": {"image_size": 64},
        "seed": 3,
        "data": {
            "sampling": {"candidates": 1000, "base": 300, "semantic": 50},
            "depth_points": 100,
            "max_input_points": 800,
            "augment": {"flip": True, "scale": 0.1, "shift_px": 2, "brightness": 0.1},
        },
        "optimizer": {"lr": 2e-3, "clip_norm": 10.0},
        "schedule": {"steps": steps, "batch_size": 2, "decay": "cosine"},
        "run": {"device": "cpu", "tensorboard": False, "log_every": 1, "checkpoint_every": 2, "ema": 0.9},
    }
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) and key in table else value
    return parse(RecipeSpec, {key: value for key, value in table.items() if value is not None}, where="test")


@pytest.fixture
def source() -> FakeSource:
    return FakeSource((1.0, 1.1))


def test_two_and_two_steps_equal_four_bit_for_bit(source: FakeSource, tmp_path: Path) -> None:
    whole = train_run(recipe(), source, tmp_path / "whole")
    train_run(recipe(), source, tmp_path / "parts", stop_after=2)
    assert not (tmp_path / "parts" / "weights").exists()
    torch.manual_seed(999)  # the global generator must not matter
    parts = train_run(recipe(), source, tmp_path / "parts")
    first, second = (load_file(result.weights / "model.safetensors") for result in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [
        [json.loads(row) for row in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert [row["step"] for row in rows[1]] == [1, 2, 3, 4]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]


def test_the_run_records_what_is_needed_to_do_it_again(source: FakeSource, tmp_path: Path) -> None:
    result = train_run(recipe(2, run={"tensorboard": True}), source, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["datasets"] == [source.sha256]
    assert record["seed"] == 3
    assert record["versions"]["torch"]
    assert record["recipe"]["optimizer"]["lr"] == 2e-3
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    names = {
        path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file() and "tensorboard" not in path.parts
    }
    assert names <= {".json", ".jsonl", ".safetensors", ".md", ".diff"}
    assert ANIM.from_pretrained(result.weights).spec.image_size == 64


def test_a_finished_run_is_not_done_again(source: FakeSource, tmp_path: Path) -> None:
    train_run(recipe(2), source, tmp_path / "run")
    before = (tmp_path / "run" / "weights" / "model.safetensors").stat().st_mtime_ns
    spoken: list[str] = []
    again = train_run(recipe(2), source, tmp_path / "run", say=spoken.append)
    assert "finished" in spoken[0]
    assert again.steps == 2
    assert (again.weights / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_in_the_same_folder_is_refused(source: FakeSource, tmp_path: Path) -> None:
    train_run(recipe(2), source, tmp_path / "run")
    with pytest.raises(ConfigError, match="another run"):
        train_run(recipe(2, optimizer={"lr": 1e-3}), source, tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        train_run(recipe(2), source, tmp_path / "full")


def test_a_damaged_checkpoint_is_met(source: FakeSource, tmp_path: Path) -> None:
    train_run(recipe(), source, tmp_path / "run", stop_after=2)
    path = next((tmp_path / "run" / "checkpoints").glob("step-*/optimizer.safetensors"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="sha256"):
        train_run(recipe(), source, tmp_path / "run")


def test_only_the_newest_checkpoints_are_kept(source: FakeSource, tmp_path: Path) -> None:
    train_run(recipe(4, run={"checkpoint_every": 1, "kept_checkpoints": 2}), source, tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-0000003", "step-0000004"]


def test_a_fine_tune_starts_from_the_weights_and_may_replay(source: FakeSource, tmp_path: Path) -> None:
    base = train_run(recipe(2), source, tmp_path / "base").weights
    frozen = recipe(1, preset=None, network=None, optimizer={"lr": 1e-12}, run={"ema": None})
    tuned = train_run(frozen, source, tmp_path / "tuned", weights=base).weights
    first, second = (load_file(folder / "model.safetensors") for folder in (base, tuned))
    assert all(torch.allclose(first[name], second[name], atol=1e-8) for name in first)
    mixed = recipe(1, preset=None, network=None, data={"replay_fraction": 0.5})
    assert train_run(mixed, source, tmp_path / "mixed", weights=base, replay=FakeSource((0.9,))).steps == 1
    with pytest.raises(ConfigError, match="replay"):
        train_run(mixed, source, tmp_path / "alone", weights=base)
    with pytest.raises(ConfigError, match="fine-tune"):
        train_run(frozen, source, tmp_path / "scratch")
    other = recipe(1, network={"image_size": 128})
    with pytest.raises(ConfigError, match="not that of the weights"):
        train_run(other, source, tmp_path / "other", weights=base)


def test_mixed_precision_and_checkpointing_run(source: FakeSource, tmp_path: Path) -> None:
    switches = {"mixed_precision": True, "checkpoint_activations": True}
    result = train_run(recipe(2, run=switches), source, tmp_path / "run")
    assert np.isfinite(result.loss)


def test_recomputed_activations_change_nothing(source: FakeSource, tmp_path: Path) -> None:
    results = [
        train_run(recipe(2, run={"checkpoint_activations": is_on}), source, tmp_path / str(is_on))
        for is_on in (True, False)
    ]
    first, second = (load_file(result.weights / "model.safetensors") for result in results)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


@pytest.mark.slow
def test_overfitting_one_frame_gives_its_surface(tmp_path: Path) -> None:
    source = FakeSource((1.0,))
    single = recipe(
        150,
        network={"image_size": 64},
        data={"sampling": {"candidates": 3000, "base": 1200, "semantic": 200}, "augment": {}, "depth_points": 300},
        schedule={"batch_size": 1, "warmup_steps": 5},
        optimizer={"lr": 4e-3},
        run={"ema": None, "checkpoint_every": 1000, "log_every": 50},
    )
    model = ANIM.from_pretrained(train_run(single, source, tmp_path / "run").weights)
    frame = TrainingSet(source, single.data, size=64, seed=0).example(0, 0).frame
    made = reconstruct(model, frame, ReconstructSpec(resolution=48))
    points = sample_surface(made.mesh.vertices, made.mesh.faces, 5000, np.random.default_rng(0))[0]
    pose = source.frame(source.frames()[0]).T_color_scan
    truth = person_mesh()
    p2s_cm = SurfaceDistance(truth.vertices, truth.faces).closest(pose.inverse().apply(points)).distance.mean() * 100
    assert p2s_cm < 1.5  # the limit
    assert made.num_evaluations < made.num_dense
