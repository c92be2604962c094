"""A task that a small model learns in a few steps, and callbacks that watch and end its training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from tprune.tasks.translation.encoding import EncodedPairs, MarianSize, new_model
from tprune.train.schedule import TrainingConfig

SIZE = MarianSize(16, (1, 1), 2, 24, 30, dropout=0.2, positions=24)
HOW = TrainingConfig(steps=10, lr=5e-3, warmup=2, batch_tokens=64, precision="fp32", seed=3)


def pairs(n: int, seed: int = 0) -> EncodedPairs:
    """The target is the source, reversed: something to learn."""
    rng = np.random.default_rng(seed)
    source = tuple([*rng.integers(3, 30, rng.integers(2, 9)).tolist(), 1] for _ in range(n))
    return EncodedPairs(source, tuple([*s[-2::-1], 1] for s in source))


def model_of(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return new_model(SIZE, 30)


def weights(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class KilledError(Exception):
    pass


class KillAt(TrainerCallback):
    """Dies in the middle of step `step` + 1, as a killed process would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KilledError


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        control.should_training_stop = state.global_step >= self.step
        return control


class Begins(TrainerCallback):
    """Notes at which step a training begins."""

    at: int = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.at = state.global_step


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
