"""One budget for all kinds: every sublayer takes one of its sizes or goes, the residual takes a width, the loss is least."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tprune.budget.knapsack import Options, cheapest
from tprune.core.curves import Curve
from tprune.core.kinds import COVERING, INNER, WHOLE_BLOCK, WIDTH, rule_of
from tprune.core.plan import Plan
from tprune.core.selection import Kept, Scores, keep_best, lines_of
from tprune.core.sublayers import Left, Sublayer, combined, emptied, sublayers_of
from tprune.support.errors import InputError, UnreachableError

TIGHTEN = 8  # how often a selection that turns out too large is made again
STEP = 1e-3  # of the budget, at least


@dataclass(frozen=True)
class Meter:
    """What a model of one residual width takes of a budget: `whole − Σ_sublayers saved`.

    Attributes:
        unit: of the budget.
        whole: with every sublayer whole.
        saved: by a sublayer with one kind cut to a share and the others whole.
    """

    unit: str
    whole: float
    saved: Callable[[Sublayer, str, float], float]

    def cost(self, sublayer: Sublayer, left: Left) -> float:
        """What a sublayer takes beyond its whole self: at most 0."""
        return -float(combined(lambda kind, share: self.saved(sublayer, kind, share), sublayer.shares(left)))


Meters = Callable[[int | None], Meter]  # of a residual width; None: the dense one


@dataclass(frozen=True)
class Choice:
    """A selection: the residual width (None: as it is), what stays of every sublayer, and the loss all this should add."""

    width: int | None
    left: Mapping[str, Left]
    loss: float


def choose(plan: Plan, curves: Sequence[Curve], meters: Meters, budget: float) -> Choice:
    """The choice with the least loss that takes at most `budget`: for each width of the residual a knapsack over the sublayers.

    The losses of a sublayer's kinds, of the sublayers, and of the width are added. At least one sublayer of the decoder goes on
    reading the source.

    Args:
        plan: before selection.
        curves: the loss each coupling adds alone.
        meters: the cost of what is kept.
        budget: in the meters' unit.

    Raises:
        InputError: a coupling has no curve, or shares no budget.
        UnreachableError: says what can be reached, and what binds.
    """
    by_name = {curve.name: curve for curve in curves}
    if missing := [c.name for c in plan.couplings if c.name not in by_name]:
        raise InputError(f"{missing[0]}: the loss that it adds was not measured")
    sublayers = sublayers_of(plan)
    lefts = {s.name: tuple(lefts_of(s, by_name)) for s in sublayers}
    readers = frozenset(s.name for s in sublayers if s.site.reads_source)
    best: Choice | None = None
    least: list[float] = []
    for width, price in _widths(plan, by_name):
        meter = meters(width)
        options = [_options(s, lefts[s.name], by_name, meter) for s in sublayers]
        least.append(meter.whole + _least(options, readers))
        if least[-1] > budget or (best is not None and price >= best.loss):
            continue
        kept = _with_a_reader(options, readers, budget - meter.whole, meter.unit)
        loss = price + sum(_loss(s, kept[s.name], by_name) for s in sublayers)
        if best is None or loss < best.loss:
            best = Choice(width, kept, loss)
    if best is None:
        raise UnreachableError(_unreachable(meters(None), sublayers, budget, min(least)))
    return best


def select_by_loss(
    model: Any, plan: Plan, curves: Sequence[Curve], meters: Meters, budget: float, exact: Callable[[Plan], float], scores: Scores
) -> Plan:  # fmt: skip
    """Fills in what the plan keeps by `choose`; of each coupling the groups with the best scores.

    Where the sum over sublayers was too low, the budget is tightened by what is over, and the choice made again.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        curves: see `choose`.
        meters: see `choose`.
        budget: see `choose`.
        exact: what a selected plan takes of the budget.
        scores: of all groups.

    Raises:
        UnreachableError: see `choose`.
    """
    unit, wanted = meters(None).unit, budget
    for _ in range(TIGHTEN):
        chosen = filled(plan, choose(plan, curves, meters, wanted), scores)
        reached = exact(chosen)
        if reached <= budget * (1 + 1e-12):
            break
        # where less is saved than the meters say, steps of the excess alone never arrive
        wanted -= max((reached - budget) * 1.01, STEP * budget)
    else:
        raise UnreachableError(f"asked for {budget:,.4g} {unit}; the nearest selection takes {reached:,.4g}")
    return plan.with_kept({e.coupling.name: e.keep for e in chosen.entries}, {unit: budget}, {unit: reached})


def filled(plan: Plan, choice: Choice, scores: Scores) -> Plan:
    """The plan with as many groups of every coupling as the choice says, the best by score; of what it does not name, all."""
    counts = {
        sublayer.couplings[kind]: lines
        for sublayer in sublayers_of(plan)
        for kind, lines in choice.left[sublayer.name].items()
    }
    kept: Kept = {}
    for entry in plan.entries:
        name, score = entry.coupling.name, scores[entry.coupling.name]
        lines = choice.width if entry.coupling.kind == WIDTH else counts.get(name)
        kept[name] = keep_best(score, lines_of(score) if lines is None else lines)
    return plan.with_kept(kept, {}, {})


def lefts_of(sublayer: Sublayer, curves: Mapping[str, Curve]) -> Iterable[dict[str, int]]:
    """Everything a sublayer may become: all combinations of its kinds' sizes, and nothing at all where it may be removed.

    A removed sublayer counts as whole in its other kinds: its removal says it all.
    """
    kinds = [kind for kind in sublayer.couplings if kind != WHOLE_BLOCK]
    for sizes in itertools.product(*(curves[sublayer.couplings[kind]].kept for kind in kinds)):
        left = dict(zip(kinds, sizes, strict=True))
        gone = [kind for outer in COVERING if left.get(outer) == 0 for kind in INNER[outer] if kind in left]
        if any(left[kind] < sublayer.whole[kind] for kind in gone):
            continue  # of no heads no dimensions need to go
        yield left
    if WHOLE_BLOCK in sublayer.couplings and 0 in curves[sublayer.couplings[WHOLE_BLOCK]].kept:
        yield {WHOLE_BLOCK: 0}


def _widths(plan: Plan, curves: Mapping[str, Curve]) -> Sequence[tuple[int | None, float]]:
    """The residual widths to try, widest first, each with the loss it adds."""
    coupling = next((c for c in plan.couplings if c.kind == WIDTH), None)
    if coupling is None:
        return [(None, 0.0)]
    curve = curves[coupling.name]
    return list(zip(curve.kept, curve.losses, strict=True))[::-1]


def _loss(sublayer: Sublayer, left: Left, curves: Mapping[str, Curve]) -> float:
    return float(sum(curves[sublayer.couplings[kind]].loss_at(lines) for kind, lines in left.items()))


def _options(sublayer: Sublayer, lefts: Sequence[Left], curves: Mapping[str, Curve], meter: Meter) -> Options[Left]:
    costs = tuple(meter.cost(sublayer, left) for left in lefts)
    return Options(sublayer.name, tuple(lefts), costs, tuple(_loss(sublayer, left, curves) for left in lefts))


def _reading(options: Sequence[Options[Left]], readers: Collection[str]) -> dict[str, Options[Left]]:
    """The sublayers that read the source, each with the options that leave it reading."""
    mine = [o for o in options if o.name in readers]
    return {o.name: o.only([i for i, left in enumerate(o.kept) if not emptied(left)]) for o in mine}


def _least(options: Sequence[Options[Left]], readers: Collection[str]) -> float:
    """The cost of the smallest selection in which the decoder still reads its source."""
    smallest = {o.name: min(o.costs) for o in options}
    extra = [min(o.costs) - smallest[name] for name, o in _reading(options, readers).items()]
    return float(sum(smallest.values()) + min(extra, default=0.0))


def _with_a_reader(
    options: Sequence[Options[Left]], readers: Collection[str], budget: float, unit: str
) -> dict[str, Left]:
    """`cheapest`; where it would blind the decoder, the best of the selections in which one given sublayer goes on reading."""
    kept = cheapest(options, budget, unit)
    reading = _reading(options, readers)
    if not reading or any(not emptied(kept[name]) for name in reading):
        return kept
    found: list[tuple[float, dict[str, Left]]] = []
    for reader in reading.values():
        held = [reader if o.name == reader.name else o for o in options]
        if sum(min(o.costs) for o in held) <= budget:
            some = cheapest(held, budget, unit)
            found.append((sum(o.losses[o.kept.index(some[o.name])] for o in held), some))
    return min(found, key=lambda pair: pair[0])[1]


def number(value: float) -> str:
    """A size or a time, without more digits than it has.

    Example:
        >>> number(646217.0), number(3.10304)
        ('646,217', '3.103')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def _unreachable(dense: Meter, sublayers: Sequence[Sublayer], budget: float, least: float) -> str:
    """What can be reached, and how much of it no coupling of the plan can touch."""
    outside = untouched(dense, sublayers)
    return (
        f"asked for {number(budget)} {dense.unit}, {100 * budget / dense.whole:.3g}% of the dense {number(dense.whole)}; these couplings can "
        f"reach {number(least)}, {least / dense.whole:.0%}. At the dense width {number(outside)} lie outside what they cut (output layer, "
        "embeddings, fixed costs); the rest is what the floor leaves. Ask for at least that, allow more kinds, lower the floor, or start "
        "from a smaller model"
    )


def untouched(meter: Meter, sublayers: Sequence[Sublayer]) -> float:
    """What would be left of a budget if nothing were left of all couplings: embeddings, output layer, fixed costs."""
    gone = 0.0
    for s in sublayers:
        covering = [kind for kind in s.whole if rule_of(kind).covers_block] or [*s.whole]
        gone += meter.cost(s, dict.fromkeys([WHOLE_BLOCK] if WHOLE_BLOCK in s.couplings else covering, 0))
    return meter.whole + gone
