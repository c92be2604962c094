"""A run whose stages train on the teacher's translations makes these once, and only where they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from small_pairs import PAIRS
from tprune.data.parallel import Corpus
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Recipe
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.results import cut_short, harm
from tprune.run.stages import run
from tprune.support.files import read_json, write_json
from tprune.support.reporting import Progress
from tprune.train.pseudo_targets import TARGETS

STAGE = {"steps": 2, "warmup": 1, "batch_tokens": 64}


def recipe_with(prune: dict[str, Any], recover: dict[str, Any]) -> Recipe:
    return check_recipe(
        {
            "data": {},
            "model": {"d_model": 16, "layers": [1, 1], "heads": 2, "ffn": 32, "vocabulary": 40, "positions": 32},
            "train": STAGE,
            "analyze": {"steps": 2, "batch_tokens": 64},
            "prune": {**STAGE, "macs": 0.85, **prune},
            "recover": {**STAGE, **recover},
            "bench": {"sentences": 2, "rounds": 4},
        }
    )


@pytest.mark.parametrize(
    ("prune", "recover", "asked"),
    [
        ({}, {}, False),
        ({"sequence_distillation": 1}, {}, True),
        ({}, {"sequence_distillation": 0.1}, True),
        ({}, {"sequence_distillation": 1, "steps": 0}, False),
    ],
)
def test_the_stage_is_planned_where_it_is_needed(prune: dict[str, Any], recover: dict[str, Any], asked: bool) -> None:
    recipe = recipe_with(prune, recover)
    assert ("distill-data" in planned(recipe)) is asked


@pytest.mark.parametrize(("after", "warned"), [(2.0, False), (1.4, False), (2.5, True)])
def test_a_recovery_that_does_harm_is_named(tmp_path: Path, after: float, warned: bool) -> None:
    recipe = recipe_with({}, {"steps": 20})
    run_ = Run(tmp_path, recipe, Corpus(PAIRS, PAIRS, {}), None, "test", Progress({}))
    write_json(tmp_path / "stages" / "recover.json", {"loss": {"dense": 1.0, "cut": 2.0, "recovered": after}})
    found = harm(run_)
    assert bool(found) is warned
    if warned:
        assert "from 2.000 to 2.500 nats: give it more steps than 20" in found[0] and str(tmp_path / "cut") in found[0]


def test_translations_that_end_at_the_limit_are_named(tmp_path: Path) -> None:
    run_ = Run(tmp_path, recipe_with({}, {}), Corpus(PAIRS, PAIRS, {}), None, "test", Progress({}))
    assert cut_short(run_) == []
    write_json(tmp_path / "stages" / "distill-data.json", {"sentences": 9, "at_limit": 0.06, "limit": 20})
    facts = {"dense": {"at_limit": 0.05, "limit": 20}, "pruned": {"at_limit": 1.0, "limit": 24}}
    write_json(tmp_path / "stages" / "evaluate.json", {"facts": facts})
    teacher, pruned = cut_short(run_)
    assert teacher.startswith("teacher model: 6 % of the translations end at the limit of 20 tokens")
    assert pruned.startswith("pruned model: 100 % of the translations end at the limit of 24 tokens")
    write_json(tmp_path / "stages" / "distill-data.json", {"sentences": 9})  # of before it was counted
    assert len(cut_short(run_)) == 1


@pytest.mark.slow
def test_a_run_that_learns_from_translations(tmp_path: Path) -> None:
    recipe = recipe_with({}, {"sequence_distillation": 0.5, "hidden_distillation": 0.5, "rewind": 20})
    corpus = Corpus(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})

    def go() -> dict[str, Any]:
        return run(Run(tmp_path, recipe, corpus, None, "test", Progress(planned(recipe))))

    first = go()
    made = read_json(tmp_path / "stages" / "distill-data.json")
    assert made["sentences"] == 32 and 0 <= made["at_limit"] <= 1 and first["taught"] == made
    lines = (tmp_path / "taught" / TARGETS).read_text().splitlines()
    assert len(lines) == 32 and all(lines)
    assert read_json(tmp_path / "stages" / "recover.json")["loss"].keys() == {"dense", "cut", "recovered"}
    (tmp_path / "stages" / "recover.json").unlink()
    again = go()  # the recovery once more, from the same translations
    assert again["pruned"]["scores"] == first["pruned"]["scores"]
