"""`tprune export --max-int8-loss`: which weights stay in fp32, from validation data that the options name."""

from __future__ import annotations

import torch

from tprune.analysis.int8_loss import sensitive
from tprune.budget.samples import CALIBRATION
from tprune.cli.data_sets import splits_of
from tprune.cli.given import Given, task_name
from tprune.core.known_tasks import task_of
from tprune.core.precision import INT8, Precision
from tprune.realise.checkpoint import load
from tprune.recipe.schema import Data
from tprune.run.lookup import model_at
from tprune.runtimes.roundable import whole_products
from tprune.support.errors import OptionError
from tprune.support.reporting import Report
from tprune.train.training_data import TrainingData


def within(model: str, precision: Precision, limit: float, given: Given, report: Report) -> Precision:
    """The precision with as many exceptions as keep what it adds to the loss within a limit.

    Args:
        model: a model's folder, a run, or a hub id.
        precision: int8, with weights that stay fp32 whatever they add.
        limit: in nats per output.
        given: validation data, by options.
        report: told what is found.

    Raises:
        InputError: another precision, no data, or data that does not fit the model.
    """
    if precision.name != INT8.name:
        raise OptionError(f"--max-int8-loss is for --precision int8, got {precision.name}")
    where = model_at(model)
    named = task_name(given, where)
    valid = splits_of(named, given, Data(), ("valid",)).valid
    loaded = load(where, dtype=torch.float32).eval()
    task = task_of(loaded, named)
    material = TrainingData.of(task, loaded, task.processor(where), valid, valid)
    kept = whole_products(loaded, precision.exceptions, task)
    found = sensitive(loaded, material.batches(material.valid, CALIBRATION), limit, task, kept, report)
    report(str(found))
    return found.precision
