"""Training and fine-tuning through transformers' Trainer: token batches, smoothing and distillation, resumable."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from transformers import TrainerCallback

from tprune.core.known_tasks import task_of
from tprune.core.task import Examples, Task
from tprune.support.errors import InputError
from tprune.train.checkpoints import last_checkpoint
from tprune.train.losses import MixedTargets, Width, check_hidden
from tprune.train.one_training import OneTraining
from tprune.train.schedule import TrainingConfig
from tprune.train.team import leading


def train(
    model: nn.Module,
    data: Examples,
    valid: Examples,
    how: TrainingConfig,
    out: Path,
    *,
    teacher: nn.Module | None = None,
    width: Width | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    save_every: int = 0,
    task: Task | None = None,
) -> list[dict[str, float]]:
    """Trains `model` in place for `how.steps` steps and returns the log; resumes from the last checkpoint in `out`.

    With `how.eval_every` the weights with the lowest validation loss (nats per token) are the ones kept at the end.
    Where torch has a process group, all its processes call this alike and train one model together, each on some rows
    of every batch; the first one writes. Under a command that leads others (`tprune.train.team`), those help.

    Args:
        model: the student.
        data: what it trains on; `MixedTargets` where some targets are the teacher's translations.
        valid: sentences with references.
        how: steps, rates and weights.
        out: where checkpoints go.
        teacher: the dense model; left as it is.
        width: the residual dimensions that the student has kept of the teacher's, where it has fewer.
        callbacks: see transformers. What changes weights has to do so in every process: see
            `tprune.train.team.Everywhere`.
        save_every: steps between checkpoints.
        task: what the model is for; its own if not given.

    Raises:
        InputError: `how` asks for hidden states that cannot be compared, for a teacher or for translations that are
            missing.
        DivergedError: the loss is not finite any more; `model` is then of no use, checkpoints are.
    """
    task = task or task_of(model)
    _check(model, data, how, teacher, width, task)
    begin = last_checkpoint(out, logging.getLogger("tprune").warning)
    asked = OneTraining.of(model, data, valid, how, out, task, teacher, width, tuple(callbacks), save_every, begin)
    if (team := leading()) is not None:
        team.call(asked)
    return asked.carry_out()


def _check(
    model: nn.Module, data: Examples, how: TrainingConfig, teacher: nn.Module | None, width: Width | None, task: Task
) -> None:
    if how.sequence_distillation and not isinstance(data, MixedTargets):
        raise InputError(
            f"sequence_distillation: a share of {how.sequence_distillation:g} needs the teacher's translations beside "
            "the references"
        )
    if isinstance(data, MixedTargets) and not how.sequence_distillation:
        raise InputError(
            "sequence_distillation: 0, but the training set holds the teacher's translations; give the references alone"
        )
    if how.needs_teacher and teacher is None:
        raise InputError(
            f"distill {how.distill:g}, hidden_distillation {how.hidden_distillation:g}: a teacher is needed"
        )
    if how.hidden_distillation:
        check_hidden(model, teacher, width, task)


@contextmanager
def dropout_at(model: nn.Module, rate: float | None) -> Iterator[None]:
    """Sets the dropout of a model, wherever it has any, for a while; None leaves it as it is."""
    named = [(m, "p" if isinstance(m, nn.Dropout) else "dropout") for m in model.modules()]
    before = [(m, name, getattr(m, name)) for m, name in named if isinstance(getattr(m, name, None), float)]
    try:
        if rate is not None:
            for module, name, old in before:
                setattr(module, name, rate if old else old)
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)
