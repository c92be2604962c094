"""`tprune export --max-int8-loss`: which weights stay in fp32, by the loss on validation data."""

from __future__ import annotations

from typing import Any

import torch

from tprune.analysis.int8_loss import sensitive
from tprune.budget.samples import CALIBRATION
from tprune.core.known_tasks import task_of
from tprune.core.precision import Precision
from tprune.realise.checkpoint import load
from tprune.runtimes.roundable import whole_products
from tprune.support.reporting import Report
from tprune.train.training_data import TrainingData


def within(model: str, precision: Precision, limit: float, task: str, valid: Any, report: Report) -> Precision:
    """The precision with as many exceptions as keep what it adds to the loss within a limit.

    Args:
        model: a model's folder or a hub id.
        precision: int8, with weights that stay fp32 whatever they add.
        limit: in nats per output.
        task: the name of the task that the data is of.
        valid: validation data of the task.
        report: told what is found.

    Raises:
        InputError: a model for another task, or data that does not fit the model.
    """
    loaded = load(model, dtype=torch.float32).eval()
    made_for = task_of(loaded, task)
    material = TrainingData.of(made_for, loaded, made_for.processor(model), valid, valid)
    kept = whole_products(loaded, precision.exceptions, made_for)
    found = sensitive(loaded, material.batches(material.valid, CALIBRATION), limit, made_for, kept, report)
    report(str(found))
    return found.precision
