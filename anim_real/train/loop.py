"""The training loop, top to bottom: ``train_run`` serves training from scratch and fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anim_real.console import Result
from anim_real.data.batches import Batch, collate
from anim_real.data.dataset import FrameSource, TrainingSet, derived_rng
from anim_real.errors import ConfigError, DataError, MissingDependencyError
from anim_real.files import sha256_file
from anim_real.model.anim import ANIM
from anim_real.model.presets import NetworkSpec, network_spec
from anim_real.model.weights import load_weights
from anim_real.train.checkpoints import Training, checkpoints, load_checkpoint, save_checkpoint
from anim_real.train.losses import Loss, anim_loss
from anim_real.train.metrics import Metrics
from anim_real.train.recipe import RecipeSpec
from anim_real.train.runs import open_run, recipe_sha256
from anim_real.train.schedule import draw_batch


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with.

    Attributes:
        weights: the weights folder.
        steps: steps done, those of earlier sittings included.
        loss, error_cm: mean total loss and absolute error over the last tenth of this sitting; NaN if it did no step.
        seconds: time of this sitting.
    """

    weights: Path
    steps: int
    loss: float
    error_cm: float
    seconds: float

    def as_result(self) -> Result:
        """Return what a command shows."""
        record = {"steps": self.steps, "loss": self.loss, "error_cm": self.error_cm, "seconds": self.seconds}
        line = f"{self.steps} steps, loss {self.loss:.3f}, mean error {self.error_cm:.2f} cm, {self.seconds:.0f} s"
        finite = {name: value for name, value in record.items() if value == value}
        return Result(
            path=self.weights, record=finite, lines=(line if len(finite) == len(record) else "finished already",)
        )


