"""Train a network from scratch on shards; run again to resume.

RECIPE is a file or the name of a shipped one (anim, anim_tiny, tables/t1_lr_only, …).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from anim_real.console import Console, Result


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to train and where to put it.

    Attributes:
        recipe: recipe file or name.
        data: data set folder, as build-shards or render wrote it.
        output: folder of the run; resumed if it holds the same run.
        set: override one key of the recipe, such as schedule.steps=200; recorded.
    """

    recipe: tyro.conf.Positional[str]
    data: Path
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE"), tyro.conf.UseAppendAction] = ()


def run(arguments: Arguments, console: Console) -> Result:
    """Train; the result is the weights folder."""
    from anim_real.shards.read import open_dataset
    from anim_real.train.loop import train_run
    from anim_real.train.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    done = train_run(recipe, open_dataset(arguments.data), arguments.output, say=console.say)
    return done.as_result()
