"""Budgets of time and memory: the selection with the least loss whose predicted time, or process, is small enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from tprune.budget.allocate import CostModel, CostModels, Exact, select_by_loss
from tprune.budget.mixed import Mixed
from tprune.budget.mixed_memory import MixedMemory
from tprune.budget.size import size_cost_models
from tprune.core.curves import Curve
from tprune.core.kinds import WIDTH
from tprune.core.plan import Plan
from tprune.core.selection import Scores
from tprune.core.sublayers import Sublayer, sublayers_of, width_of
from tprune.core.task import Task
from tprune.costs.latency.beside import InBoth
from tprune.costs.latency.phases import Floats, Times
from tprune.costs.latency.table import LatencyTable, kept_fractions
from tprune.costs.size import PlanSizes, Weigh, norm_scores, size_after
from tprune.counting.size import Size
from tprune.support.errors import UnreachableError
from tprune.support.reporting import Report, silent

MEGABYTE = 1e6
WEIGHT = 4  # bytes in a runtime that computes in single precision
AGAIN = 3  # selections made at most, each with the realised savings at the selection before it


def select_within(
    model: nn.Module,
    plan: Plan,
    table: LatencyTable,
    curves: Sequence[Curve],
    milliseconds: float,
    scores: Scores | None = None,
    even: Collection[str] = (),
    mixed: Mixed | None = None,
) -> Plan:
    """Fills in what the plan keeps, `min Σ loss` subject to `predicted time ≤ milliseconds`.

    See `tprune.budget.allocate`.

    Args:
        model: the dense model the plan was made for.
        plan: before selection.
        table: measured on this machine for this model.
        curves: the loss each coupling adds, from `tprune.analysis.loss_curves`.
        milliseconds: for what the table quotes, such as a sentence, with what is computed outside the model's graphs.
        scores: of the groups; their norms if not given.
        even: see `tprune.budget.allocate.allocate`.
        mixed: lets every sublayer choose its precision too; the table then has one in fp32 beside it.

    Raises:
        InputError: the plan has couplings whose time is not known, or no curve.
        UnreachableError: even the smallest sizes take longer; says how long, and what cannot be cut.
    """
    found = scores if scores is not None else norm_scores(model, plan)

    def exact(chosen: Plan) -> float:
        return table.predict_plan(chosen).total

    tables = [table] if mixed is None or table.beside is None else [table, table.beside.table]
    # about as much is cut in both, so that both realise what they save at the same share of their dense times
    realised = [each.savings_realised_at(milliseconds * each.dense.total / table.dense.total) for each in tables]
    for _ in range(AGAIN):
        cost_models = time_cost_models(plan, table, *realised)
        chosen = select_by_loss(model, plan, curves, cost_models, milliseconds, exact, found, even, mixed)
        shares, width = kept_fractions(chosen), width_of(chosen)
        there = [each.savings_realised(each.additive_ms(shares, width)) for each in tables]
        if max(np.abs(a / b - 1).max() for a, b in zip(there, realised, strict=True)) < 0.02:
            break
        realised = there
    return chosen


def unit_of(table: LatencyTable) -> str:
    """What plans call the time that a table quotes: `sentence_ms`, `pass_ms`, `text_ms`."""
    return f"{table.phases.quoted}_ms"


def time_cost_models(
    plan: Plan, table: LatencyTable, realised: Floats, realised_exact: Floats | None = None
) -> CostModels:
    """Cost models of the quoted milliseconds, one for each residual width.

    Args:
        plan: before selection.
        table: of prices.
        realised: share of the additive savings that a model of about the wanted speed realises, in each part.
        realised_exact: likewise in fp32, by the table beside it, where sublayers may stay fp32.
    """
    places = [s.place for s in sublayers_of(plan)]
    residual = next((entry.groups[-1] for entry in plan.entries if entry.coupling.kind == WIDTH), 1)
    dense, often = table.dense.array, table.phases.weights(table.tokens)

    def at(width: int | None) -> CostModel:
        kept = 1.0 if width is None else width / residual
        whole = float(often @ (dense - realised * (table.additive_dense_ms - table.at_width(kept))))

        def saved(sublayer: Sublayer, kind: str, share: float) -> float:
            return float(often @ (realised * table.saved(sublayer.place, kind, share, kept)))

        if realised_exact is None or table.beside is None:
            return CostModel(unit_of(table), whole, saved)
        fp32 = table.beside.table
        both = InBoth(table, fp32, realised, realised_exact, table.beside.factors, kept)

        def saved_exact(sublayer: Sublayer, kind: str, share: float) -> float:
            less, less_exact = (each.saved(sublayer.place, kind, share, kept) for each in (table, fp32))
            return float(often @ both.saved(less, less_exact))

        def more(sublayer: Sublayer | None) -> float:
            return float(often @ (both.rest(places) if sublayer is None else both.sublayer(sublayer.place)))

        return CostModel(unit_of(table), whole, saved, Exact(saved_exact, more))

    return at


def select_memory(
    model: nn.Module,
    plan: Plan,
    peak: float,
    curves: Sequence[Curve],
    megabytes: float,
    scores: Scores | None = None,
    known: PlanSizes | None = None,
    task: Task | None = None,
    even: Collection[str] = (),
    weigh: Weigh | None = None,
    mixed: MixedMemory | None = None,
) -> Plan:
    """Fills in what the plan keeps, `min Σ loss` subject to `peak − bytes of the weights cut ≤ megabytes`.

    A runtime that holds some weights twice saves more than that.

    Args:
        model: the dense model the plan was made for.
        plan: before selection.
        peak: bytes, measured, of the process that runs the dense model.
        curves: the loss each coupling realised.
        megabytes: to stay within, of 10⁶ bytes.
        scores: of the groups; their norms if not given.
        known: sizes that were counted before, for other losses.
        task: what the model is for; its own if not given.
        even: see `tprune.budget.allocate.allocate`.
        weigh: the bytes of weights in a precision, such as `tprune.runtimes.held.InMemory`; four a number if not given.
        mixed: lets every sublayer choose its precision too; `weigh` is then in the precision of all.

    Raises:
        UnreachableError: saying what can be reached; most of a small model's process is the runtime itself.
    """
    sizes = PlanSizes.of(model, plan, known, task, weigh)
    found = scores if scores is not None else sizes.norms

    def taken(size: Size) -> int:
        return WEIGHT * size.parameters if weigh is None else size.bytes

    dense = taken(sizes.dense)

    def read(after: Size) -> float:
        return (peak - (dense - taken(after))) / MEGABYTE

    cost_models = size_cost_models(sizes, "memory_mb", read)
    if mixed is None:
        return select_by_loss(model, plan, curves, cost_models, megabytes, lambda c: read(sizes.after(c)), found, even)

    def exact(chosen: Plan) -> float:
        return read(size_after(model, chosen, task, mixed.weigh(chosen)))

    priced = mixed.cost_models(cost_models, sizes.weighed(mixed.exact), model)
    return select_by_loss(model, plan, curves, priced, megabytes, exact, found, even, mixed.mixed)


@dataclass(frozen=True)
class Confirmed:
    """A plan that was timed: its prediction by the corrected table, what was measured, and how many were timed."""

    plan: Plan
    table: LatencyTable
    measured: Times
    tried: int

    @property
    def off(self) -> float:
        """`measured / asked − 1`."""
        return self.measured.total / self.plan.asked[unit_of(self.table)] - 1

    @property
    def missed(self) -> float:
        """`|measured / predicted − 1|`."""
        return abs(self.measured.total / self.table.predict_plan(self.plan).total - 1)


def confirm(
    select: Callable[[LatencyTable], Plan],
    table: LatencyTable,
    time: Callable[[Plan], Times],
    within: float = 0.05,
    tries: int = 4,
    report: Report = silent,
) -> Confirmed:
    """Times the selected plan; while it misses its prediction, corrects the table by it and selects again.

    Args:
        select: a plan within the budget, by a table.
        table: of this machine.
        time: measures a plan.
        within: how far measured may be from predicted.
        tries: how many plans are timed at most. Where all of them miss, the one that is nearest to what is asked for is
            taken, of those that are fast enough if there is one.
        report: called with a line about each plan.

    Raises:
        UnreachableError: by the corrected table no plan is fast enough, and none that was timed is.
    """
    found: list[Confirmed] = []
    while len(found) < max(1, tries):
        try:
            plan = select(table)
        except UnreachableError:
            if not any(one.off <= within for one in found):
                raise
            break
        found.append(Confirmed(plan, table, time(plan), len(found) + 1))
        predicted, measured = table.predict_plan(plan).total, found[-1].measured.total
        report(f"plan {len(found)}: predicted {predicted:.3g} ms, timed {measured:.3g}")
        if found[-1].missed <= within:
            return found[-1]
        table = table.corrected_by(plan, found[-1].measured)
    nearest = min(found, key=lambda one: (one.off > within, abs(one.off)))
    return replace(nearest, tried=len(found))