def train_run(
    recipe: RecipeSpec,
    source: FrameSource,
    run: Path,
    *,
    weights: Path | None = None,
    replay: FrameSource | None = None,
    say: Callable[[str], None] = lambda text: None,
    stop_after: int | None = None,
) -> TrainResult:
    """Train, or go on with, the run in folder ``run``; publish ``run/weights`` at the end.

    Args:
        recipe: what to do.
        source: data set to learn from.
        run: folder of the run; made, or resumed if it holds the same run.
        weights: start from these (a fine-tune); else from random weights.
        replay: data set mixed in with ``recipe.data.replay_fraction``.
        say: receives a progress line now and then.
        stop_after: stop this sitting after that many steps in all, leaving a checkpoint.
    """
    started = time.monotonic()
    device = pick_device(recipe.run.device)
    network = _network(recipe, weights)
    digest = recipe_sha256(recipe, network.model_dump(mode="json"))
    sets = _training_sets(recipe, source, replay, network.image_size)
    num_steps = recipe.schedule.num_steps(len(sets[0]))
    open_run(run, _record(recipe, sets, weights, digest, num_steps), recipe)
    if (run / "weights" / "config.json").is_file():
        say(f"{run} is finished already")
        return TrainResult(
            weights=run / "weights", steps=num_steps, loss=float("nan"), error_cm=float("nan"), seconds=0.0
        )

    training = _start(recipe, network, weights, device)
    step = 0
    if found := checkpoints(run / "checkpoints"):
        step = load_checkpoint(found[-1], training, recipe_sha256=digest)
        say(f"resuming at step {step} of {num_steps}")
    model = training.model.train()
    end = num_steps if stop_after is None else min(stop_after, num_steps)
    history: list[tuple[float, float]] = []
    spoken = time.monotonic()
    with Metrics(run, is_tensorboard=recipe.run.tensorboard, from_step=step) as metrics:
        while step < end:
            batch = _batch(recipe, sets, step).to(device)
            rate = recipe.optimizer.lr * recipe.schedule.rate(step, num_steps)
            loss, norm = _update(training, batch, recipe, rate)
            step += 1
            history.append((loss.total.item(), loss.error_cm.item()))
            if not torch.isfinite(loss.total):
                raise DataError(
                    f"the loss is {loss.total.item()} at step {step}",
                    where=run,
                    fix="Lower optimizer.lr, or check the data",
                )
            if step % recipe.run.log_every == 0 or step == end:
                metrics.write(step, loss, rate=rate, norm=norm, seconds=time.monotonic() - started)
            if time.monotonic() - spoken > 10.0:
                spoken = time.monotonic()
                say(f"step {step} of {num_steps}: loss {history[-1][0]:.3f}, error {history[-1][1]:.2f} cm")
            if step % recipe.run.checkpoint_every == 0 or step == end:
                kept = recipe.run.kept_checkpoints
                save_checkpoint(
                    run / "checkpoints", training, step=step, seed=recipe.seed, recipe_sha256=digest, kept=kept
                )
    if step == num_steps:
        _publish(training, model, run, recipe, sets, num_steps)
    last = history[-max(1, len(history) // 10) :] or [(float("nan"), float("nan"))]
    mean_loss, mean_error = (sum(row[k] for row in last) / len(last) for k in (0, 1))
    seconds = time.monotonic() - started
    return TrainResult(weights=run / "weights", steps=step, loss=mean_loss, error_cm=mean_error, seconds=seconds)


def pick_device(name: str) -> torch.device:
    """Device of a recipe; ``auto`` is cuda where there is one, else cpu."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device called {name!r}", where="run.device", fix="Use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingDependencyError("torch finds no CUDA device", where="run.device", fix="Use auto or cpu")
    return device


def _network(recipe: RecipeSpec, weights: Path | None) -> NetworkSpec:
    if weights is None:
        if recipe.preset is None:
            raise ConfigError(
                "the recipe has no preset: it is a fine-tune",
                where="recipe",
                fix="Use finetune --weights, or add a preset",
            )
        return network_spec(recipe.preset, recipe.variant, recipe.network)
    spec = load_weights(weights).spec
    if recipe.preset is not None and network_spec(recipe.preset, recipe.variant, recipe.network) != spec:
        raise ConfigError(
            "the recipe's network is not that of the weights", where=weights, fix="Remove preset from the recipe"
        )
    return spec


def _training_sets(recipe: RecipeSpec, source: FrameSource, replay: FrameSource | None, size: int) -> list[TrainingSet]:
    if recipe.data.replay_fraction and replay is None:
        raise ConfigError(
            "data.replay_fraction needs a replay data set", where="recipe", fix="Give --replay, or set it to 0"
        )
    sources = [source] if replay is None else [source, replay]
    return [TrainingSet(each, recipe.data, size=size, seed=recipe.seed) for each in sources]


def _record(
    recipe: RecipeSpec, sets: list[TrainingSet], weights: Path | None, digest: str, num_steps: int
) -> dict[str, Any]:
    return {
        "recipe": recipe.model_dump(mode="json", by_alias=True),
        "recipe_sha256": digest,
        "datasets": [each.source.sha256 for each in sets],
        "dataset_folders": [str(each.source.folder) for each in sets],
        "num_frames": [len(each) for each in sets],
        "weights_sha256": None if weights is None else sha256_file(weights / "model.safetensors"),
        "seed": recipe.seed,
        "num_steps": num_steps,
    }


def _start(recipe: RecipeSpec, network: NetworkSpec, weights: Path | None, device: torch.device) -> Training:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(derived_rng(recipe.seed, 0, "weights").integers(2**31)))
        model = (ANIM(network) if weights is None else load_weights(weights)).to(device)
    model.set_checkpointing(recipe.run.checkpoint_activations)
    spec = recipe.optimizer
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay)
    average = None
    if recipe.run.ema is not None:
        average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return Training(model=model, optimizer=optimizer, average=average)


def _batch(recipe: RecipeSpec, sets: list[TrainingSet], step: int) -> Batch:
    size, seed = recipe.schedule.batch_size, recipe.seed
    examples = []
    for slot, (index, epoch) in enumerate(draw_batch(step, len(sets[0]), size, seed)):
        rng = derived_rng(seed, step, f"replay {slot}")
        if rng.random() < recipe.data.replay_fraction:
            examples.append(sets[1].example(int(rng.integers(len(sets[1]))), step))
        else:
            examples.append(sets[0].example(index, epoch))
    return collate(examples)


def _update(training: Training, batch: Batch, recipe: RecipeSpec, rate: float) -> tuple[Loss, float]:
    """One optimizer step; return the loss and the gradient's norm."""
    model, optimizer = training.model, training.optimizer
    assert isinstance(model, ANIM)
    device = batch.points_BP3.device
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.run.mixed_precision):
        loss = anim_loss(model, batch, recipe.loss)
    loss.total.backward()
    limit = recipe.optimizer.clip_norm or float("inf")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    if training.average is not None and recipe.run.ema is not None:
        for name, tensor in model.state_dict().items():
            kept = training.average[name]
            if tensor.is_floating_point():
                kept.lerp_(tensor, 1.0 - recipe.run.ema)
            else:
                kept.copy_(tensor)
    return loss, float(norm)


def _publish(
    training: Training, model: torch.nn.Module, run: Path, recipe: RecipeSpec, sets: list[TrainingSet], num_steps: int
) -> None:
    assert isinstance(model, ANIM)
    if training.average is not None:
        model.load_state_dict(training.average)
    card = "\n".join(
        [
            f"{num_steps} steps of batch {recipe.schedule.batch_size}, seed {recipe.seed}; {recipe.description}",
            *(f"Data set `{each.source.folder}`, sha256 {each.source.sha256}, {len(each)} frames." for each in sets),
            "Trained as recorded in `run.json` beside this folder. Not meant to identify people.",
        ]
    )
    model.save_pretrained(run / "weights", card=card)
