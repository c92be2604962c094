"""One sequence: `tprune.compress` and a run that is asked for the same make the same, and a run says whose each file
is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import tprune
from small_pairs import PAIRS
from tprune.data.parallel import Corpus
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Recipe
from tprune.run.estimates import planned
from tprune.run.folder import OWN, Run
from tprune.run.out_folder import LOCK
from tprune.run.stage import STAGES
from tprune.run.stages import run
from tprune.support.files import read_json
from tprune.support.reporting import Progress
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

STEPS = {"steps": 3, "warmup": 1, "batch_tokens": 64}
TRAINED = {
    "prune": {**STEPS, "macs": 0.8},
    "recover": {**STEPS, "distill": 0.5},
    "analyze": {"steps": 3, "batch_tokens": 64},
}
SHOT = {
    "prune": {"steps": 0, "macs": 0.8, "allocation": "loss", "search": 2, "output_vocabulary": 36},
    "recover": {**STEPS, "distill": 0.0},
    "analyze": {"steps": 0},
}
TAUGHT = {**SHOT, "recover": {**STEPS, "distill": 0.0, "sequence_distillation": 0.5}}


def recipe_of(sections: dict[str, Any]) -> Recipe:
    bench = {"sentences": 2, "rounds": 4}
    return check_recipe({"data": {}, "train": {"steps": 0}, "seed": 3, "bench": bench, **sections})


def run_of(out: Path, recipe: Recipe, model: Path, until: str | None = None) -> Run:
    corpus = Corpus(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})
    return Run(out, recipe, corpus, str(model), "test", Progress(planned(recipe)), until=until)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(PAIRS.source + PAIRS.target, 40, 32)
    model = new_model(MarianSize(16, (1, 1), 2, 32, 40, 0.1, 32), len(tokenizer))
    return tprune.save(model, tmp_path_factory.mktemp("dense") / "model", tokenizer)


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param(TRAINED, id="trained", marks=pytest.mark.slow),
        pytest.param(SHOT, id="one shot", marks=pytest.mark.slow),
        pytest.param(TAUGHT, id="taught", marks=pytest.mark.slow),
    ],
)
def test_a_run_and_one_call_make_the_same(sections: dict[str, Any], dense: Path, tmp_path: Path) -> None:
    recipe = recipe_of(sections)
    run(run_of(tmp_path / "run", recipe, dense, until="recover"))
    model, tokenizer = tprune.load(dense), tprune.load_tokenizer(dense)
    analyze = recipe.analyze if recipe.analyze.steps else None
    one = tprune.compress(
        model, tokenizer, PAIRS, PAIRS.head(8), seed=3, prune=recipe.prune, recover=recipe.recover, analyze=analyze
    )
    kept = tprune.load(tmp_path / "run" / "pruned").state_dict()
    here = one.model.state_dict()
    assert kept.keys() == here.keys() and all(torch.equal(kept[name], here[name]) for name in here)
    assert (tmp_path / "run" / "pruned" / "plan.json").read_text() == one.plan.to_json()
    assert read_json(tmp_path / "run" / "stages" / "recover.json")["loss"] == one.losses
    assert (tmp_path / "run" / "analysis.json").exists() == (one.analysis is not None)


@dataclass(frozen=True)
class Claim:
    """Who leaves a file: a stage, or the run itself."""

    file: str
    by: tuple[str, ...]


def claims(out: Path) -> Iterator[Claim]:
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        inside = path.relative_to(out)
        stages = [s.name for s in STAGES if any(inside.is_relative_to(output) for output in s.outputs)]
        own = [name for name in OWN if inside.is_relative_to(name)]
        yield Claim(inside.as_posix(), (*stages, *own))


@pytest.mark.slow
@pytest.mark.parametrize("sections", [TRAINED, TAUGHT], ids=["trained", "taught"])
def test_every_file_of_a_finished_run_is_of_one_stage(sections: dict[str, Any], dense: Path, tmp_path: Path) -> None:
    recipe = recipe_of(sections)
    run(run_of(tmp_path / "run", recipe, dense))
    found = [claim for claim in claims(tmp_path / "run") if claim.file != LOCK]
    assert found and not [claim for claim in found if len(claim.by) != 1]
    left = {stage.name for stage in STAGES if stage.name in planned(recipe) and stage.outputs}
    timed = {"profile"} if not recipe.prune.timed else set()  # without a table of times its marker says all
    assert {claim.by[0] for claim in found} - set(OWN) == left - timed
