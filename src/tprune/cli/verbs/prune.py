"""`tprune prune`."""

from __future__ import annotations

from dataclasses import replace

from tprune.cli.console import chosen
from tprune.cli.given import task_name
from tprune.cli.options.data import AllPairs, AllSets, given_data
from tprune.cli.options.run import BaseRecipe, Begin, Budget, Cutting, Timing, Training
from tprune.cli.options.single import Checkpoint, Dense


def prune(
    model: Checkpoint,
    begin: Begin,
    sets: AllSets,
    pairs: AllPairs,
    budget: Budget,
    cutting: Cutting,
    training: Training,
    timing: Timing,
    settings: BaseRecipe,
    dense: Dense = False,
) -> None:
    """Make a trained model smaller: choose what goes, cut, recover, export, evaluate, measure, report."""
    targets = budget.targets(needed=settings.recipe is None)
    from tprune.cli.recipe_options import Options
    from tprune.cli.whole_run import Whole, start
    from tprune.recipe.changes import built_in
    from tprune.recipe.reader import read_recipe
    from tprune.run.translation import TRAINED

    given = given_data(sets, pairs)
    given.pairs()  # one of a pair without the other is refused before anything is read
    asked = Options(cutting, training, timing, settings, targets, budget.plan is not None, settings.recipe is None)
    asked.check()
    own = read_recipe(settings.recipe) if settings.recipe else None
    name = str(settings.recipe) if settings.recipe else "prune"
    asked.changed(own or read_recipe(built_in(given.task or TRAINED)), name)  # mistakes are told before the model's
    where = chosen(model, dense)
    task = task_name(given, where)
    checked = asked.changed(own or read_recipe(built_in(task)), name, task)
    whole = Whole.of(begin, checked, given, where, budget, cutting, training, ("train", "valid"))
    start(replace(whole, tunable=own is None and not asked.sets("prune.multiple")), begin.as_json)
