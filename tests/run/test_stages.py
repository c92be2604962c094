"""The names of stages are those that a run has, in the order in which it does them."""

import itertools

import pytest

from tprune.recipe.schema import Analyze, Data, Prune, Recipe, Recover, Stage
from tprune.run.estimates import planned as estimated
from tprune.run.stage import STAGES, check_until, planned
from tprune.support.errors import InputError

NONE = {"data": Data(), "train": Stage(steps=0)}


def recipes() -> list[Recipe]:
    prunes = [
        Prune(steps=0, macs=0.5), Prune(steps=2, speedup=2, sequence=0.5), Prune(steps=0, macs=0.5, budget="loss", written=9),
    ]  # fmt: skip
    recovers = [Recover(steps=3, distill=0, sequence=0.5), Recover(steps=3, distill=0)]
    analyses = [Analyze(steps=0), Analyze(steps=5)]
    return [Recipe(**NONE, prune=p, recover=r, analyze=a) for p, r, a in itertools.product(prunes, recovers, analyses)]


def test_the_planned_stages_are_those_of_a_run() -> None:
    found = set()
    for recipe, trims in itertools.product(recipes(), (True, False)):
        stages = planned(recipe, trims)
        assert list(stages) == [name for name in STAGES if name in stages] == list(estimated(recipe, trims))
        assert planned(recipe, trims, given=True) == tuple(name for name in stages if name != "time")
        found |= set(stages)
    assert found == set(STAGES)


def test_a_run_stops_after_a_stage_that_it_has() -> None:
    recipe = recipes()[2]
    check_until("shrink", recipe, trims=False)
    with pytest.raises(InputError, match="--until trim: this run has no such stage; its stages are train, prune, "):
        check_until("trim", recipe, trims=False)
    check_until("trim", recipe, trims=True)
