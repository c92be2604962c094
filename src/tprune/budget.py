"""The best selection within a budget: every coupling takes one of its sizes, the loss is smallest, the cost is kept.

This is the multiple-choice knapsack problem. Losses and costs are taken to add up over couplings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tprune.errors import InputError, UnreachableError

BINS = 65536
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """The sizes one coupling may take: what each costs (in the budget's unit) and how much loss it adds (nats)."""

    name: str
    kept: tuple[int, ...]
    costs: tuple[float, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.kept) == len(self.costs) == len(self.losses) >= 1:
            raise InputError(f"{self.name}: {len(self.kept)} sizes, {len(self.costs)} costs, {len(self.losses)} losses")
        if not np.isfinite([*self.costs, *self.losses]).all():
            raise InputError(f"{self.name}: costs and losses must be finite, got {self.costs} and {self.losses}")


def cheapest(options: Sequence[Options], budget: float, unit: str) -> dict[str, int]:
    """For every coupling the size to keep, such that `Σ cost ≤ budget` and `Σ loss` is least, by dynamic programming.

    Coupling by coupling it keeps the partial selections that no other beats in cost and loss, of those that cost the same to
    within `1 / 65536` of what the budget leaves the one with the least loss. So the budget holds exactly, and the loss is the
    least there is within `budget − couplings / 65536` of what it leaves.

    Args:
        options: one per coupling.
        budget: for all of them together.
        unit: its name, for the message.

    Raises:
        UnreachableError: even the smallest sizes cost more; says what can be reached.

    Example:
        >>> a = Options("a", (0, 1, 2), (0.0, 1.0, 2.0), (5.0, 1.0, 0.0))
        >>> b = Options("b", (0, 4), (0.0, 2.0), (3.0, 0.0))
        >>> cheapest([a, b], 3.0, "ms")
        {'a': 1, 'b': 4}
    """
    least = sum(min(o.costs) for o in options)
    if least > budget:
        raise UnreachableError(
            f"asked for {budget:,.4g} {unit}, but the couplings can reach {least:,.4g} at least; "
            "ask for more, allow more kinds of couplings, or lower the floor"
        )
    spare = budget - least
    cost, loss = np.zeros(1), np.zeros(1)  # of the partial selections, cost above the least
    chosen: list[tuple[Ints, Ints]] = []  # for each coupling and selection: its option, and the selection it extends
    for o in options:
        above = np.array(o.costs) - min(o.costs)
        costs, losses = (np.add.outer(x, y).ravel() for x, y in ((cost, above), (loss, np.array(o.losses))))
        best = _unbeaten(costs, losses, spare)
        cost, loss = costs[best], losses[best]
        chosen.append((best % len(above), best // len(above)))
    at, kept = int(loss.argmin()), {}
    for o, (option, before) in zip(reversed(options), reversed(chosen), strict=True):
        kept[o.name] = o.kept[int(option[at])]
        at = int(before[at])
    return {o.name: kept[o.name] for o in options}


def _unbeaten(costs: Floats, losses: Floats, spare: float) -> Ints:
    """Indices of what is affordable and neither dearer nor worse than another, cheapest first."""
    affordable = np.flatnonzero(costs <= spare * (1 + 1e-12))
    order = affordable[np.lexsort((costs[affordable], losses[affordable]))]  # least loss first, then least cost
    bins = np.floor(costs[order] / spare * BINS) if spare > 1e-300 else np.zeros(len(order))
    order = order[np.unique(bins, return_index=True)[1]]  # the first, so the best, of every bin; bins ascending
    falling = np.minimum.accumulate(losses[order])
    found: Ints = order[np.concatenate([[True], losses[order][1:] < falling[:-1]])]
    return found
