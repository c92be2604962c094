"""One budget for all kinds: sizes or removal of every sublayer, and a residual width, with the least added loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from tprune.budget.knapsack import Options, cheapest
from tprune.budget.mixed import Mixed
from tprune.core.curves import Curve
from tprune.core.kinds import COVERING, INNER, WHOLE_BLOCK, WIDTH, rule_of
from tprune.core.plan import Plan
from tprune.core.selection import Kept, Scores, keep_best, lines_of
from tprune.core.sublayers import KeptCounts, Sublayer, combined, emptied, sublayers_of
from tprune.costs.latency.beside import REST
from tprune.support.errors import InputError, UnreachableError

TIGHTEN = 8  # how often a selection that turns out too large is made again
STEP = 1e-3  # of the budget, at least


@dataclass(frozen=True)
class Exact:
    """What parts of a model take in fp32, beside their cost in another precision.

    Attributes:
        saved: as of `CostModel`, in fp32.
        more: what a whole sublayer takes more in fp32; None stands for all that lies in no sublayer.
    """

    saved: Callable[[Sublayer, str, float], float]
    more: Callable[[Sublayer | None], float]


@dataclass(frozen=True)
class CostModel:
    """The cost of a model of one residual width: `whole − Σ_sublayers saved`.

    Attributes:
        unit: of the budget, such as `macs`.
        whole: the cost with every sublayer whole.
        saved: what a sublayer saves with one kind cut to a share and its other kinds whole.
        exact: what it takes in fp32, where the model is in another precision; None where it has no choice.
    """

    unit: str
    whole: float
    saved: Callable[[Sublayer, str, float], float]
    exact: Exact | None = None

    def cost(self, sublayer: Sublayer, counts: KeptCounts, exact: bool = False) -> float:
        """What a sublayer takes beyond its whole self; in fp32 if `exact`, else at most 0."""
        saved, more = self.saved, 0.0
        if exact and self.exact is not None:
            saved, more = self.exact.saved, self.exact.more(sublayer)
        return more - float(combined(lambda kind, share: saved(sublayer, kind, share), sublayer.fractions(counts)))


CostModels = Callable[[int | None], CostModel]  # one for each residual width; None: the dense width


@dataclass(frozen=True)
class Choice:
    """What a sublayer takes: how much it keeps, and whether that stays fp32 in a model of another precision."""

    counts: KeptCounts
    exact: bool = False


@dataclass(frozen=True)
class Allocation:
    """What every sublayer keeps, the residual width (None: unchanged), and the loss that is predicted for it.

    `exact` are the names of sublayers that stay fp32, with `REST` where all that lies in none does.
    """

    width: int | None
    counts: Mapping[str, KeptCounts]
    loss: float
    exact: frozenset[str] = frozenset()


def allocate(
    plan: Plan,
    curves: Sequence[Curve],
    cost_models: CostModels,
    budget: float,
    even: Collection[str] = (),
    rounding: Mapping[str, float] | None = None,
) -> Allocation:
    """The allocation with the least loss that costs at most `budget`.

    It is a knapsack over sublayers for each residual width.

    The losses of a sublayer's kinds, of the sublayers, and of the width are added. At least one sublayer of the decoder
    goes on reading the source.

    Args:
        plan: before selection.
        curves: the loss each coupling adds alone.
        cost_models: by residual width.
        budget: in the unit of the cost models.
        even: kinds of which all sublayers of a stack keep equally many.
        rounding: the loss that the model's precision adds to each sublayer, by name, and to `REST`, which lies in none;
            each of them then may stay fp32. The cost models say what that costs.

    Raises:
        InputError: a coupling has no curve, or shares no budget; or kinds are even and the precision is chosen.
        UnreachableError: says what can be reached, and what binds.
    """
    by_name = {curve.name: curve for curve in curves}
    if missing := [c.name for c in plan.couplings if c.name not in by_name]:
        raise InputError(f"{missing[0]}: the loss that it adds was not measured")
    sublayers = sublayers_of(plan)
    if rounding is not None and even:
        raise InputError(f"{', '.join(even)}: kept even, which leaves sublayers no choice of precision")
    possible = {s.name: _choices(s, by_name, rounding is not None) for s in sublayers}
    readers = frozenset(s.name for s in sublayers if s.site.reads_source)
    best: Allocation | None = None
    least: list[float] = []
    for width, price in _widths(plan, by_name):
        cost_model = cost_models(width)
        options = [_options(s, possible[s.name], by_name, cost_model, rounding) for s in sublayers]
        options += [] if rounding is None else [_rest(cost_model, rounding)]
        groups = _even(options, sublayers, even)
        least.append(cost_model.whole + (_least(options, readers) if groups is None else _sum_of_least(groups)))
        if least[-1] > budget or (best is not None and price >= best.loss):
            continue
        left = budget - cost_model.whole
        if groups is None:
            kept = _with_a_reader(options, readers, left, cost_model.unit)
        else:
            chosen = cheapest(groups, left, cost_model.unit)
            kept = {name: choice for each in chosen.values() for name, choice in each.items()}
        loss = price + sum(o.losses[o.sizes.index(kept[o.name])] for o in options)
        if best is None or loss < best.loss:
            exact = frozenset(name for name, choice in kept.items() if choice.exact)
            best = Allocation(width, {s.name: kept[s.name].counts for s in sublayers}, loss, exact)
    if best is None:
        raise UnreachableError(_unreachable(cost_models(None), sublayers, budget, min(least)))
    return best


def select_by_loss(
    model: nn.Module,
    plan: Plan,
    curves: Sequence[Curve],
    cost_models: CostModels,
    budget: float,
    exact: Callable[[Plan], float],
    scores: Scores,
    even: Collection[str] = (),
    mixed: Mixed | None = None,
) -> Plan:
    """Fills in what the plan keeps by `allocate`; of each coupling the groups with the best scores.

    Where the sum over sublayers was too low, the budget is tightened by what is over, and the allocation made again.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        curves: see `allocate`.
        cost_models: see `allocate`.
        budget: see `allocate`.
        exact: what a selected plan takes of the budget.
        scores: of all groups.
        even: see `allocate`.
        mixed: what a choice of precision for each sublayer needs; the plan then says the precision, too.

    Raises:
        UnreachableError: see `allocate`.
    """
    rounding = None if mixed is None else mixed.losses
    unit, wanted = cost_models(None).unit, budget
    for _ in range(TIGHTEN):
        found = allocate(plan, curves, cost_models, wanted, even, rounding)
        chosen = filled(plan, found, scores)
        chosen = chosen if mixed is None else replace(chosen, precision=mixed.precision(found.exact))
        reached = exact(chosen)
        if reached <= budget * (1 + 1e-12):
            break
        # where less is saved than the cost models say, steps of the excess alone never arrive
        wanted -= max((reached - budget) * 1.01, STEP * budget)
    else:
        raise UnreachableError(f"asked for {budget:,.4g} {unit}; the nearest selection takes {reached:,.4g}")
    return chosen.with_kept({}, {unit: budget}, {unit: reached})


def filled(plan: Plan, allocation: Allocation, scores: Scores) -> Plan:
    """The plan filled in by an allocation: of every coupling that it names the best groups by score, of others all."""
    counts = {
        sublayer.couplings[kind]: lines
        for sublayer in sublayers_of(plan)
        for kind, lines in allocation.counts[sublayer.name].items()
    }
    kept: Kept = {}
    for entry in plan.entries:
        name, score = entry.coupling.name, scores[entry.coupling.name]
        lines = allocation.width if entry.coupling.kind == WIDTH else counts.get(name)
        kept[name] = keep_best(score, lines_of(score) if lines is None else lines)
    return plan.with_kept(kept, {}, {})


def options_of(sublayer: Sublayer, curves: Mapping[str, Curve]) -> Iterable[dict[str, int]]:
    """The counts a sublayer may keep: all combinations of the sizes of its kinds, and removal where it is allowed.

    A removed sublayer is whole in its other kinds.
    """
    kinds = [kind for kind in sublayer.couplings if kind != WHOLE_BLOCK]
    for sizes in itertools.product(*(curves[sublayer.couplings[kind]].kept for kind in kinds)):
        counts = dict(zip(kinds, sizes, strict=True))
        gone = [kind for outer in COVERING if counts.get(outer) == 0 for kind in INNER[outer] if kind in counts]
        if any(counts[kind] < sublayer.whole[kind] for kind in gone):
            continue  # of no heads no dimensions need to go
        yield counts
    if WHOLE_BLOCK in sublayer.couplings and 0 in curves[sublayer.couplings[WHOLE_BLOCK]].kept:
        yield {WHOLE_BLOCK: 0}


def _widths(plan: Plan, curves: Mapping[str, Curve]) -> Sequence[tuple[int | None, float]]:
    """The residual widths to try, widest first, each with the loss it adds."""
    coupling = next((c for c in plan.couplings if c.kind == WIDTH), None)
    if coupling is None:
        return [(None, 0.0)]
    curve = curves[coupling.name]
    return list(zip(curve.kept, curve.losses, strict=True))[::-1]


def _choices(sublayer: Sublayer, curves: Mapping[str, Curve], precisions: bool) -> tuple[Choice, ...]:
    """All that a sublayer may take; of one that is empty the precision is the same."""
    counts = tuple(options_of(sublayer, curves))
    exact = (Choice(each, True) for each in counts if precisions and not emptied(each))
    return (*map(Choice, counts), *exact)


def _options(
    sublayer: Sublayer,
    possible: Sequence[Choice],
    curves: Mapping[str, Curve],
    cost_model: CostModel,
    rounding: Mapping[str, float] | None,
) -> Options[Choice]:
    def loss(choice: Choice) -> float:
        kept = sum(curves[sublayer.couplings[kind]].loss_at(lines) for kind, lines in choice.counts.items())
        same = rounding is None or choice.exact or emptied(choice.counts)
        return float(kept) + (0.0 if same or rounding is None else rounding[sublayer.name])

    costs = tuple(cost_model.cost(sublayer, choice.counts, choice.exact) for choice in possible)
    return Options(sublayer.name, tuple(possible), costs, tuple(map(loss, possible)))


def _rest(cost_model: CostModel, rounding: Mapping[str, float]) -> Options[Choice]:
    """Of what lies in no sublayer the precision alone is chosen."""
    more = 0.0 if cost_model.exact is None else cost_model.exact.more(None)
    return Options(REST, (Choice({}), Choice({}, True)), (0.0, more), (rounding[REST], 0.0))


def _even(
    options: Sequence[Options[Choice]], sublayers: Sequence[Sublayer], even: Collection[str]
) -> list[Options[Mapping[str, Choice]]] | None:
    """Options of sublayers that keep equally many, one for each stack and its kinds, and of every other sublayer.

    None where nothing is to be even. What is even is never empty, so the decoder reads its source.
    """
    if not any(kind in sublayer.couplings for sublayer in sublayers for kind in even):
        return None
    members: dict[object, list[Options[Choice]]] = {}
    for o, sublayer in zip(options, sublayers, strict=True):
        kinds = tuple(kind for kind in even if kind in sublayer.couplings)
        members.setdefault((sublayer.site.stack, kinds) if kinds else o.name, []).append(o)
    return [_together(group) for group in members.values()]


def _together(group: Sequence[Options[Choice]]) -> Options[Mapping[str, Choice]]:
    """What all of them can take, with the sums of costs and losses."""
    common = [c for c in group[0].sizes if not emptied(c.counts) and all(c in o.sizes for o in group)]
    if len(group) == 1:
        common = list(group[0].sizes)
    if not common:
        raise InputError(f"{group[0].name} and {group[-1].name} have no size in common; expected equally many groups")
    places = [[o.sizes.index(choice) for o in group] for choice in common]
    return Options(
        group[0].name,
        tuple({o.name: choice for o in group} for choice in common),
        tuple(sum(o.costs[i] for o, i in zip(group, place, strict=True)) for place in places),
        tuple(sum(o.losses[i] for o, i in zip(group, place, strict=True)) for place in places),
    )


def _sum_of_least(options: Sequence[Options[Mapping[str, Choice]]]) -> float:
    return float(sum(min(o.costs) for o in options))


def _reading(options: Sequence[Options[Choice]], readers: Collection[str]) -> dict[str, Options[Choice]]:
    """The sublayers that read the source, each with the options that leave it reading."""
    mine = [o for o in options if o.name in readers]
    return {o.name: o.only([i for i, c in enumerate(o.sizes) if not emptied(c.counts)]) for o in mine}


def _least(options: Sequence[Options[Choice]], readers: Collection[str]) -> float:
    """The cost of the smallest selection in which the decoder still reads its source."""
    smallest = {o.name: min(o.costs) for o in options}
    extra = [min(o.costs) - smallest[name] for name, o in _reading(options, readers).items()]
    return float(sum(smallest.values()) + min(extra, default=0.0))


def _with_a_reader(
    options: Sequence[Options[Choice]], readers: Collection[str], budget: float, unit: str
) -> dict[str, Choice]:
    """`cheapest`; where no sublayer would read the source, the best of the selections in which a given one does."""
    kept = cheapest(options, budget, unit)
    reading = _reading(options, readers)
    if not reading or any(not emptied(kept[name].counts) for name in reading):
        return kept
    found: list[tuple[float, dict[str, Choice]]] = []
    for reader in reading.values():
        held = [reader if o.name == reader.name else o for o in options]
        if sum(min(o.costs) for o in held) <= budget:
            some = cheapest(held, budget, unit)
            found.append((sum(o.losses[o.sizes.index(some[o.name])] for o in held), some))
    return min(found, key=lambda pair: pair[0])[1]


def number(value: float) -> str:
    """A size or a time, without more digits than it has.

    Example:
        >>> number(646217.0), number(3.10304)
        ('646,217', '3.103')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def _unreachable(dense: CostModel, sublayers: Sequence[Sublayer], budget: float, least: float) -> str:
    """What can be reached, and how much of it no coupling of the plan can touch."""
    outside = untouched(dense, sublayers)
    return (
        f"asked for {number(budget)} {dense.unit}, {100 * budget / dense.whole:.3g}% of the dense "
        f"{number(dense.whole)}; these couplings can reach {number(least)}, {least / dense.whole:.0%}. At the dense "
        f"width {number(outside)} lie outside what they cut (output layer, embeddings, fixed costs); the rest is what "
        "the floor leaves. Ask for at least that, allow more kinds, lower the floor, or start from a smaller model"
    )


def untouched(cost_model: CostModel, sublayers: Sequence[Sublayer]) -> float:
    """The cost that no coupling can cut: embeddings, output layer, fixed costs."""
    gone = 0.0
    for s in sublayers:
        covering = [kind for kind in s.whole if rule_of(kind).covers_block] or [*s.whole]
        gone += cost_model.cost(s, dict.fromkeys([WHOLE_BLOCK] if WHOLE_BLOCK in s.couplings else covering, 0))
    return cost_model.whole + gone
