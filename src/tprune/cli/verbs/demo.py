"""`tprune demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.options.checks import named
from tprune.cli.options.choices import Devices
from tprune.cli.options.single import AsJson

DEMO = Path(__file__).parents[2] / "run" / "defaults" / "demo.yaml"


def demo(
    out: Annotated[
        Path,
        typer.Option("--out", parser=named, metavar="<path>", help="Directory of the run; a run in it is resumed."),
    ] = Path("runs/demo"),
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of data, weights, batches and dropout (default: 0)."),
    ] = None,
    device: Annotated[
        Devices, typer.Option("--device", help="Device to train on; auto takes the GPU if there is one.")
    ] = Devices.AUTO,
    force: Annotated[
        bool, typer.Option("--force", help="Delete the earlier run in --out instead of resuming it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a small translation model, prune it, and measure the result: a few minutes, no downloads."""
    from tprune.cli.whole_run import Whole, start
    from tprune.data.synthetic.grammar import corpus
    from tprune.recipe.reader import read_recipe

    recipe = read_recipe(DEMO)
    recipe = recipe if seed is None else recipe.model_copy(update={"seed": seed})
    data = corpus(seed=recipe.seed, **recipe.data.limit)
    start(Whole(out, recipe, data, None, device=device, force=force), as_json)
