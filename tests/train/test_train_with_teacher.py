"""Training with a teacher: losses go down, a killed run resumes to the same weights, rates are replayed exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

from small_training import HOW, Begins, KillAt, KilledError, assert_equal, model_of, pairs, weights
from tprune.core.labels import label_loss
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import Collate, EncodedPairs
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.losses import MixedTargets, hidden_distillation
from tprune.train.schedule import TrainingConfig, rewound
from tprune.train.trainer import train

DATA, VALID = pairs(60), pairs(10, 1)
TAUGHT = EncodedPairs(DATA.source, tuple([5, 6, 1] for _ in range(60)))  # what this teacher says, whatever it reads
ALL = replace(HOW, distill=0.5, hidden_distillation=0.7, sequence_distillation=0.5, rewind=40)


class Rates(TrainerCallback):
    """Notes the learning rate that every step was made with."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_pre_optimizer_step(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        self.found.append(optimizer.param_groups[0]["lr"])


def run(out: Path, how: TrainingConfig, *callbacks: TrainerCallback) -> Any:
    torch.manual_seed(99)
    model = model_of()
    data = MixedTargets(DATA, TAUGHT) if how.sequence_distillation else DATA
    train(model, data, VALID, how, out, teacher=model_of(5), callbacks=callbacks, save_every=2)
    return model


@torch.no_grad()
def hidden_loss(model: Any) -> float:
    batch = Collate(0)([DATA[i] for i in range(20)])
    outputs = [m.eval()(**batch, output_hidden_states=True) for m in (model, model_of(5))]
    return float(hidden_distillation(*(TRANSLATION.states(o, batch) for o in outputs)))


@torch.no_grad()
def loss_on(model: Any, data: EncodedPairs) -> float:
    batch = Collate(0)([data[i] for i in range(20)])
    return float(label_loss(model.eval()(**batch).logits, batch["labels"]))


@pytest.mark.slow
def test_hidden_states_come_closer_to_the_teachers(tmp_path: Path) -> None:
    how = replace(HOW, steps=40, hidden_distillation=5.0)
    with_it, without = run(tmp_path / "a", how), run(tmp_path / "b", replace(how, hidden_distillation=0.0))
    assert hidden_loss(with_it) < 0.7 * hidden_loss(model_of())
    assert hidden_loss(with_it) < 0.7 * hidden_loss(without)


@pytest.mark.slow
def test_the_share_of_the_teachers_translations_decides_what_is_learnt(tmp_path: Path) -> None:
    losses = [
        loss_on(run(tmp_path / str(s), replace(HOW, steps=40, sequence_distillation=s)), TAUGHT)
        for s in (0.0, 0.3, 1.0)
    ]
    assert losses[2] < losses[1] < losses[0] and losses[2] < 0.5 * loss_on(model_of(), TAUGHT)


def test_with_everything_a_killed_training_resumes_to_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole = weights(run(tmp_path / "whole", ALL))
    with pytest.raises(KilledError):
        run(tmp_path / "broken", ALL, KillAt(5))
    begins, rates, every = Begins(), Rates(), Rates()
    assert_equal(weights(run(tmp_path / "broken", ALL, begins, rates)), whole)
    assert begins.at == 4
    run(tmp_path / "again", ALL, every)
    assert rates.found == every.found[4:]
    other = weights(run(tmp_path / "other", replace(ALL, sequence_distillation=0.6)))
    assert any(not torch.equal(other[name], whole[name]) for name in whole)


@pytest.mark.parametrize(("warmup", "total"), [(2, 40), (0, 10), (35, 40)])
def test_rewinding_replays_the_end_of_the_longer_schedule(tmp_path: Path, warmup: int, total: int) -> None:
    rates, how = Rates(), replace(HOW, warmup=warmup, rewind=total)
    run(tmp_path, how, rates)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=how.lr)
    dense: LambdaLR = get_cosine_schedule_with_warmup(optimizer, warmup, total)
    expected = []
    for _ in range(total):
        expected.append(dense.get_last_lr()[0])
        optimizer.step()
        dense.step()
    assert rates.found == pytest.approx(expected[-how.steps :], rel=1e-9)
    assert rewound(how, how.steps) == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_taught_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rewind: a schedule of 9 steps has no last 10"):
        replace(HOW, rewind=9)
    model = model_of()
    with pytest.raises(InputError, match=r"sequence_distillation: a share of 0\.5 needs the teacher's translations"):
        train(model, DATA, VALID, replace(HOW, sequence_distillation=0.5), tmp_path)
    with pytest.raises(InputError, match="sequence_distillation: 0, but"):
        train(model, MixedTargets(DATA, TAUGHT), VALID, HOW, tmp_path)
    with pytest.raises(InputError, match="hidden_distillation 1: a teacher is needed"):
        train(model, DATA, VALID, replace(HOW, hidden_distillation=1.0), tmp_path)
