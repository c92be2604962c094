"""Two tasks for one class of models: the one that is given is asked everything, the one that the model fits first
nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tprune
from other_tasks import time_is_multiplications
from small_texts import TEXTS, classifier, tokenizer
from tprune.core.data import evenly
from tprune.core.known_tasks import TASKS, task_of
from tprune.core.task import Batch
from tprune.costs.latency.table import TimingConfig
from tprune.counting.size import size
from tprune.data.splits import Splits
from tprune.recipe.changes import built_in, changed
from tprune.recipe.reader import read_recipe
from tprune.report.results import finished
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.stages import run
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.export import export
from tprune.support.reporting import Progress
from tprune.tasks.text_classification import TEXT_CLASSIFICATION, TextClassification

SHORT = 7  # tokens of the example, so that sizes are not those of ours


@dataclass(frozen=True)
class Reviews(TextClassification):
    """As ours, of shorter texts; counts how often it is asked what."""

    tokens: int = SHORT
    asked: Counter[str] = field(default_factory=Counter)
    name: ClassVar[str] = "reviews"

    def example(self, model: Any) -> Batch:
        self.asked["example"] += 1
        return super().example(model)

    def prompt(self, batch: Batch) -> Batch:
        self.asked["prompt"] += 1
        return super().prompt(batch)

    def loss(self, logits: Any, batch: Batch, smoothing: float = 0.0) -> Any:
        self.asked["loss"] += 1
        return super().loss(logits, batch, smoothing)

    def positions(self, batch: Batch, stack: str) -> Any:
        self.asked["positions"] += 1
        return super().positions(batch, stack)


class Other(TextClassification):
    """Fits the same models, and is never to be asked anything else."""

    name: ClassVar[str] = "other"

    def wrong(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("another task than the given one was asked")

    example = random = collate = run = prompt = loss = labels = positions = encode = predict = measures = wrong


@pytest.fixture
def reviews(monkeypatch: pytest.MonkeyPatch) -> Reviews:
    monkeypatch.setattr(TASKS, "entered", {})
    mine = Reviews()
    TASKS.enter("other", Other())
    TASKS.enter("reviews", mine)
    assert task_of(classifier()).name == "other" and task_of(classifier(), "reviews") is mine
    return mine


@pytest.mark.slow
def test_one_call_and_an_export_ask_the_given_task(reviews: Reviews, tmp_path: Path) -> None:
    model, data = classifier(), (TEXTS, evenly(TEXTS, 8))
    small = tprune.compress(model, tokenizer(), *data, macs=0.5, steps=2, task=reviews)
    assert small.dense == size(model, reviews) and small.dense.macs < size(model, TEXT_CLASSIFICATION).macs
    assert small.reached.macs <= 0.5 * small.dense.macs
    assert all(reviews.asked[member] for member in ("example", "loss", "positions", "prompt"))
    export(small.model, tokenizer(), tmp_path / "exported", TEXTS.texts[:2], task=reviews)
    layout = read_layout(tmp_path / "exported")
    assert (layout.task, layout.macs) == ("reviews", small.reached.macs)


def test_a_time_is_that_of_the_given_task(reviews: Reviews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_is_multiplications(monkeypatch, tmp_path)
    prune = tprune.Prune(kinds=["ffn"], steps=0, speedup=1.02, search=0)
    how = {"prune": prune, "recover": tprune.Recover(steps=0), "setting": TimingConfig(rounds=4)}
    small = tprune.compress(classifier(), tokenizer(), TEXTS, evenly(TEXTS, 8), **how, task=reviews)
    assert small.times is not None and small.reached.macs < small.dense.macs


@pytest.mark.slow
def test_a_run_asks_the_task_of_its_recipe(reviews: Reviews, tmp_path: Path) -> None:
    dense = tprune.save(classifier(), tmp_path / "dense", tokenizer())
    how = {"task": "reviews", "prune.steps": 2, "recover.steps": 2, "bench.rounds": 4, "prune.multiple": {}}
    recipe = changed(read_recipe(built_in("reviews")), "prune", how, {"macs": 0.5}, needed=True)
    corpus: Any = Splits(TEXTS, evenly(TEXTS, 8), {"test": evenly(TEXTS, 12)})
    run(Run(tmp_path / "run", recipe, corpus, str(dense), "tprune prune", Progress(planned(recipe))))
    found = finished(tmp_path / "run")
    assert found.task == "reviews" and found.dense.macs == size(classifier(), reviews).macs
    assert read_layout(tmp_path / "run" / "onnx" / "pruned").macs == found.pruned.macs
