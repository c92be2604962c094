"""From an analysis to advice: per sublayer what gives way, how to realise it, how much to keep, what to leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from tprune.analysis.ablation import SHARE, without_smallest
from tprune.analysis.record import Analysis, Component
from tprune.analysis.sites import module_name
from tprune.core.coupling import Groups, bind
from tprune.core.kinds import COVERING, TILING, Kind, Scope, rule_of
from tprune.core.known_realisations import usual_realisation
from tprune.core.plan import Plan
from tprune.families.registry import couplings

KEPT = 0.5  # of the prunable weights: the size at which the shares to keep are compared
LEAST_KEEP, MOST_KEEP = 0.1, 1.0  # share to keep of any sublayer
DEAR = 3.0  # a sublayer whose weights cost this many times the median is left alone
LEAST_ABLATION_LOSS = 1e-4  # nats per token: less is noise
WAYS: tuple[tuple[Kind, ...], ...] = (*((kind,) for kind in COVERING), *(inner for inner in TILING.values() if inner))
LONE = 0.2  # of one matrix's lines vanish, and of its coupling's groups not half as many: cut the matrix alone


@dataclass(frozen=True)
class Advice:
    """What to do with one sublayer, and the numbers that say so.

    Attributes:
        sublayer: e.g. `decoder 0 cross`.
        axis: of which lines of its matrices more vanished: `in`, `out`, or `both` where they differ by less than a
            tenth.
        cut: the kinds of couplings to cut (`heads`, or `qk+vo`), or the lines of one matrix (`q_proj.in`).
        realisation: `shrunk` for couplings, `gathered` for the lines of one matrix.
        keep: the share of its prunable weights to keep when the model keeps half of them.
        relative: that share over the mean of all sublayers.
        leave: better not cut at all.
        zero: the fraction of lines of its matrices that vanished, by axis; `together` of the coupling's groups.
        shrunk: the share of their norms that they gave up along the path, by axis.
        ablation_loss: nats per token, when the smallest 30 % of the groups of `cut` are zero.
        why: one line for a reader.
    """

    sublayer: str
    axis: str
    cut: str
    realisation: str
    keep: float
    relative: float
    leave: bool
    zero: Mapping[str, float]
    shrunk: Mapping[str, float]
    ablation_loss: float
    why: str


@dataclass(frozen=True)
class _Option:
    """One way to cut a sublayer: its couplings, what 30 % of them cost, and how many weights they have."""

    cut: str
    parts: tuple[Component, ...]
    weights: int
    loss: float  # ablation loss, scaled to exactly 30 %: of 8 heads only 2 can go

    @property
    def ablation_loss(self) -> float:
        return sum(max(0.0, part.ablation_loss or 0.0) for part in self.parts)


def advise(model: Any, analysis: Analysis) -> tuple[Advice, ...]:
    """Advice for every sublayer of the model that was analysed, in its order.

    The loss that a sublayer adds is taken to grow with the square of the share that is cut, `h (x / 0.3)²`, where h is
    its ablation loss. The sum is then least, for so many weights cut, where `x_c ∝ weights_c / h_c`, within
    `0 ≤ x ≤ 0.9`. Of whole heads and dimensions inside heads, which remove the same weights, the one with the smaller
    ablation loss is advised.
    """
    named = {component.name for component in analysis.components if component.ablation_loss is not None}
    bound = {g.coupling.name: g for g in bind([c for c in couplings(model) if c.name in named], model)}
    ways = {s: _cheapest(found, bound) for s, found in _by_sublayer(analysis, closed=True).items()}
    options = {s: way for s, way in ways.items() if way is not None}
    if not options:
        return ()
    floor = 1e-3 * (max(o.loss for o in options.values()) or 1.0)
    prices = {s: max(o.loss, floor) / o.weights for s, o in options.items()}
    shares = cut_shares(prices, {s: o.weights for s, o in options.items()}, 1 - KEPT)
    mean, usual = fmean(1 - x for x in shares.values()), median(prices.values())
    lines = _by_sublayer(analysis, closed=False)
    return tuple(
        _advice(s, option, lines.get(s, ()), 1 - shares[s], (1 - shares[s]) / mean, prices[s] / usual, analysis.telling)
        for s, option in options.items()
    )


def cut_shares(prices: Mapping[str, float], weights: Mapping[str, int], goal: float) -> dict[str, float]:
    """Shares to cut `x_c = min(0.9, μ / price_c)` with `Σ weights_c x_c = goal · Σ weights_c`, by bisection of log μ.

    Example:
        >>> shares = cut_shares({"a": 1.0, "b": 3.0}, {"a": 10, "b": 10}, 0.4)
        >>> round(shares["a"], 3), round(shares["b"], 3)
        (0.6, 0.2)
    """
    low, high = min(prices.values()) * 1e-6, max(prices.values())
    total = sum(weights.values())
    for _ in range(80):
        level = (low * high) ** 0.5
        shares = {s: min(MOST_KEEP - LEAST_KEEP, level / price) for s, price in prices.items()}
        if sum(weights[s] * x for s, x in shares.items()) > goal * total:
            high = level
        else:
            low = level
    return shares


def coupling_weights(analysis: Analysis, plan: Plan) -> dict[str, float]:
    """Weights of couplings against others of their kind: `ablation loss^¼ / mean over the plan's of the kind`.

    A coupling with a small ablation loss gets a small weight, and so keeps fewer groups. The exponent was found by
    trial (`benchmarks/coupling_weights`). Where some coupling of the plan has no ablation loss, all weights come from
    `1 − shrunk`. Kinds are not compared: all heads shrink more than FFN units do, and would all be cut.
    """
    found = {c.name: analysis[c.name] for c in plan.couplings}
    losses = {name: c.ablation_loss for name, c in found.items() if c.ablation_loss is not None}
    if len(losses) == len(found):
        weights = {name: max(LEAST_ABLATION_LOSS, loss) ** 0.25 for name, loss in losses.items()}
    else:
        weights = {name: max(0.05, 1 - component.area) for name, component in found.items()}
    return in_kind(weights, plan)


def in_kind(weights: Mapping[str, float], plan: Plan) -> dict[str, float]:
    """Each coupling's number over the mean of its kind: kinds do not compare."""
    of_kind: dict[str, list[float]] = {}
    for coupling in plan.couplings:
        of_kind.setdefault(coupling.kind, []).append(weights[coupling.name])
    return {c.name: weights[c.name] / fmean(of_kind[c.kind]) for c in plan.couplings}


