"""The divergence from the dense model: what it is, that nothing is read of labels, and where it is refused."""

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from other_tasks import examples, material, plan_of, small
from small_models import small_batch, small_model
from tprune.analysis.divergence import check_distribution, divergence_on
from tprune.budget.evidence import Evidence, measure_loss_curves, objective_of, search_allocation, select_plan
from tprune.core.known_tasks import TASKS, task_of
from tprune.core.labels import IGNORED
from tprune.core.plan import Plan
from tprune.recipe.changes import built_in
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Prune, Recipe
from tprune.run.preparation import preparation_of
from tprune.support.errors import InputError
from tprune.train.training_data import TrainingData

NAME = "bert-classifier"
HOW: dict[str, Any] = {"kinds": ["ffn"], "steps": 0, "macs": 0.85, "allocation": "loss"}


def noisy(model: Any, by: float = 0.3) -> Any:
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(by * torch.randn_like(tensor))
    return model


def test_it_is_the_mean_kl_of_the_outputs_that_count() -> None:
    model: Any = small_model("marian").float().eval()
    batch = {**small_batch()}
    assert (batch["labels"] == IGNORED).any()
    divergence = divergence_on([batch, batch], model)
    assert divergence(model) == 0.0
    dense = task_of(model).run(model, batch).logits.double().softmax(-1)
    found = divergence(noisy(model).train())
    assert model.training
    changed = task_of(model).run(model.eval(), batch).logits.double().softmax(-1)
    each = (dense * (dense / changed).log()).sum(-1)[batch["labels"] != IGNORED].detach()
    assert found == pytest.approx(float(each.mean()), rel=1e-4) and found > 0.01


def test_more_logits_than_are_remembered_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(NAME)
    learnt = material(NAME, model)
    batches = learnt.batches(learnt.valid, 24)
    once = divergence_on(batches, model)
    monkeypatch.setattr("tprune.analysis.divergence.REMEMBERED", 0)
    again = divergence_on(batches, model)
    noisy(model)
    assert once(model) == again(model) == once(model) > 0


def test_the_dense_model_is_copied_only_where_its_outputs_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    model, copies = small(NAME), list[nn.Module]()
    learnt = material(NAME, model)
    batches = learnt.batches(learnt.valid, 24)
    counting = SimpleNamespace(deepcopy=lambda one: (copies.append(one), copy.deepcopy(one))[1])
    monkeypatch.setattr("tprune.analysis.divergence.copy", counting)
    divergence_on(batches, model)
    assert not copies
    monkeypatch.setattr("tprune.analysis.divergence.REMEMBERED", 5)
    divergence_on(batches, model)
    assert copies == [model]


def test_a_model_that_fails_trains_on_afterwards_and_labels_that_all_are_ignored_are_refused() -> None:
    model: Any = small_model("marian").float().train()
    batch = {**small_batch()}
    divergence = divergence_on([batch], model)
    assert model.training
    model.lm_head = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):
        divergence(model)
    assert model.training
    batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    with pytest.raises(InputError, match="no output of 1 batches counts, since every label is -100"):
        divergence_on([batch], model)


def chosen(model: Any, learnt: TrainingData, objective: str, search: int = 0) -> tuple[Plan, list[str]]:
    said: list[str] = []
    how, plan = Prune.model_validate({**HOW, "objective": objective, "search": search}), plan_of(model, "ffn")
    evidence = Evidence(None, measure_loss_curves(model, plan, how, learnt, said.append))
    evidence = search_allocation(model, plan, how, evidence, learnt, said.append)
    return select_plan(model, plan, how, None, evidence), said


def test_labels_change_the_loss_and_nothing_of_a_choice_by_divergence() -> None:
    model = small(NAME)
    learnt = material(NAME, model)
    data = examples(NAME)
    blind = replace(data, classes=(0,) * len(data))  # inputs whose classes nobody knows
    unlabelled = TrainingData(learnt.task, blind, blind)
    how = Prune.model_validate(HOW)
    assert objective_of(how, model, learnt)(model) != objective_of(how, model, unlabelled)(model)
    by_labels, said = chosen(model, learnt, "divergence")
    without, _ = chosen(model, unlabelled, "divergence")
    assert by_labels == without and by_labels.selected
    assert said[0].startswith("divergence of each coupling at each size")


@pytest.mark.slow
def test_the_search_never_ends_further_from_the_dense_model_than_it_began() -> None:
    model = small("llama")
    learnt = material("llama", model)
    _, said = chosen(model, learnt, "divergence", search=1)
    assert "divergence before training: " in said[-1] and "dense 0.00000" in said[-1]
    numbers = [float(word) for word in said[-1].replace(")", "").split() if word.replace(".", "").isdigit()]
    assert numbers[0] <= numbers[-1]


def recipe(task: str, **prune: Any) -> Recipe:
    found = read_recipe(built_in(task))
    section = Prune.model_validate({**found.prune.model_dump(), "macs": 0.5, "objective": "divergence", **prune})
    return found.model_copy(update={"prune": section})


def test_where_nothing_is_measured_or_there_is_no_distribution_it_is_refused() -> None:
    similar = TASKS["sentence-similarity"]
    with pytest.raises(InputError, match="models for sentence-similarity give no distribution"):
        check_distribution(similar)
    with pytest.raises(InputError, match="models for sentence-similarity give no distribution"):
        preparation_of(similar).check_options(recipe("sentence-similarity"))
    for task in ("text-classification", "translation"):
        preparation_of(TASKS[task]).check_options(recipe(task))
        with pytest.raises(InputError, match=r"objective divergence: nothing is measured with .*allocation uniform"):
            preparation_of(TASKS[task]).check_options(recipe(task, allocation="uniform"))


def test_outputs_that_are_no_distribution_are_refused() -> None:
    model = small(NAME)
    learnt = material(NAME, model)
    batches = learnt.batches(learnt.valid, 24)

    class One:
        """A task whose models give one number an input."""

        name = "regression"
        labels = staticmethod(learnt.task.labels)

        def run(self, of: Any, batch: Any, *, hidden: bool = False) -> Any:
            found = learnt.task.run(of, batch)
            found.logits = found.logits[:, :1]
            return found

    with pytest.raises(InputError, match=r"logits, \(\d+, 1\), are no distribution .* of regression"):
        divergence_on(batches, model, One())(model)  # type: ignore[arg-type]
