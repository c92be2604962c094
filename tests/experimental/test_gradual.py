"""Cutting in rounds: sizes follow the cubic, every round is certified, and a killed call ends in the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tprune
from small_pairs import PAIRS, model_and_tokenizer
from small_training import KillAt, KilledError, assert_equal, weights
from tprune.core.selection import Limits
from tprune.counting.size import size
from tprune.experimental.gradual import Gradual, ShareOfDense, cut_in_rounds, share_left
from tprune.recipe.schema import Prune, Recover
from tprune.support.errors import InputError, UnreachableError
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData

PRUNE = Prune(steps=0, macs=0.85, kinds=["ffn"])
RECOVER = Recover(steps=7, warmup=1, batch_tokens=64, distill=0.5)


def run(work: Path, prune: Prune = PRUNE, recover: Recover = RECOVER, rounds: int = 3, *callbacks: Any) -> Gradual:
    model, tokenizer = model_and_tokenizer()
    material = TrainingData.of(
        TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8), precision="fp32", callbacks=callbacks
    )
    return cut_in_rounds(model, material, prune, recover, rounds, work)


def test_the_share_left_is_the_cubic() -> None:
    assert [share_left(0.2, t, 4) for t in range(5)] == pytest.approx(
        [1.0, 0.2 + 0.8 * 0.75**3, 0.2 + 0.8 * 0.5**3, 0.2 + 0.8 * 0.25**3, 0.2]
    )
    assert share_left(0.3, 1, 1) == 0.3


@pytest.mark.slow
def test_every_round_has_the_size_the_cubic_asks_for_and_a_certificate(tmp_path: Path) -> None:
    dense = size(model_and_tokenizer()[0]).macs
    found = run(tmp_path, rounds=2)
    assert len(found.plans) == len(found.certificates) == 2
    assert all(c.forward <= c.limit for c in found.certificates)
    sizes = [size(tprune.load(tmp_path / f"round-{n}")).macs / dense for n in (1, 2)]
    unit = 0.01  # a hidden unit of every layer is 0.85 %
    for t, share in enumerate(sizes, start=1):
        assert share_left(0.85, t, 2) - unit < share <= share_left(0.85, t, 2)
    assert size(found.model).macs / dense == sizes[-1] < sizes[0]
    assert not list(tmp_path.glob("training-*"))
    assert all(
        not torch.equal(a, b)
        for a, b in zip(  # the rounds did train
            tprune.load(tmp_path / "round-2").model.decoder.layers[0].self_attn.parameters(),
            model_and_tokenizer()[0].model.decoder.layers[0].self_attn.parameters(),
            strict=True,
        )
    )


@pytest.mark.slow
def test_a_killed_call_ends_in_the_weights_of_an_unbroken_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tprune.run.steps.SAVE_EVERY", 1)
    how = RECOVER.model_copy(update={"steps": 4})
    whole = run(tmp_path / "whole", PRUNE, how, 2)

    class InRound2(KillAt):
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            if (tmp_path / "broken" / "round-1").exists():
                super().on_pre_optimizer_step(*args, **kwargs)

    with pytest.raises(KilledError):
        run(tmp_path / "broken", PRUNE, how, 2, InRound2(1))
    assert not (tmp_path / "broken" / "round-2").exists()
    assert (tmp_path / "broken" / "training-2" / "checkpoint-1").exists()
    again = run(tmp_path / "broken", PRUNE, how, 2)
    assert_equal(weights(again.model), weights(whole.model))
    assert again.plans == whole.plans and again.certificates == whole.certificates
    assert_equal(weights(run(tmp_path / "whole", PRUNE, how, 2).model), weights(whole.model))  # done: nothing happens


@pytest.mark.slow
def test_the_loss_goes_down_in_the_rounds(tmp_path: Path) -> None:
    from tprune.analysis.loss_curves import token_loss_on

    model, tokenizer = model_and_tokenizer()
    loss = token_loss_on([TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8)).batch()])
    found = run(tmp_path, recover=RECOVER.model_copy(update={"steps": 45, "lr": 1e-2, "distill": 0.0}))
    assert loss(found.model) < 0.7 * loss(model)


@pytest.mark.slow
def test_hidden_states_can_teach_although_the_width_is_cut_twice(tmp_path: Path) -> None:
    prune = Prune(steps=0, parameters=0.7, kinds=["ffn", "width"])
    found = run(tmp_path, prune, RECOVER.model_copy(update={"hidden_distillation": 1.0, "steps": 2}), 2)
    assert found.model.get_input_embeddings().weight.shape[1] < 16
    assert all(plan.entries[-1].coupling.kind == "width" for plan in found.plans)


def test_floor_and_multiples_mean_the_dense_model_in_every_round() -> None:
    select = ShareOfDense({"a": 16, "b": 8}, Limits({"ffn": 4}, floor=0.5))
    scores = {"a": torch.arange(12.0), "b": torch.arange(8.0)}  # a has lost 4 of its 16
    kinds = {"a": "ffn", "b": "ffn"}
    assert {n: int(k.sum()) for n, k in select(scores, kinds, 0.0).items()} == {"a": 8, "b": 4}
    assert {n: int(k.sum()) for n, k in select(scores, kinds, 0.75).items()} == {"a": 12, "b": 8}
    assert {n: int(k.sum()) for n, k in select(scores, kinds, 1.0).items()} == {"a": 12, "b": 8}
    assert select(scores, kinds, 0.0)["a"].tolist() == [False] * 4 + [True] * 8


@pytest.mark.slow
def test_what_cannot_be_cut_in_rounds_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a size, not speedup"):
        run(tmp_path, Prune(steps=0, speedup=2.0))
    for rounds in (0, 8):
        with pytest.raises(InputError, match=f"rounds {rounds} for 7 steps"):
            run(tmp_path, rounds=rounds)
    with pytest.raises(UnreachableError, match="can reach"):
        run(tmp_path, Prune(steps=0, macs=0.01))
    assert not list(tmp_path.iterdir())
    run(tmp_path, rounds=1)
    with pytest.raises(InputError, match=r"another rounds \(1, now 2\)"):
        run(tmp_path, rounds=2)
