"""How far a model's distributions of outputs are from the dense model's: an objective that needs no references."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.task import Batch, KeepsOutputs, Task
from tprune.support.errors import InputError

REMEMBERED = 2**26  # logits of the dense model that are kept between calls: 256 MB


def check_distribution(task: Task) -> None:
    """Raises `InputError` where the outputs of a task's models are no distribution.

    Args:
        task: of the models.
    """
    if isinstance(task, KeepsOutputs):
        raise InputError(
            f"objective: divergence: models for {task.name} give no distribution, and their loss is the distance to "
            "the dense model's outputs already; expected objective: loss"
        )


def divergence_on(batches: Sequence[Batch], dense: nn.Module, task: Task | None = None) -> Callable[[nn.Module], float]:
    """The mean divergence of an output's distribution from the dense model's over these batches, dropout off.

    `KL(q ‖ p) = Σ_v q_v (log q_v − log p_v)` in nats, q of the dense model, p of the model; teacher-forced where models
    generate. Labels say which outputs count, and nothing else is read of them: of a classifier any will do.

    Args:
        batches: of the task's data, padded.
        dense: the model that is to be kept to; a copy is taken, so that it may be masked afterwards.
        task: what both are for; the dense model's own if not given.

    Raises:
        InputError: models of the task give no distribution.

    References:
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), heads=2, ffn=32, positions=16), vocabulary=40)
        >>> batch = task_of(model).random(model)
        >>> divergence_on([batch], model)(model)
        0.0
    """
    asked = task or task_of(dense)
    check_distribution(asked)
    teacher = _Teacher(copy.deepcopy(dense).eval(), batches, asked)

    def divergence(model: nn.Module) -> float:
        training = model.training
        model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for number in range(len(batches)):
                expected = teacher.log_odds(number)
                found = _log_odds(model, teacher.batch(number), asked)
                total += float(F.kl_div(found, expected, reduction="sum", log_target=True))
                count += len(expected)
        model.train(training)
        return total / count

    return divergence


class _Teacher:
    """The dense model's distributions; as many as fit are computed once."""

    def __init__(self, dense: nn.Module, batches: Sequence[Batch], task: Task) -> None:
        self.dense, self.batches, self.task = dense, batches, task
        self.known: dict[int, Tensor] = {}
        self.left = REMEMBERED

    def batch(self, number: int) -> dict[str, Tensor]:
        """A batch, on the dense model's device."""
        device = next(self.dense.parameters()).device
        return {name: tensor.to(device) for name, tensor in self.batches[number].items()}

    def log_odds(self, number: int) -> Tensor:
        """Logarithms of the probabilities of a batch's outputs."""
        if number in self.known:
            return self.known[number]
        found = _log_odds(self.dense, self.batch(number), self.task)
        if found.numel() <= self.left:
            self.left -= found.numel()
            self.known[number] = found
        return found


def _log_odds(model: Any, batch: Batch, task: Task) -> Tensor:
    """Logarithms of probabilities, (outputs that count, classes)."""
    logits, kept = task.run(model, batch).logits, task.labels(batch) != IGNORED
    if logits.shape[:-1] != kept.shape or logits.shape[-1] < 2:
        raise InputError(
            f"objective: divergence: the model's logits, {tuple(logits.shape)}, are no distribution for each of the "
            f"outputs of {task.name}, {tuple(kept.shape)}; expected objective: loss"
        )
    return logits[kept].float().log_softmax(-1)
