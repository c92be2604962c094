"""What a budget is shared by: the loss that every coupling adds, and what it costs on this machine; and the selection from both."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import PreTrainedTokenizerBase

from tprune.analysis import Analysis, worth
from tprune.analysis.loss_curves import token_loss_on
from tprune.budget.latency import Confirmed, confirm, select_memory, select_within
from tprune.budget.reach import Reach, empties, fewest_first, milliseconds, smallest
from tprune.budget.request import Request, limits_of
from tprune.budget.samples import ALONE, CALIBRATION, FITTED
from tprune.budget.search import search
from tprune.budget.size import Target, select_size, select_to
from tprune.core.curves import Curve, sizes_to_try
from tprune.core.kinds import Kind
from tprune.core.plan import Plan
from tprune.core.selection import Select, Shared, Uniform
from tprune.core.sublayers import sublayers_of
from tprune.core.units import MEMORY, TIMES
from tprune.costs.latency.cache import measured
from tprune.costs.latency.table import LatencyTable, Setting, Times
from tprune.costs.latency.timer import Timer
from tprune.costs.size import PlanSizes
from tprune.scores.calibration import grams
from tprune.scores.reconstruction import repair_
from tprune.scores.second_order import keep_counts, ranked_by_norm, removal_scores, second_order_curves
from tprune.support.errors import InputError, UnreachableError
from tprune.support.machine import cache_folder
from tprune.support.reporting import Report, counted
from tprune.train.training_data import Material
from tprune.vocabulary.output_vocabulary import Spelling
from tprune.vocabulary.trim import writing

ModelAndTokenizer = tuple[Any, PreTrainedTokenizerBase]


@dataclass(frozen=True)
class Clock:
    """What a budget shared by loss needs: the loss that each coupling adds, and, for a time or memory, this machine's table.

    `faster` says how many times faster than the model asked about the one that is pruned is already, by a smaller vocabulary.
    `sizes` are those that were counted for other selections of the same plan.
    """

    table: LatencyTable | None
    curves: tuple[Curve, ...]
    faster: float = 1.0
    sizes: PlanSizes | None = field(default=None, repr=False, compare=False)

    def milliseconds(self, how: Request) -> float:
        """The time asked for, for one sentence."""
        return milliseconds(how, self.timed(how), self.faster)

    def timed(self, how: Request) -> LatencyTable:
        """The table. Raises `InputError` when there is none."""
        if self.table is None:
            raise InputError(
                f"{how.target()[0]} needs a latency table of this machine; see tprune.budget.evidence.clock_step"
            )
        return self.table


def clock_step(
    model: Any, tokenizer: PreTrainedTokenizerBase, plan: Plan, material: Material, sentences: Sequence[str], how: Request,
    setting: Setting, report: Report = lambda text: None, faster: float = 1.0,
) -> Clock:  # fmt: skip
    """Measures what the plan's couplings cost in loss, and where a time or memory is asked for, what they cost on this machine.

    Points of latency tables are measured once for a machine and model, and kept in the user's cache.

    Raises:
        InputError: the dense model takes no longer than what is asked for.
        UnreachableError: a time is asked for that nothing reaches.
        NoisyMachineError: times differ too much between repetitions.
    """
    table = None
    if how.timed:
        kinds = how.kinds if how.target()[0] in TIMES else ()
        cache = cache_folder() / "latency"
        asked = Reach(model, plan, how, faster)
        table = measured(model, tokenizer, sentences, setting, cache, report, kinds, empties(how), asked)
    report("loss of each coupling at each size, what reads it fitted again, on validation sentences")
    return Clock(table, curves_step(model, plan, how, material, report), faster)


def faster_step(
    before: ModelAndTokenizer,
    after: ModelAndTokenizer,
    sentences: Sequence[str],
    setting: Setting,
    report: Report = lambda text: None,
) -> float:
    """How many times faster than before a model is on a sentence, measured here, both writing as many tokens.

    Args:
        before: a model and its tokeniser.
        after: likewise, with a smaller vocabulary, say.
        sentences: source sentences.
        setting: threads, batch and lengths.
        report: is told of times that vary.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(*before, tuple(sentences), setting, Path(folder), report=report)
        return timer.compare(after[0], "the smaller vocabulary", after[1])["sentence"]


