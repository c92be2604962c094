"""Evidence for a budget in which precisions compete: a table in fp32 beside the other, and losses of rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tprune.analysis.int8_loss import int8_losses
from tprune.budget.dense_timing import DenseTiming
from tprune.budget.evidence import Evidence, objective_of
from tprune.budget.mixed import Mixed, parts_of, weights_of
from tprune.budget.request import Request
from tprune.budget.samples import ALONE, CALIBRATION
from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.core.precision import Precision
from tprune.core.units import TIMES
from tprune.costs.latency.beside import Beside
from tprune.costs.latency.cache import kept_table, measured
from tprune.costs.latency.table import LatencyTable
from tprune.support.machine import cache_folder
from tprune.support.reporting import Report, counted
from tprune.train.training_data import TrainingData

Losses = Mapping[str, float]


def table_in_fp32(dense: DenseTiming, how: Request) -> LatencyTable:
    """The latency table in fp32, with whole sublayers; what the user's cache knows is not timed again.

    Args:
        dense: the model, and how the other table is timed.
        how: with the kinds that may be cut.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    dense.report(f"times in fp32, which compete with those in {dense.setting.precision.name}")
    where = (dense.inputs, dense.in_fp32, cache_folder() / "latency", dense.report)
    return measured(dense.model, dense.tokenizer, *where, how.kinds, True, None, dense.task, how.even)


def known_in_fp32(dense: DenseTiming, how: Request, removal: bool) -> LatencyTable | None:
    """The latency table in fp32 if the user's cache has all of it; nothing is timed.

    Args:
        dense: the model, and how the other table is timed.
        how: with the kinds that may be cut.
        removal: whether whole sublayers are in the table.
    """
    where = (dense.inputs, dense.in_fp32, cache_folder() / "latency")
    return kept_table(dense.model, *where, how.kinds, removal, dense.task, how.even)


def mixed_of(
    model: Model,
    plan: Plan,
    base: Precision,
    how: Request,
    material: TrainingData,
    report: Report = lambda text: None,
    losses: Callable[[Callable[[], Losses]], Losses] = lambda measure: measure(),
) -> Mixed:
    """What int8 adds to the loss of each sublayer, and of what lies in none, when it alone is rounded.

    Args:
        model: the dense model.
        plan: before selection.
        base: int8, with the weights that stay fp32 whatever is chosen.
        how: what is asked for.
        material: of its task, for losses.
        report: called with lines of progress.
        losses: gives the losses, measured by what it is handed unless they are known already.
    """
    parts = parts_of(model, plan, base, material.task)

    def measure() -> Losses:
        report(f"{how.objective} that {base.name} adds to each of {len(parts)} parts of the model, on validation data")
        measured = objective_of(how, model, material, ALONE if how.search else CALIBRATION)
        loss: Any = counted(measured, len(parts) + 1, report, "parts rounded")
        return int8_losses(model, parts, loss, material.task)

    return Mixed(base, losses(measure), weights_of(parts))


def in_both(evidence: Evidence, mixed: Mixed, fp32: LatencyTable | None) -> Evidence:
    """The evidence with both precisions to choose from.

    Args:
        evidence: with a table in the precision.
        mixed: losses and weights of each part.
        fp32: the table in fp32; None for memory, which needs none.
    """
    if fp32 is None or evidence.table is None:
        return replace(evidence, mixed=mixed)
    return replace(evidence, mixed=mixed, table=replace(evidence.table, beside=Beside(fp32, mixed.weights)))


def needs_times(how: Request) -> bool:
    """Whether a budget needs times in both precisions."""
    return how.target()[0] in TIMES
