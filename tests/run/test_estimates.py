"""Times that are told come from a step of the model itself."""

import io
from typing import Any

import pytest
import torch
from rich.console import Console

from small_pairs import PAIRS, model_and_tokenizer
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Recipe
from tprune.run.estimates import expected_seconds, planned, timed_step, where
from tprune.run.stage_times import PLAN, PLANS, Pace
from tprune.support.reporting import Progress
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData


def recipe(**parts: Any) -> Recipe:
    return check_recipe(
        {
            "data": {},
            "train": {"steps": 100, "batch_tokens": 64},
            "analyze": {"steps": 0},
            "prune": {"steps": 0, "macs": 0.5},
            "recover": {"steps": 1000, "batch_tokens": 64, "distill": 0.0},
            **parts,
        }
    )


@pytest.fixture
def material() -> tuple[Any, TrainingData]:
    model, tokenizer = model_and_tokenizer()
    return model, TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8), precision="fp32")


def test_a_step_is_timed_without_leaving_a_trace(material: tuple[Any, TrainingData]) -> None:
    model, sentences = material
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training, random = model.training, torch.random.get_rng_state()
    seconds = iter([0.0, 9.0, 10.0, 10.5, 20.0, 20.25])
    pace = timed_step(model, sentences, 64, lambda: next(seconds))
    assert pace.step == 9.0  # long enough: no other is timed
    seconds = iter([0.0, 2.0, 10.0, 10.5, 20.0, 20.25])
    pace = timed_step(model, sentences, 64, lambda: next(seconds))
    assert pace.step == 0.25 and 32 / 0.25 < pace.tokens <= 64 / 0.25
    assert torch.equal(random, torch.random.get_rng_state()) and model.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_step_of_a_wider_model_takes_longer_to_come(material: tuple[Any, TrainingData]) -> None:
    model, sentences = material
    slow, fast = (expected_seconds(recipe(), model, sentences, Pace(tokens, 1.0)) for tokens in (64.0, 640.0))
    assert slow["train"] == pytest.approx(100.0) and fast["train"] == pytest.approx(10.0)
    assert slow["recover"] == pytest.approx(1000.0)
    taught = recipe(recover={"steps": 1000, "batch_tokens": 64, "distill": 0.5, "sequence_distillation": 0.5})
    found = expected_seconds(taught, model, sentences, Pace(64.0, 1.0))
    assert found["recover"] == pytest.approx(1000 * 4 / 3) and found["distill-data"] > fast["recover"] / 10
    looks = recipe(train={"steps": 100, "batch_tokens": 64, "eval_every": 10})
    assert expected_seconds(looks, model, sentences, Pace(64.0, 1.0))["train"] > slow["train"]
    assert set(planned(looks)) <= set(found) and all(found.values())


def test_every_precision_that_is_measured_takes_its_time(material: tuple[Any, TrainingData]) -> None:
    """A latency table for each, and for `auto` the losses of rounding too; memory and size are of one table or none."""
    model, sentences = material

    def seconds(compares: bool = False, precision: str = "fp32", asked: str = "speedup") -> float:
        how = recipe(prune={"steps": 0, asked: 2.0}, bench={"precision": precision})
        return expected_seconds(how, model, sentences, Pace(64.0, 1.0), compares)["profile"]

    table = PLANS * PLAN
    assert seconds(precision="int8") == seconds()
    assert seconds(compares=True) - seconds() == pytest.approx(table, rel=1e-3)
    assert seconds(compares=True, precision="int8-weights") - seconds() == pytest.approx(2 * table, rel=1e-3)
    assert seconds(precision="auto") - seconds() > table
    assert seconds(compares=True, precision="auto") == seconds(precision="auto")


def test_only_stages_that_come_are_planned() -> None:
    plain = ["train", "prune", "shrink", "recover", "export", "evaluate", "bench"]
    assert list(planned(recipe(prune={"steps": 0, "macs": 0.5, "allocation": "uniform"}))) == plain
    how = recipe(prune={"steps": 0, "macs": 0.5, "allocation": "loss"}, analyze={"steps": 3})
    assert list(planned(how)) == ["train", "profile", "analyze", *plain[1:]]
    assert list(planned(how, trims=True, given=True)) == ["train", "trim", "analyze", *plain[1:]]
    assert set(planned(how).values()) == {0.0}


def test_nothing_is_said_before_a_step_was_timed() -> None:
    shown = io.StringIO()
    progress = Progress(planned(recipe()), Console(file=shown, width=200))
    progress.stage("train", "100 steps")
    assert "left" not in shown.getvalue()


def test_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert where() == "this core"
    torch.set_num_threads(2)
    assert where() == "these 2 cores"
