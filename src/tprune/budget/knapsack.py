"""The best selection within a budget.

Every part of a model takes one of its sizes, the loss is smallest, and the cost is kept.

This is the multiple-choice knapsack problem. Losses and costs are taken to add up over the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tprune.support.errors import InputError, UnreachableError

BINS = 16384
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Size = TypeVar("Size")


@dataclass(frozen=True)
class Options(Generic[Size]):
    """The sizes one part may take: what each costs (in the budget's unit) and how much loss it adds (nats).

    A size is what the part keeps: a number of groups, or a number for each kind of coupling in a sublayer.
    """

    name: str
    sizes: tuple[Size, ...]
    costs: tuple[float, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.sizes) == len(self.costs) == len(self.losses) >= 1:
            raise InputError(
                f"{self.name}: {len(self.sizes)} sizes, {len(self.costs)} costs, {len(self.losses)} losses"
            )
        if not np.isfinite([*self.costs, *self.losses]).all():
            raise InputError(f"{self.name}: costs and losses must be finite, got {self.costs} and {self.losses}")

    def only(self, which: Sequence[int]) -> Options[Size]:
        """The options at these positions."""
        sizes, costs, losses = self.sizes, self.costs, self.losses
        return Options(
            self.name, tuple(sizes[i] for i in which), tuple(costs[i] for i in which), tuple(losses[i] for i in which)
        )

    def undominated(self) -> Options[Size]:
        """Without the options that another beats, or equals, in both cost and loss; cheapest first.

        Example:
            >>> Options("a", (1, 2, 3), (1.0, 2.0, 2.0), (0.5, 0.6, 0.1)).undominated().sizes
            (1, 3)
        """
        order = sorted(range(len(self.sizes)), key=lambda i: (self.costs[i], self.losses[i]))
        stay, best = [], float("inf")
        for i in order:
            if self.losses[i] < best:
                stay.append(i)
                best = self.losses[i]
        return self.only(stay)


def cheapest(options: Sequence[Options[Size]], budget: float, unit: str) -> dict[str, Size]:
    """For every part the size to keep, such that `Σ cost ≤ budget` and `Σ loss` is least, by dynamic programming.

    Part by part it keeps the partial selections that no other beats in cost and loss, of those that cost the same to
    within `1 / BINS` of what the budget leaves the one with the least loss. So the budget holds exactly, and the loss
    is the least there is within `budget − parts / BINS` of what it leaves.

    Args:
        options: one per part.
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
    chosen: list[tuple[Ints, Ints]] = []  # for each part and selection: its option, and the selection it extends
    options = [o.undominated() for o in options]
    for o in options:
        above = np.array(o.costs) - min(o.costs)
        costs, losses = (np.add.outer(x, y).ravel() for x, y in ((cost, above), (loss, np.array(o.losses))))
        best = _unbeaten(costs, losses, spare)
        cost, loss = costs[best], losses[best]
        chosen.append((best % len(above), best // len(above)))
    at = int(loss.argmin())
    kept: dict[str, Size] = {}
    for o, (option, before) in zip(reversed(options), reversed(chosen), strict=True):
        kept[o.name] = o.sizes[int(option[at])]
        at = int(before[at])
    return {o.name: kept[o.name] for o in options}


def _unbeaten(costs: Floats, losses: Floats, spare: float) -> Ints:
    """Indices of what is affordable and not dominated in cost and loss by another, cheapest first."""
    affordable = np.flatnonzero(costs <= spare * (1 + 1e-12))
    order = affordable[np.lexsort((costs[affordable], losses[affordable]))]  # least loss first, then least cost
    bins = np.floor(costs[order] / spare * BINS) if spare > 1e-300 else np.zeros(len(order))
    order = order[np.unique(bins, return_index=True)[1]]  # the first, so the best, of every bin; bins ascending
    falling = np.minimum.accumulate(losses[order])
    found: Ints = order[np.concatenate([[True], losses[order][1:] < falling[:-1]])]
    return found
