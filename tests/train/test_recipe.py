"""Recipes: strict, overridable, every shipped one valid; the schedule and the losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from data.people import FakeSource

from anim_real.data.batches import Batch, collate
from anim_real.data.dataset import DataSpec, TrainingSet
from anim_real.data.sampling import SamplingSpec
from anim_real.errors import ConfigError, NotFoundError
from anim_real.model.anim import ANIM
from anim_real.model.presets import VARIANTS, network_spec
from anim_real.resources import names
from anim_real.train.losses import LossSpec, _huber, anim_loss
from anim_real.train.recipe import load_recipe
from anim_real.train.schedule import ScheduleSpec, draw_batch


@pytest.mark.parametrize("name", ["anim", "anim_tiny", "finetune_anim_real", "finetune_tiny"])
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.preset is None) == name.startswith("finetune")


def test_tables_hold_every_variant_and_the_two_rows_that_only_change_the_recipe() -> None:
    recipes = {name: load_recipe(f"tables/{name}") for name in names("training/tables")}
    assert {recipe.variant for recipe in recipes.values()} == set(VARIANTS)
    assert recipes["t2_without_semantic_sampling"].data.sampling.semantic == 0
    assert recipes["t2_without_depth_loss"].loss.depth_weight == 0
    assert all(recipe.data.sampling.num_points == 36_000 for recipe in recipes.values())
    for name, recipe in recipes.items():
        assert (recipe.loss.depth_weight == 0) == (name.startswith("t3") or name == "t2_without_depth_loss")
        network_spec(recipe.preset or "", recipe.variant, recipe.network)


def test_the_paper_recipe_has_the_papers_constants() -> None:
    recipe = load_recipe("anim")
    assert (recipe.optimizer.lr, recipe.loss.delta_cm) == (1e-4, 1.25)
    assert (recipe.data.sampling.candidates, recipe.data.depth_points) == (48_000, 15_000)


def test_changes_are_laid_over_and_typed() -> None:
    recipe = load_recipe(
        "anim_tiny", ["schedule.steps=7", "optimizer.lr=0.5", "data.depth_label=exact", "run.device=cpu"]
    )
    assert (recipe.schedule.steps, recipe.optimizer.lr, recipe.run.device) == (7, 0.5, "cpu")
    assert recipe.data.depth_label == "exact"


def test_epochs_replace_steps() -> None:
    assert load_recipe("anim_tiny", ["schedule.epochs=2"]).schedule.steps is None


@pytest.mark.parametrize(
    ("change", "words"),
    [("schedule.stepz=7", "stepz"), ("schedule", "key=value"), ("optimizer.lr=-1", "lr"), ("seed.x=1", "not a table")],
)
def test_wrong_changes_are_refused(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe("anim_tiny", [change])


def test_unknown_recipes_and_bad_toml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="anim_tiny"):
        load_recipe("nothing")
    path = tmp_path / "bad.toml"
    path.write_text("schema = ")
    with pytest.raises(ConfigError, match="TOML"):
        load_recipe(str(path))


def test_the_rate_drops_where_the_paper_reading_says() -> None:
    schedule = ScheduleSpec(epochs=12, batch_size=2, milestones=(8 / 12, 10 / 12))
    steps = schedule.num_steps(10)
    assert steps == 60
    rates = [schedule.rate(step, steps) for step in (0, 39, 40, 49, 50, 59)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = ScheduleSpec(steps=100, decay="cosine", warmup_steps=9)
    assert cosine.rate(0, 100) == pytest.approx(0.1)
    assert cosine.rate(99, 100) < 1e-3
    with pytest.raises(ValueError, match="exactly one"):
        ScheduleSpec(epochs=1, steps=1)


def test_every_pass_shows_every_example_once() -> None:
    drawn = [pair for step in range(9) for pair in draw_batch(step, 6, 4, seed=1)]
    for epoch in range(6):
        assert sorted(index for index, drawn_epoch in drawn if drawn_epoch == epoch) == list(range(6))
    orders = [[index for index, epoch in drawn if epoch == number] for number in (0, 1)]
    assert orders[0] != orders[1]


def test_invented_labels_count_by_their_weight() -> None:
    sampling = SamplingSpec(candidates=1000, base=300, semantic=0)
    data = DataSpec(sampling=sampling, depth_points=0, max_input_points=500)
    batch = collate([TrainingSet(FakeSource(), data, size=64, seed=1).example(0, 0)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ANIM(network_spec("tiny", changes={"image_size": 64})).eval()
    assert 0 < batch.is_invented_BP.sum() < 300
    spoiled = replace(batch, sdf_BP=torch.where(batch.is_invented_BP, batch.sdf_BP + 50.0, batch.sdf_BP))

    def loss(of: Batch, weight: float) -> float:
        return anim_loss(model, of, LossSpec(invented_weight=weight)).sdf.item()

    assert loss(spoiled, 0.0) == loss(batch, 0.0)
    growth = [loss(spoiled, weight) - loss(batch, weight) for weight in (0.1, 1.0)]
    assert 0.01 < growth[0] < 0.2 * growth[1]


def test_huber_is_equation_4_and_excluded_points_do_not_count() -> None:
    predicted, label = torch.tensor([[0.5, 3.0, 100.0]]), torch.zeros(1, 3)
    counts = torch.tensor([[True, True, False]])
    expected = (0.5 * 0.5**2 + 1.25 * (3.0 - 0.5 * 1.25)) / 2
    assert _huber(predicted, label, counts, 1.25).item() == pytest.approx(expected)
    assert F.huber_loss(predicted[:, :2], label[:, :2], delta=1.25).item() == pytest.approx(expected)
