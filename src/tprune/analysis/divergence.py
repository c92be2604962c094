"""How far a model's distributions of outputs are from the dense model's: an objective for which labels are no aim."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.task import Batch, KeepsOutputs, Task
from tprune.support.errors import InputError
from tprune.tasks.one_pass import evaluating

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

    `KL(q ‖ p) = Σ_v q_v (log q_v − log p_v)` in nats, q of the dense model, p of the model.

    Labels say which outputs count. Models that generate use references only as decoder input; of a classifier any
    labels will do.

    Args:
        batches: of the task's data, padded.
        dense: the model that is to be kept to. Its outputs are computed at once, so that it may be masked afterwards;
            where they are too many to keep, of a copy when they are asked for.
        task: what both are for; the dense model's own if not given.

    Raises:
        InputError: models of the task give no distribution, or no output of the batches counts.

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
    expected = _Expected(dense, batches, asked)

    def divergence(model: nn.Module) -> float:
        total = 0.0
        with evaluating(model):
            for number, batch in enumerate(batches):
                found = _log_probabilities(model, batch, asked)
                wanted = expected.log_probabilities(number).to(found.device)
                total += float(F.kl_div(found, wanted, reduction="sum", log_target=True))
        return total / expected.outputs

    return divergence


class _Expected:
    """The dense model's distributions: as many as fit are computed at once, the others by a copy."""

    def __init__(self, dense: nn.Module, batches: Sequence[Batch], task: Task) -> None:
        self.batches, self.task = batches, task
        self.outputs = sum(int((task.labels(batch) != IGNORED).sum()) for batch in batches)
        if not self.outputs:
            raise InputError(
                f"objective: divergence: no output of {len(batches)} batches counts, since every label is {IGNORED}; "
                "expected data with labels of any class, or references"
            )
        self.known: dict[int, Tensor] = {}
        self.dense = None if self._filled(dense) else copy.deepcopy(dense)

    def _filled(self, dense: nn.Module) -> bool:
        """Computes what fits; whether that is all."""
        left = REMEMBERED
        with evaluating(dense):
            for number, batch in enumerate(self.batches):
                found = _log_probabilities(dense, batch, self.task)
                left -= found.numel()
                if left < 0:
                    return False
                self.known[number] = found
        return True

    def log_probabilities(self, number: int) -> Tensor:
        """Those of a batch's outputs."""
        if self.dense is None or number in self.known:
            return self.known[number]
        with evaluating(self.dense):
            return _log_probabilities(self.dense, self.batches[number], self.task)


def _log_probabilities(model: nn.Module, batch: Batch, task: Task) -> Tensor:
    """Logarithms of probabilities, (outputs that count, classes)."""
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    logits, kept = task.run(model, batch).logits, task.labels(batch) != IGNORED
    if logits.shape[:-1] != kept.shape or logits.shape[-1] < 2:
        raise InputError(
            f"objective: divergence: the model's logits, {tuple(logits.shape)}, are no distribution for each of the "
            f"outputs of {task.name}, {tuple(kept.shape)}; expected objective: loss"
        )
    return logits[kept].float().log_softmax(-1)
