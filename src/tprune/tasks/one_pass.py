"""What tasks share whose models say everything in one pass: predictions of modules and of exported sessions alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tprune.core.model import Outputs
from tprune.core.task import Batch, Examples, Predictions, Session
from tprune.support.errors import InputError
from tprune.tasks.batches import TokenBatches

TOKENS, ROWS = 2048, 64  # of a batch, at most


class Asked(Protocol):
    """A task whose models are asked for logits."""

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """The model's outputs."""
        ...

    def prompt(self, batch: Batch) -> Batch:
        """The model's inputs."""
        ...


@runtime_checkable
class InOnePass(Asked, Protocol):
    """A task that makes predictions of logits."""

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """One padded batch."""
        ...

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        """What the predictions keep of a batch's logits, one row an example; padding must not count."""
        ...


class OnePass:
    """Predictions by batches of like length."""

    def predict(self: InOnePass, model: Any, examples: Examples, pad: int = 0) -> Predictions:
        """What a model predicts.

        Args:
            model: a module, which is left as it was, or a session with `logits`.
            examples: of the task.
            pad: the id of padding.

        Raises:
            InputError: the model is neither.
        """
        found: list[NDArray[Any]] = [np.empty(0)] * len(examples)
        with evaluating(model):
            for indices in in_batches(examples.lengths):
                batch = self.collate([examples[i] for i in indices], pad)
                for index, row in zip(indices, self.rows(logits_of(self, model, batch), batch), strict=True):
                    found[index] = row
        return Predictions(np.stack(found))


def in_batches(lengths: NDArray[Any]) -> Iterator[list[int]]:
    """All indices, those of like length together, in batches that are not too large."""
    for group in TokenBatches(lengths, TOKENS):
        yield from (group[start : start + ROWS] for start in range(0, len(group), ROWS))


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """Inside, a module evaluates and nothing is recorded for gradients; whether it trained is restored."""
    training = model.training if isinstance(model, nn.Module) else False
    if isinstance(model, nn.Module):
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if isinstance(model, nn.Module):
            model.train(training)


def logits_of(task: Asked, model: object, batch: Batch) -> Tensor:
    """The logits of a batch, in single precision, on the CPU."""
    if isinstance(model, nn.Module):
        device = next(model.parameters()).device
        return task.run(model, {name: value.to(device) for name, value in batch.items()}).logits.float().cpu()
    if not isinstance(model, Session):
        raise InputError(
            f"{type(model).__name__} predicts nothing; expected a torch module, or a session with `logits`"
        )
    return torch.from_numpy(model.logits({name: value.numpy() for name, value in task.prompt(batch).items()})).float()
