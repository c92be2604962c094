"""The precision that a model of a run computes in, with the weights that a limit on its loss keeps in fp32."""

from __future__ import annotations

from typing import Any

from tprune.analysis.int8_loss import sensitive
from tprune.budget.samples import CALIBRATION
from tprune.core.precision import INT8, Precision
from tprune.core.units import MEMORY, TIMES
from tprune.recipe.schema import Bench, Recipe
from tprune.runtimes.roundable import whole_products
from tprune.runtimes.runtime import Rounding, runtime_named
from tprune.support.errors import OptionError
from tprune.support.reporting import Report
from tprune.train.training_data import TrainingData


def check_auto(recipe: Recipe) -> None:
    """Raises `OptionError` where a recipe asks for `auto`, and nothing would choose a precision."""
    how, prune = recipe.bench, recipe.prune
    if not how.auto:
        return
    if (unit := prune.target()[0]) not in (*TIMES, *MEMORY):
        raise OptionError(
            f"precision auto: {unit} is the same in every precision; expected a speedup, latency_ms or memory_mb"
        )
    if not isinstance(runtime_named(how.runtime), Rounding):
        raise OptionError(f"precision auto: {how.runtime} does not mix precisions by weight; expected onnxruntime")
    if prune.even:
        raise OptionError(f"precision auto: {', '.join(prune.even)} are kept even; leave out prune.even")


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
