"""The precision that a model of a run computes in, with the weights that a limit on its loss keeps in fp32."""

from __future__ import annotations

from typing import Any

from tprune.analysis.int8_loss import sensitive
from tprune.budget.samples import CALIBRATION
from tprune.core.precision import INT8, Precision
from tprune.recipe.schema import Bench
from tprune.runtimes.roundable import whole_products
from tprune.support.reporting import Report
from tprune.train.training_data import TrainingData


def limited(model: Any, precision: Precision, how: Bench, data: TrainingData, report: Report) -> Precision:
    """The precision, and with a limit on what int8 adds the weights that have to stay fp32 in this model.

    Args:
        model: dense or pruned.
        precision: of the recipe; another than int8 stays as it is.
        how: with the limit.
        data: whose validation set the loss is of.
        report: told what is found.
    """
    if precision.exact:
        return precision
    kept = whole_products(model, precision.exceptions, data.task) if precision.exceptions else ()
    if precision.name != INT8.name or how.max_int8_loss is None:
        return Precision(precision.name, kept)
    batches = data.batches(data.valid, CALIBRATION)
    found = sensitive(model, batches, how.max_int8_loss, data.task, kept, report)
    report(str(found))
    return found.precision