def spelled_step(
    clock: Clock, model: Any, tokenizer: PreTrainedTokenizerBase, spelling: Spelling, sentences: Sequence[str],
    report: Report = lambda text: None,
) -> Clock:  # fmt: skip
    """The clock of the model once it writes the tokens of a spelling alone; what that saves in each is measured here.

    Args:
        clock: with a table of the model.
        model: the dense model.
        tokenizer: its own.
        spelling: what it is to write.
        sentences: source sentences.
        report: is told of times that vary.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    table = clock.table
    if table is None:
        return clock
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, tuple(sentences), table.setting, Path(folder), report=report)
        ratios = timer.compare(writing(model, spelling.kept), "fewer tokens to write")
        saved = table.dense.token - table.times(ratios).token
    spelled = table.spelled(max(0.0, saved), spelling.longer)
    return replace(clock, table=spelled, faster=clock.faster * table.dense.sentence / spelled.dense.sentence)


def curves_step(
    model: Any, plan: Plan, how: Request, material: Material, report: Report = lambda text: None
) -> tuple[Curve, ...]:
    """The loss that each coupling adds when it alone is cut, and what reads it fitted again, less what training wins back of it."""
    fitted = material.batches(material.train, FITTED)
    limits = limits_of(how)
    looks = sum(len(sizes_to_try(groups, limits)) - 1 for groups in plan.bind(model))
    loss = counted(_loss(material, ALONE if how.search else CALIBRATION), looks + 1, report, "sizes tried")
    if by_norm := ranked_by_norm(model, plan):
        report(by_norm)
    curves = second_order_curves(model, plan, fitted, loss, limits)[0]
    left = {c.name: 1 - how.regain.get(cast(Kind, c.kind), 0.0) for c in plan.couplings}
    return tuple(replace(c, losses=tuple(left[c.name] * x for x in c.losses)) for c in curves)


def interact_step(
    model: Any, plan: Plan, how: Request, clock: Clock, material: Material, report: Report = lambda text: None
) -> Clock:  # fmt: skip
    """The clock with every coupling's losses scaled such that the selection they lead to has the least measured loss.

    Losses of couplings do not add up: some are cheap to cut alone and dear to cut together. `how.search` selections are cut, what
    reads them fitted again, and their loss measured; see `tprune.budget.search`.
    """
    if not how.search:
        return clock
    found = grams(model, plan, material.batches(material.train, FITTED))
    scores = removal_scores(model, plan, found)
    loss = _loss(material)
    clock = replace(clock, sizes=PlanSizes(model, plan))

    def scaled(coefficients: Sequence[float]) -> Clock:
        curves = (
            replace(curve, losses=tuple(c * x for x in curve.losses))
            for c, curve in zip(coefficients, clock.curves, strict=True)
        )
        return replace(clock, curves=tuple(curves))

    def select(coefficients: Sequence[float]) -> tuple[Plan, Clock]:
        adjusted = scaled(coefficients)
        return keep_counts(select_step(model, plan, how, None, adjusted), scores), adjusted

    def evaluate(selection: tuple[Plan, Clock]) -> float:
        twin = copy.deepcopy(model)
        repair_(twin, selection[0], found)
        return loss(twin)

    evaluate = counted(evaluate, how.search + 1, report, "selections measured")
    select = counted(select, how.search + 1, report, "selections made")
    best = search(len(clock.curves), select, evaluate, lambda s: tuple(e.kept for e in s[0].entries), how.search)
    report(
        f"loss before training: {best.loss:.3f} nats per token, dense {loss(model):.3f} ({best.measured} selection{'s' * (best.measured != 1)} measured; "
        f"the one that single losses add up to: {best.additive:.3f})"
    )
    return best.kept[1]


def _loss(material: Material, sentences: int = CALIBRATION) -> Callable[[nn.Module], float]:
    return token_loss_on(material.batches(material.valid, sentences))


def confirm_step(
    model: Any, tokenizer: PreTrainedTokenizerBase, plan: Plan, how: Request, clock: Clock, sentences: Sequence[str],
    time: Callable[[Plan], Times] | None = None, report: Report = lambda text: None,
) -> Confirmed:  # fmt: skip
    """Times the plan that is chosen for a time, and corrects the table until it predicts it; see `tprune.budget.latency.confirm`.

    Select with the clock of the corrected table afterwards: `dataclasses.replace(clock, table=confirmed.table)`.

    Args:
        model: the dense model; where it is to write fewer tokens, one that does (`tprune.vocabulary.trim.writing`).
        tokenizer: its own.
        plan: before selection.
        how: with a time as target.
        clock: see `clock_step`.
        sentences: source sentences.
        time: measures a selected plan; on this machine if not given.
        report: is told of times that vary.

    Raises:
        InputError: no time is asked for.
        NoisyMachineError: times differ too much between repetitions.
        UnreachableError: what was predicted to be fast enough is not, and nothing is.
    """
    if how.target()[0] not in TIMES:
        raise InputError(f"prune: only a time can be confirmed, got {how.target()[0]}")
    table, budget = clock.timed(how), clock.milliseconds(how)

    def choose(with_table: LatencyTable) -> Plan:
        return select_within(model, plan, with_table, clock.curves, budget)

    if time is not None:
        return confirm(choose, table, time)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, tuple(sentences), table.setting, Path(folder), round(table.tokens), report)
        return confirm(choose, table, lambda chosen: timer.times(chosen, table))


def select_step(model: Any, plan: Plan, how: Request, analysis: Analysis | None, clock: Clock | None = None) -> Plan:
    """Fills in what the plan keeps so that the size, time or memory asked for is reached.

    Raises:
        InputError: a time or memory is asked for without a clock.
        UnreachableError: saying what can be reached.
    """
    unit, value = how.target()
    if how.timed and clock is None:
        raise InputError(f"{unit} needs a latency table of this machine; see tprune.budget.evidence.clock_step")
    try:
        if how.by_loss and clock is not None:
            sizes = PlanSizes.of(model, plan, clock.sizes)
            if unit in TIMES:
                return select_within(model, plan, clock.timed(how), clock.curves, clock.milliseconds(how), sizes.norms)
            if unit in MEMORY:
                peak = float(clock.timed(how).peak_memory)
                return select_memory(model, plan, peak, clock.curves, value, known=sizes)
            return select_size(model, plan, Target(unit, value), clock.curves, known=sizes)
        return select_to(model, plan, Target(unit, value), _select(how, plan, analysis))
    except UnreachableError as error:
        if how.stock:
            raise UnreachableError(f"{error} (--stock cuts FFN units only)") from None
        raise


def check_reachable(model: Any, plan: Plan, how: Request) -> None:
    """Whether a size can be reached, which the shapes say before any loss is measured; of times and memory nothing is known yet.

    Raises:
        InputError: the plan has couplings that share no budget by loss.
        UnreachableError: saying what can be reached.
    """
    if how.timed:
        return
    if how.by_loss:
        sublayers_of(plan)  # couplings that share no budget are refused now, too
    unit, value = how.target()
    sizes, target = PlanSizes(model, plan), Target(unit, value)
    budget = target.budget(sizes.dense)
    if target.of(sizes.after(plan.with_kept(smallest(model, plan, limits_of(how)), {}, {}))) <= budget:
        return
    select_step(model, plan, how, None, Clock(None, fewest_first(model, plan, limits_of(how))))


def _select(how: Request, plan: Plan, analysis: Analysis | None) -> Select:
    limits = limits_of(how)
    if how.stock or how.budget != "analysis" or analysis is None:
        return Uniform(limits)
    return Shared(worth(analysis, plan), limits=limits)