def _by_sublayer(analysis: Analysis, closed: bool) -> dict[str, list[Component]]:
    found: dict[str, list[Component]] = {}
    for component in analysis.components:
        if (rule_of(component.kind).scope is not Scope.MATRIX) == closed:
            found.setdefault(component.block, []).append(component)
    return found


def _cheapest(found: Sequence[Component], bound: Mapping[str, Groups]) -> _Option | None:
    """The cheapest way to cut all prunable weights of a sublayer; None where no ablation loss was measured."""
    kinds = {c.kind: c for c in found if c.ablation_loss is not None}
    options = []
    for way in WAYS:
        parts = tuple(kinds[k] for k in way if k in kinds)
        if len(parts) == len(way):
            weights = sum(int(bound[c.name].sizes.sum()) for c in parts)
            options.append(_Option("+".join(way), parts, weights, sum(_at_share(c, bound[c.name]) for c in parts)))
    return min(options, key=lambda option: option.loss / option.weights, default=None)


def _at_share(component: Component, groups: Groups) -> float:
    """A component's ablation loss scaled to exactly 30 % of the groups; it grows with the square of the share cut."""
    gone = 1 - float(without_smallest(groups.norms.detach()).double().mean())
    return max(0.0, component.ablation_loss or 0.0) * (SHARE / gone) ** 2


def _gone(component: Component, stage: int) -> float:
    """The fraction of its groups that had vanished by a stage of the path."""
    return component.path[stage].zero if component.path else component.zero


def _advice(
    sublayer: str,
    option: _Option,
    lines: Sequence[Component],
    keep: float,
    relative: float,
    price: float,
    stage: int,
) -> Advice:
    axes = {axis: [c for c in lines if c.axis == axis] for axis in ("in", "out")}
    zero = {axis: round(fmean(_gone(c, stage) for c in found), 4) for axis, found in axes.items() if found}
    shrunk = {axis: round(fmean(c.area for c in found), 4) for axis, found in axes.items() if found}
    axis = _axis(zero, shrunk)
    zero["together"] = round(fmean(_gone(part, stage) for part in option.parts), 4)
    lone = max(lines, key=lambda c: _gone(c, stage), default=None)
    vanished = _gone(lone, stage) if lone else 0.0
    alone = vanished >= LONE and zero["together"] < vanished / 2
    cut, leave = option.cut, price > DEAR
    if alone and lone is not None:
        cut = f"{module_name(lone.matrix)}.{lone.axis}"
    return Advice(
        sublayer,
        axis,
        cut,
        usual_realisation(closed=not alone),
        round(keep, 3),
        round(relative, 3),
        leave,
        zero,
        shrunk,
        round(option.ablation_loss, 5),
        _why(option, price, leave, vanished if alone else 0.0, zero["together"]),
    )


def _axis(zero: Mapping[str, float], shrunk: Mapping[str, float]) -> str:
    """The axis of which more lines vanished, or, where under 1 % did, the one that gave up more of its norm.

    `both` within a tenth.
    """
    given = zero if max(zero.values(), default=0.0) >= 0.01 else shrunk
    if len(given) < 2:
        return next(iter(given), "both")
    more = max(given, key=lambda axis: given[axis])
    return more if given[more] > 1.1 * min(given.values()) else "both"


def _why(option: _Option, price: float, leave: bool, vanished: float, together: float) -> str:
    cost = f"30 % of {option.cut} cost {option.ablation_loss:.4f} nats at once, {price:.1f}x the median per weight"
    if vanished:
        return f"{vanished:.0%} of these lines vanish alone, {together:.0%} of {option.cut} together; {cost}"
    return f"{cost}; leave it alone" if leave else cost
