"""`tprune run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen
from tprune.cli.given import task_name
from tprune.cli.options.checks import not_empty
from tprune.cli.options.data import AllPairs, AllSets, given_data
from tprune.cli.options.run import Begin, Budget, Cutting, Settings, Timing, Training
from tprune.cli.options.single import Dense


def run(
    recipe: Annotated[Path, typer.Argument(help="YAML file of a recipe.")],
    begin: Begin,
    sets: AllSets,
    pairs: AllPairs,
    budget: Budget,
    cutting: Cutting,
    training: Training,
    timing: Timing,
    settings: Settings,
    model: Annotated[
        str | None,
        typer.Option(
            callback=not_empty,
            help="Trained model to start from: a model's folder, a hub id or a run (default: train the recipe's "
            "model).",
        ),
    ] = None,
    dense: Dense = False,
) -> None:
    """Run all stages of a recipe: train, analyse, prune, shrink, recover, export, evaluate, measure, report."""
    targets = budget.targets(needed=False)
    from tprune.cli.recipe_options import Options
    from tprune.cli.whole_run import Whole, start
    from tprune.recipe.reader import read_recipe

    if dense and model is None:
        raise typer.BadParameter("--dense says which model of a run to start from; give --model RUN, or leave it out")
    asked = Options(cutting, training, timing, settings, targets, budget.plan is not None)
    asked.check()
    read, given = read_recipe(recipe), given_data(sets, pairs)
    asked.changed(read, str(recipe))  # mistakes are told before the model's
    where = None if model is None else chosen(model, dense)
    checked = asked.changed(read, str(recipe), task_name(given, where, read.task))
    start(Whole.of(begin, checked, given, where, budget, cutting, training, ("train", "valid", "test")), begin.as_json)
