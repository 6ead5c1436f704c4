"""Fine-tune trained weights on shards of real pairs; run again to resume.

RECIPE is a file or the name of a shipped one (finetune_anim_real, finetune_tiny).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from anim_real.console import Console, Result


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to fine-tune and where to put it.

    Attributes:
        recipe: recipe file or name.
        weights: weights folder to start from.
        data: data set folder, as build-shards wrote it.
        output: folder of the run; resumed if it holds the same run.
        replay: data set mixed in with the recipe's data.replay_fraction.
        set: override one key of the recipe, such as optimizer.lr=1e-4; recorded.
    """

    recipe: tyro.conf.Positional[str]
    weights: Path
    data: Path
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    replay: Path | None = None
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE"), tyro.conf.UseAppendAction] = ()


def run(arguments: Arguments, console: Console) -> Result:
    """Fine-tune; the result is the weights folder."""
    from anim_real.shards.read import open_dataset
    from anim_real.train.loop import train_run
    from anim_real.train.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    replay = None if arguments.replay is None else open_dataset(arguments.replay)
    source = open_dataset(arguments.data)
    done = train_run(recipe, source, arguments.output, weights=arguments.weights, replay=replay, say=console.say)
    return done.as_result()
