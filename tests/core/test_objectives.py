"""Objectives: what is known of each, and that no unknown one passes for the loss."""

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from tprune.budget.evidence import objective_of
from tprune.budget.frontier import Point
from tprune.cli.options.choices import Objectives
from tprune.core.objectives import OBJECTIVES, Objective, objective_rule
from tprune.recipe.schema import Prune
from tprune.report.frontier import frontier_table
from tprune.support.errors import InputError


def test_one_table_has_the_words_of_recipes_and_options() -> None:
    assert tuple(OBJECTIVES) == get_args(Objective) == tuple(map(str, Objectives))
    assert Prune.model_validate({"steps": 0, "objective": "divergence"}).objective == "divergence"


def test_an_unknown_objective_is_refused_and_is_not_the_loss() -> None:
    with pytest.raises(InputError, match="expected one of loss, divergence, got 'perplexity'"):
        objective_rule("perplexity")
    how: Any = SimpleNamespace(objective="perplexity")
    material: Any = SimpleNamespace(task=None, valid=None, batches=lambda data, sentences: [])
    with pytest.raises(InputError, match="got 'perplexity'"):
        objective_of(how, SimpleNamespace(), material)  # type: ignore[arg-type]


def test_tables_name_what_is_added() -> None:
    points = [Point("fp32", 1.2, 1.2, 3.0, 0.01, 10)]
    assert "loss added, nats" in frontier_table(points, "sentence")
    assert "divergence added, nats" in frontier_table(points, "sentence", "divergence")
