"""What a budget is shared by: the loss that every coupling adds, and what it costs on this machine.

And the selection from both.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from tprune.analysis import Analysis, coupling_weights
from tprune.analysis.divergence import divergence_on
from tprune.analysis.integers import rounded_as
from tprune.analysis.loss_curves import token_loss_on
from tprune.budget.dense_timing import DenseTiming
from tprune.budget.latency import Confirmed, confirm, select_memory, select_within
from tprune.budget.mixed import Mixed
from tprune.budget.mixed_memory import MixedMemory
from tprune.budget.reach import Feasibility, empties, fewest_first, milliseconds, smallest
from tprune.budget.request import Request, limits_of
from tprune.budget.samples import ALONE, CALIBRATION, FITTED
from tprune.budget.search import search
from tprune.budget.size import Budget, select_size, select_to
from tprune.core.curves import Curve, sizes_to_try
from tprune.core.model import Model
from tprune.core.objectives import objective_rule
from tprune.core.plan import Plan
from tprune.core.selection import Select, Shared, Uniform
from tprune.core.sublayers import sublayers_of
from tprune.core.task import Task
from tprune.core.units import MEMORY, TIMES
from tprune.costs.latency.cache import measured
from tprune.costs.latency.phases import Times
from tprune.costs.latency.subject import Inputs
from tprune.costs.latency.table import LatencyTable
from tprune.costs.latency.timer import Timer
from tprune.costs.size import PlanSizes
from tprune.runtimes.held import InMemory
from tprune.runtimes.roundable import roundable
from tprune.scores.calibration import grams
from tprune.scores.reconstruction import repair_
from tprune.scores.second_order import keep_counts, ranked_by_norm, removal_scores, second_order_curves
from tprune.support.errors import InputError, UnreachableError
from tprune.support.machine import cache_folder
from tprune.support.reporting import Report, counted
from tprune.train.training_data import TrainingData

ModelAndTokenizer = tuple[Model, PreTrainedTokenizerBase]
Curves = tuple[Curve, ...]
Measure = Callable[[], Curves]


@dataclass(frozen=True)
class Evidence:
    """What a budget shared by loss needs: losses of couplings and, for a time or memory, a latency table.

    Attributes:
        table: the latency table of this machine; None where neither a time nor memory is asked for.
        curves: of every coupling.
        faster: the speedup by a smaller vocabulary or a precision alone; times that are asked for count from the model
            before it, in single precision.
        mixed: the losses of a precision, and what sublayers need to choose theirs; None where nothing is chosen.
        sizes: counted for earlier selections of the same plan.
    """

    table: LatencyTable | None
    curves: tuple[Curve, ...]
    faster: float = 1.0
    mixed: Mixed | None = None
    sizes: PlanSizes | None = field(default=None, repr=False, compare=False)

    def milliseconds(self, how: Request) -> float:
        """The time asked for, of what the table quotes."""
        return milliseconds(how, self.timed(how), self.faster)

    @property
    def choosing(self) -> Mixed | None:
        """What sublayers choose their precision by, if they do."""
        return self.mixed if self.mixed is not None and self.mixed.choice else None

    def timed(self, how: Request) -> LatencyTable:
        """The table. Raises `InputError` when there is none."""
        if self.table is None:
            raise InputError(
                f"{how.target()[0]} needs a latency table of this machine; see tprune.budget.evidence.gather_evidence"
            )
        return self.table


def gather_evidence(
    dense: DenseTiming,
    plan: Plan,
    material: TrainingData,
    how: Request,
    faster: float = 1.0,
    losses: Callable[[Measure], Curves] = lambda measure: measure(),
    removal: bool = False,
) -> Evidence:
    """Measures what the plan's couplings cost in loss, and in time or memory of this machine where one is asked for.

    Points of latency tables are measured once for a machine and model, and kept in the user's cache.

    Args:
        dense: the model and how it is timed, whose `report` is called with lines of progress.
        plan: before selection.
        material: of the model's task, for losses.
        how: what is asked for.
        faster: see `Evidence`.
        losses: gives the losses of couplings, measured by what it is handed unless they are known already.
        removal: whether whole sublayers are timed even where none is removed.

    Raises:
        InputError: the dense model takes no longer than what is asked for.
        UnreachableError: a time is asked for that nothing reaches.
        NoisyMachineError: times differ too much between repetitions.
    """
    dense = replace(dense, task=material.task)
    table = _table(dense, plan, how, faster, removal) if how.timed else None
    return Evidence(table, losses(partial(measure_loss_curves, dense.model, plan, how, material, dense.report)), faster)


def _table(dense: DenseTiming, plan: Plan, how: Request, faster: float, removal: bool) -> LatencyTable:
    kinds = how.kinds if how.target()[0] in TIMES else ()
    asked = Feasibility(dense.model, plan, how, faster)
    where = (dense.inputs, dense.setting, cache_folder() / "latency", dense.report)
    removes = removal or empties(how, plan)
    return measured(dense.model, dense.tokenizer, *where, kinds, removes, asked, dense.task, how.even)


def measure_loss_curves(
    model: Model, plan: Plan, how: Request, material: TrainingData, report: Report = lambda text: None
) -> tuple[Curve, ...]:
    """The loss that each coupling adds when it alone is cut, less the share that training recovers.

    The layers that consume it are refitted before the loss is measured.
    """
    report(
        f"{how.objective} of each coupling at each size, with the layers that consume it refitted, on validation data"
    )
    fitted = material.batches(material.train, FITTED)
    limits = limits_of(how, plan)
    looks = sum(len(sizes_to_try(groups, limits)) - 1 for groups in plan.bind(model))
    measured = objective_of(how, model, material, ALONE if how.search else CALIBRATION)
    loss = counted(measured, looks + 1, report, "sizes tried")
    if by_norm := ranked_by_norm(model, plan):
        report(by_norm)
    curves = second_order_curves(model, plan, fitted, loss, limits, task=material.task)[0]
    left = {c.name: 1 - how.expected_recovery.get(c.kind, 0.0) for c in plan.couplings}
    return tuple(replace(c, losses=tuple(left[c.name] * x for x in c.losses)) for c in curves)


def search_allocation(
    model: Model,
    plan: Plan,
    how: Request,
    evidence: Evidence,
    material: TrainingData,
    report: Report = lambda text: None,
) -> Evidence:
    """The evidence with the losses of couplings scaled such that the selection by them has the least measured loss.

    The losses of couplings do not add up: some are cheap to cut alone and expensive to cut together. So the loss of
    `how.search` whole selections is measured, with the layers that consume what is cut refitted; see
    `tprune.budget.search`.
    """
    if not how.search:
        return evidence
    found = grams(model, plan, material.batches(material.train, FITTED), material.task)
    scores = removal_scores(model, plan, found)
    loss = objective_of(how, model, material)
    every = roundable(model, material.task) if evidence.choosing is not None else ()
    evidence = replace(evidence, sizes=PlanSizes(model, plan, material.task, _weigh(how, evidence)))

    def scaled(coefficients: Sequence[float]) -> Evidence:
        curves = (
            replace(curve, losses=tuple(c * x for x in curve.losses))
            for c, curve in zip(coefficients, evidence.curves, strict=True)
        )
        return replace(evidence, curves=tuple(curves))

    def select(coefficients: Sequence[float]) -> tuple[Plan, Evidence]:
        adjusted = scaled(coefficients)
        return keep_counts(select_plan(model, plan, how, None, adjusted, material.task), scores), adjusted

    def evaluate(selection: tuple[Plan, Evidence]) -> float:
        twin = copy.deepcopy(model)
        repair_(twin, selection[0], found)
        with rounded_as(twin, selection[0].precision, every, material.task):
            return loss(twin)

    evaluate = counted(evaluate, how.search + 1, report, "selections measured")
    select = counted(select, how.search + 1, report, "selections made")
    best = search(len(evidence.curves), select, evaluate, _chosen, how.search)
    digits = objective_rule(how.objective).digits
    report(
        f"{how.objective} before training: {best.loss:.{digits}f} nats, dense {loss(model):.{digits}f} "
        f"({best.measured} selection{'s' * (best.measured != 1)} measured; "
        f"the one that single losses add up to: {best.additive:.{digits}f})"
    )
    return best.selection[1]


def _chosen(selection: tuple[Plan, Evidence]) -> tuple[object, ...]:
    """What makes two selections the same."""
    plan = selection[0]
    return (plan.precision, *(entry.kept for entry in plan.entries))


def objective_of(
    how: Request, model: nn.Module, material: TrainingData, sentences: int = CALIBRATION
) -> Callable[[nn.Module], float]:
    """What is measured of a model, in nats per output of validation data: see `Request.objective`.

    Args:
        how: what is asked for.
        model: the dense model.
        material: of its task.
        sentences: of the validation data.

    Raises:
        InputError: a divergence is asked for, and models of the task give no distribution.
    """
    batches = material.batches(material.valid, sentences)
    if objective_rule(how.objective).compares:
        return divergence_on(batches, model, material.task)
    return token_loss_on(batches, material.task)


def verify_latency(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None,
    plan: Plan,
    how: Request,
    evidence: Evidence,
    inputs: Inputs,
    time: Callable[[Plan], Times] | None = None,
    report: Report = lambda text: None,
    task: Task | None = None,
) -> Confirmed:
    """Times the plan that is chosen for a time, and corrects the table until it predicts it.

    See `tprune.budget.latency.confirm`.

    Afterwards select with the corrected table: `dataclasses.replace(evidence, table=confirmed.table)`.

    Args:
        model: the dense model; with a smaller output vocabulary, the restricted one
            (`tprune.vocabulary.trim.restricted_to`).
        tokenizer: its own; needed for translation alone.
        plan: before selection.
        how: with a time as target.
        evidence: see `gather_evidence`.
        inputs: what is timed, as in `gather_evidence`.
        time: measures a selected plan; on this machine if not given.
        report: called with a line for times that vary.
        task: what the model is for; its own if not given.

    Raises:
        InputError: no time is asked for.
        NoisyMachineError: times differ too much between repetitions.
        UnreachableError: what was predicted to be fast enough is not, and nothing is.
    """
    if how.target()[0] not in TIMES:
        raise InputError(f"prune: only a time can be confirmed, got {how.target()[0]}")
    table, budget = evidence.timed(how), evidence.milliseconds(how)

    def select(with_table: LatencyTable) -> Plan:
        return select_within(model, plan, with_table, evidence.curves, budget, even=how.even, mixed=evidence.choosing)

    if time is not None:
        return confirm(select, table, time, report=report)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, inputs, table.setting, Path(folder), round(table.tokens), report, task)
        return confirm(select, table, lambda chosen: timer.times(chosen, table), report=report)


def select_plan(
    model: Model,
    plan: Plan,
    how: Request,
    analysis: Analysis | None,
    evidence: Evidence | None = None,
    task: Task | None = None,
) -> Plan:
    """Fills in what the plan keeps so that the size, time or memory asked for is reached.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        how: what is asked for.
        analysis: by which couplings share a budget, where `how` says so.
        evidence: see `gather_evidence`.
        task: what the model is for; its own if not given.

    Raises:
        InputError: a time or memory is asked for without evidence that has a latency table.
        UnreachableError: saying what can be reached.
    """
    unit, value = how.target()
    if how.timed and evidence is None:
        raise InputError(f"{unit} needs a latency table of this machine; see tprune.budget.evidence.gather_evidence")
    try:
        if how.by_loss and evidence is not None:
            return _by_loss(model, plan, how, evidence, task)
        return select_to(model, plan, Budget(unit, value), _select(how, plan, analysis), task=task)
    except UnreachableError as error:
        if how.stock:
            raise UnreachableError(f"{error} (--stock cuts FFN units only)") from None
        raise


def _by_loss(model: Model, plan: Plan, how: Request, evidence: Evidence, task: Task | None) -> Plan:
    (unit, value), curves, mixed = how.target(), evidence.curves, evidence.choosing
    weigh = _weigh(how, evidence)
    sizes = PlanSizes.of(model, plan, evidence.sizes, task, weigh)
    if unit in TIMES:
        budget = evidence.milliseconds(how)
        return select_within(model, plan, evidence.timed(how), curves, budget, sizes.norms, how.even, mixed)
    if unit in MEMORY:
        peak = float(evidence.timed(how).peak_memory)
        more: dict[str, Any] = {"task": task, "even": how.even, "weigh": weigh}
        if mixed is not None:
            more["mixed"] = MixedMemory(evidence.timed(how).setting.runtime, mixed)
        return select_memory(model, plan, peak, curves, value, known=sizes, **more)
    return select_size(model, plan, Budget(unit, value), curves, known=sizes, task=task, even=how.even)


def check_reachable(model: Model, plan: Plan, how: Request, task: Task | None = None) -> None:
    """Whether a size can be reached, which the shapes say before any loss is measured.

    Of times and memory nothing is known yet.

    Raises:
        InputError: the plan has couplings that share no budget by loss.
        UnreachableError: saying what can be reached.
    """
    if how.timed:
        return
    if how.by_loss:
        sublayers_of(plan)  # couplings that share no budget are refused now, too
    unit, value = how.target()
    sizes, budget = PlanSizes(model, plan, task), Budget(unit, value)
    if budget.of(sizes.after(plan.with_kept(smallest(model, plan, limits_of(how, plan)), {}, {}))) <= budget.limit(
        sizes.dense
    ):
        return
    select_plan(model, plan, how, None, Evidence(None, fewest_first(model, plan, limits_of(how, plan))), task)


def _weigh(how: Request, evidence: Evidence) -> InMemory | None:
    """How weights count for memory: in single precision by their number alone."""
    if how.target()[0] not in MEMORY or evidence.table is None or evidence.table.setting.precision.exact:
        return None
    return InMemory(evidence.table.setting.runtime, evidence.table.setting.precision)


def _select(how: Request, plan: Plan, analysis: Analysis | None) -> Select:
    limits = limits_of(how, plan)
    if how.stock or how.even or how.allocation != "analysis" or analysis is None:
        return Uniform(limits)
    return Shared(coupling_weights(analysis, plan), limits=limits)
