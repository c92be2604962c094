"""Inputs on which the ranges of activations are measured, where their scales are constants."""

from __future__ import annotations

from typing import Any

from tprune.core.data import Data, spread
from tprune.core.task import Batch, Task
from tprune.support.errors import InputError
from tprune.tasks.batches import TokenBatches
from tprune.tasks.padding import pad_of

LEAST, MOST = 32, 256  # inputs that are enough, and as many as are taken
TOKENS, ROWS = 1000, 16  # of a batch at most; all activations of a batch are in memory at once


def calibration_batches(task: Task, model: Any, processor: Any, data: Data) -> list[Batch]:
    """Batches of up to 256 inputs, evenly spaced over the data.

    Args:
        task: what the model is for.
        model: that will be exported.
        processor: of `Task.processor`.
        data: as the task reads it, such as its validation set.

    Raises:
        InputError: fewer than 32 inputs, or one that does not fit the model.
    """
    examples = task.encode(data, processor, model)
    if len(examples) < LEAST:
        raise InputError(f"{len(examples)} inputs to measure activations on; expected at least {LEAST}, better {MOST}")
    picked = list(spread(len(examples), MOST))
    pad = pad_of(model)
    return [
        task.collate([examples[picked[i]] for i in rows[start : start + ROWS]], pad)
        for rows in TokenBatches(examples.lengths[picked], TOKENS)
        for start in range(0, len(rows), ROWS)
    ]
