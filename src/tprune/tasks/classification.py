"""What tasks share that give one class to an input, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from tprune.core.labels import label_loss
from tprune.core.model import Outputs
from tprune.core.score import Score
from tprune.core.task import Batch
from tprune.tasks.metrics.accuracy import accuracy


class Runs(Protocol):
    """A task that runs a model."""

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """The model's outputs."""
        ...


class Classification:
    """One class an input: labels are (batch,), logits (batch, classes)."""

    def labels(self, batch: Batch) -> Tensor:
        """The classes, (batch,)."""
        return batch["labels"]

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of an input (nats)."""
        return label_loss(logits, batch["labels"], smoothing)

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Nothing: the model runs in one pass."""
        return iter(())

    @torch.no_grad()
    def predict(self: Runs, model: nn.Module, batch: Batch) -> list[int]:
        """The likeliest class of every input."""
        classes: list[int] = self.run(model, batch).logits.argmax(-1).tolist()
        return classes

    def score(self, predicted: Sequence[int], expected: Sequence[int]) -> Score:
        """Accuracy."""
        return accuracy(predicted, expected)
