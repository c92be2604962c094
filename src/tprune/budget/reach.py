"""Whether a time that is asked for can be met.

The dense model's time says it, then a table, then what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tprune.budget.allocate import number
from tprune.budget.latency import select_within
from tprune.budget.request import Request, limits_of
from tprune.core.curves import Curve, sizes_to_try
from tprune.core.kinds import COVERING, PARTS, WHOLE_BLOCK
from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.core.selection import Kept, Limits, keep_best
from tprune.core.units import TIMES
from tprune.costs.latency.phases import Times
from tprune.costs.latency.table import LatencyTable
from tprune.costs.latency.timer import Timer
from tprune.support.errors import InputError, NoisyMachineError, UnreachableError

BOLD = 0.5  # of the dense model's time; a target under it is checked before the table is measured


def milliseconds(how: Request, table: LatencyTable, faster: float = 1.0) -> float:
    """The time asked for, of what the table quotes; `faster` as in `tprune.budget.evidence.Evidence`."""
    unit, value = how.target()
    return value if unit == "latency_ms" else table.predict({}).total * faster / value


def empties(how: Request, plan: Plan) -> bool:
    """Whether a block may be left with nothing but its mean."""
    limits = limits_of(how, plan)
    return any(limits.may_empty(c.kind, c.name) for c in plan.couplings if c.kind in how.kinds)


@dataclass(frozen=True)
class Feasibility:
    """Whether a time that is asked for can be reached, checked before and after a table is measured.

    `faster` as in `tprune.budget.evidence.Evidence`.
    """

    model: Model
    plan: Plan
    how: Request
    faster: float = 1.0

    def quick_feasibility_check(self, timer: Timer, table: LatencyTable) -> None:
        """Fails early, once the dense model's times are known, where the dense model meets the target or no plan can.

        For a target below `BOLD` of the dense time, the model with one group left in every coupling is timed. Where
        sublayers may be removed, the width cut, or the output vocabulary reduced, a model may take half of that time.

        Raises:
            InputError: the dense model takes no longer than what is asked for.
            UnreachableError: no plan that is allowed would be so fast.
        """
        if self.how.target()[0] not in TIMES:
            return
        self._met(table)
        budget = milliseconds(self.how, table, self.faster)
        if budget > BOLD * table.dense.total:
            return
        masks = {
            e.coupling.name: keep_best(torch.ones(e.groups), 1) if e.coupling.kind in PARTS else e.keep
            for e in self.plan.entries
        }
        try:
            least = timer.times(self.plan.with_kept(masks, {}, {}), table, budget).total
        except NoisyMachineError:  # this check may be skipped: the whole table is checked later
            return
        more = not set(self.how.kinds) <= set(PARTS) or self.how.output_vocabulary is not None
        rough = more or empties(self.how, self.plan)
        if budget < (0.5 if rough else 0.95) * least:
            raise self._too_slow("one group left in every coupling", budget, least, table)

    def refused(self, table: LatencyTable) -> UnreachableError | InputError | None:
        """What a whole table says against the target, if anything."""
        if self.how.target()[0] not in TIMES:
            return None
        curves = fewest_first(self.model, self.plan, limits_of(self.how, self.plan))
        try:
            self._met(table)
            budget = milliseconds(self.how, table, self.faster)
            select_within(self.model, self.plan, table, curves, budget, even=self.how.even)
        except (UnreachableError, InputError) as error:
            return error
        return None

    def confirm(self, timer: Timer, table: LatencyTable) -> tuple[Plan, Times]:
        """Times the smallest model that may be left; its plan and times.

        Raises:
            UnreachableError: it takes longer than what is asked for.
            NoisyMachineError: its times vary too much to tell.
        """
        budget = milliseconds(self.how, table, self.faster)
        plan = self.plan.with_kept(smallest(self.model, self.plan, limits_of(self.how, self.plan)), {}, {})
        found = timer.times(plan, table)
        if found.total > budget:
            raise self._too_slow("as little left as may be", budget, found.total, table)
        return plan, found

    def _met(self, table: LatencyTable) -> None:
        dense, quoted = table.dense.total, table.phases.quoted
        if self.how.target()[0] == "latency_ms" and dense <= milliseconds(self.how, table):
            raise InputError(
                f"asked for {number(milliseconds(self.how, table))} ms a {quoted}, but the dense model takes "
                f"{number(dense)} ms already; nothing needs to be cut. Ask for less time, or for a size"
            )

    def _too_slow(self, left: str, budget: float, least: float, table: LatencyTable) -> UnreachableError:
        dense, quoted = table.dense.total, table.phases.quoted
        return UnreachableError(
            f"asked for {number(budget)} ms a {quoted} ({dense / budget:,.3g}x); with {left} it takes {number(least)} "
            f"ms ({dense / least:.2f}x), the dense model {number(dense)} ms. Ask for less speed, allow more kinds, or "
            "start from a smaller model"
        )


def fewest_first(model: Model, plan: Plan, limits: Limits) -> tuple[Curve, ...]:
    """Curves by which a coupling's loss is the number of groups that it lost: enough for what can be reached."""
    sizes = {g.coupling.name: sizes_to_try(g, limits) for g in plan.bind(model)}
    return tuple(Curve(name, tuple(kept), tuple(float(kept[-1] - k) for k in kept)) for name, kept in sizes.items())


def smallest(model: Model, plan: Plan, limits: Limits) -> Kept:
    """The fewest groups of every coupling; the last sublayer that reads the source keeps a head."""
    entries = {e.coupling.name: e for e in plan.entries}
    sites = {c.name: c.site for c in plan.couplings}
    least = {g.coupling.name: sizes_to_try(g, limits)[0] for g in plan.bind(model)}
    emptying = [name for name in least if entries[name].coupling.kind in (WHOLE_BLOCK, *COVERING)]
    readers = [name for name in emptying if (site := sites[name]) is not None and site.reads_source]
    gone = {sites[name] for name in readers if not least[name]}
    if readers and gone == {sites[name] for name in readers}:
        last = sites[readers[-1]]
        least |= {name: max(1, least[name]) for name in readers if sites[name] == last}
    removed = {sites[name] for name in emptying if entries[name].coupling.kind == WHOLE_BLOCK and not least[name]}
    kept: Kept = {}
    for name, lines in least.items():
        inside_removed = entries[name].coupling.kind in PARTS and sites[name] in removed
        kept[name] = entries[name].keep if inside_removed else keep_best(torch.ones(entries[name].groups), lines)
    return kept
