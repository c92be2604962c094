"""Where a plan for a precision differs from the plan that fp32 would get, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tprune.budget.frontier import loss_of
from tprune.budget.latency import select_within
from tprune.budget.mixed import Mixed
from tprune.core.curves import Curve
from tprune.core.objectives import DEFAULT, Objective
from tprune.core.plan import Plan
from tprune.core.selection import Scores
from tprune.core.sublayers import KeptCounts, kept_counts
from tprune.costs.latency.table import LatencyTable
from tprune.support.errors import UnreachableError

HALVINGS = 8  # of the interval in which a time in fp32 is looked for
SHOWN = 6  # sublayers in words


@dataclass(frozen=True)
class Alternative:
    """Another plan for the same target.

    Attributes:
        plan: it.
        ms: predicted in the precision.
        loss: that single couplings add up to, in nats.
        differs: by sublayer what the plan and what the other keeps, where they differ.
    """

    plan: Plan
    ms: float
    loss: float
    differs: Mapping[str, tuple[KeptCounts, KeptCounts]]


@dataclass(frozen=True)
class Differences:
    """A plan for a precision beside those that fp32 leads to.

    Attributes:
        precision: its name.
        quoted: what times are of, such as a sentence.
        ms: predicted for the plan.
        loss: that single couplings add up to, in nats.
        target: the plan that the same target gets in fp32; None where fp32 does not reach it.
        prices: the plan of the least loss by the prices of fp32 that is as fast in the precision; None if none is.
        objective: what losses are of, see `tprune.core.objectives`.
    """

    precision: str
    quoted: str
    ms: float
    loss: float
    target: Alternative | None
    prices: Alternative | None
    objective: Objective = DEFAULT

    def __str__(self) -> str:
        """In lines."""
        own = f"{self.loss:.4f} nats of {self.objective} and {self.ms:.3g} ms a {self.quoted}"
        lines = [f"beside plans for fp32: this plan adds {own} in {self.precision}, predicted"]
        if self.target is None:
            lines.append("  the plan for fp32 of the same target: out of reach")
        else:
            lines.append(f"  the plan for fp32 of the same target: {_said(self.target, self)}")
        if self.prices is None:
            lines.append("  by prices of fp32 no plan is as fast")
        elif not self.prices.differs:
            lines.append("  by prices of fp32, as fast: the same plan")
        else:
            lines.append(f"  by prices of fp32, as fast: {_said(self.prices, self)}")
            lines += [f"    {name}: {_kept(mine)}, not {_kept(other)}" for name, (mine, other) in _first(self.prices)]
            more = len(self.prices.differs) - SHOWN
            lines += [f"    and {more} more"] if more > 0 else []
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, without the plans."""
        both = {"target": self.target, "prices": self.prices}
        others = {name: None if one is None else _plain(one) for name, one in both.items()}
        own = {"precision": self.precision, "objective": self.objective, "ms": self.ms, "loss": self.loss}
        return {**own, **others}


def differences(
    model: nn.Module,
    plan: Plan,
    chosen: Plan,
    table: LatencyTable,
    fp32: LatencyTable,
    curves: Sequence[Curve],
    milliseconds: float,
    scores: Scores | None = None,
    mixed: Mixed | None = None,
    objective: Objective = DEFAULT,
) -> Differences:
    """Compares a plan with those that fp32 leads to; nothing is measured.

    The prices of fp32 lead to another plan for each time; of those that are as fast in the precision as asked, the one
    of the longest time in fp32 is taken, found by halving.

    Args:
        model: the dense model.
        plan: before selection.
        chosen: for the precision.
        table: in the precision.
        fp32: of the same model.
        curves: of its couplings.
        milliseconds: that were asked for.
        scores: of the groups; their norms if not given.
        mixed: the losses of rounding, where they are known; they are added.
        objective: what losses are of.
    """

    def in_fp32(ms: float) -> Plan | None:
        try:
            return select_within(model, plan, fp32, curves, ms, scores)
        except UnreachableError:
            return None

    def seen(other: Plan | None) -> Alternative | None:
        if other is None:
            return None
        found = table.predict_plan(other).total
        return Alternative(other, found, loss_of(other, curves, mixed), _differs(chosen, other))

    as_fast = _slowest(in_fp32, lambda p: table.predict_plan(p).total <= milliseconds * (1 + 1e-9), fp32.dense.total)
    ms, target = table.predict_plan(chosen).total, seen(in_fp32(milliseconds))
    name, quoted = table.setting.precision.name, table.phases.quoted
    return Differences(name, quoted, ms, loss_of(chosen, curves, mixed), target, seen(as_fast), objective)


def _slowest(select: Callable[[float], Plan | None], fits: Callable[[Plan], bool], most: float) -> Plan | None:
    """Of plans by their time in fp32 the slowest that fits."""
    low, high, best = 0.0, most, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = select(middle)
        if found is None or fits(found):
            low, best = middle, found or best
        else:
            high = middle
    return best


def _differs(one: Plan, other: Plan) -> dict[str, tuple[KeptCounts, KeptCounts]]:
    mine, theirs = kept_counts(one), kept_counts(other)
    return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _said(other: Alternative, own: Differences) -> str:
    return (
        f"{other.loss:.4f} nats ({own.loss - other.loss:+.4f} with this one) and {other.ms:.3g} ms "
        f"({own.ms - other.ms:+.3g})"
    )


def _kept(counts: KeptCounts) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _first(one: Alternative) -> Sequence[tuple[str, tuple[KeptCounts, KeptCounts]]]:
    return list(one.differs.items())[:SHOWN]


def _plain(one: Alternative) -> dict[str, Any]:
    return {
        "ms": one.ms,
        "loss": one.loss,
        "differs": {name: [dict(mine), dict(other)] for name, (mine, other) in one.differs.items()},
    }
