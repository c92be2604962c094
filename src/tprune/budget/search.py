"""Search beyond an additive knapsack: couplings that are cheap to cut alone may be expensive to cut together.

The knapsack's losses are multiplied by a coefficient per coupling, the selection it then finds is measured as a whole,
and the coefficients of the best one so far are mutated. So the budget holds in every try, and only what to spend it on
is searched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from tprune.budget.knapsack import Floats, Options, cheapest
from tprune.support.errors import InputError

COEFFICIENT_RANGE = 4.0  # coefficients are drawn from 1/4 to 4, evenly in their logarithm
MUTATED = 0.2  # of the coefficients in each later try


S = TypeVar("S")


@dataclass(frozen=True)
class Refined(Generic[S]):
    """The best selection found.

    Attributes:
        selection: it; for every coupling the size to keep.
        loss: as measured, in nats.
        additive: the measured loss of the selection by unchanged losses, where the search began.
        measured: how many different selections were measured.
    """

    selection: S
    loss: float
    additive: float
    measured: int


def refine(
    options: Sequence[Options[int]],
    evaluate: Callable[[Mapping[str, int]], float],
    budget: float,
    unit: str,
    tries: int = 50,
    seed: int = 0,
) -> Refined[dict[str, int]]:
    """`search` over `budget.cheapest`: never a selection that is worse than the knapsack's own.

    Args:
        options: one per coupling; their losses are where the search starts.
        evaluate: the measured loss of a whole selection (coupling → kept size), in nats; deterministic.
        budget: for all of them together, in the unit of the options' costs.
        unit: its name, for the message.
        tries: how many coefficients to try.
        seed: of the draws.

    Raises:
        InputError: a measured loss is not a number.
        UnreachableError: even the smallest sizes cost more; says what can be reached.
    """

    def select(coefficients: Sequence[float]) -> dict[str, int]:
        scaled = [
            dataclasses.replace(o, losses=tuple(c * x for x in o.losses))
            for o, c in zip(options, coefficients, strict=True)
        ]
        return cheapest(scaled, budget, unit)

    return search(len(options), select, evaluate, lambda kept: tuple(kept.values()), tries, seed)


def search(
    couplings: int,
    select: Callable[[Sequence[float]], S],
    evaluate: Callable[[S], float],
    key: Callable[[S], Hashable],
    tries: int = 50,
    seed: int = 0,
) -> Refined[S]:
    """Looks for coefficients, one a coupling, whose selection has the least measured loss; starts from ones.

    The first quarter of the tries draws all coefficients anew, the others a fifth of the best ones'. A try that leads
    to a selection already measured costs nothing.

    Args:
        couplings: how many there are.
        select: the selection within the budget, each coupling's losses multiplied by its coefficient.
        evaluate: its measured loss, in nats; deterministic.
        key: what makes two selections the same.
        tries: how many coefficients to try.
        seed: of the draws.

    Raises:
        InputError: a measured loss is not a number.

    References:
        Frantar and Alistarh, SPDY: accurate pruning with speedup guarantees, 2022.
    """
    rng = np.random.default_rng(seed)
    losses: dict[Hashable, float] = {}

    def measured(coefficients: Floats) -> tuple[float, S]:
        kept = select([float(c) for c in coefficients])
        found = key(kept)
        if found not in losses:
            losses[found] = float(evaluate(kept))
            if math.isnan(losses[found]):
                raise InputError(f"the measured loss of {kept} is not a number")
        return losses[found], kept

    def drawn() -> Floats:
        return np.exp(rng.uniform(-math.log(COEFFICIENT_RANGE), math.log(COEFFICIENT_RANGE), couplings))

    best = np.ones(couplings)
    least, kept = measured(best)
    additive = least
    for number in range(tries):
        tried = drawn()
        if number >= tries // 4:
            change = rng.random(couplings) < MUTATED
            change[rng.integers(couplings)] = True
            tried = np.where(change, tried, best)
        loss, selection = measured(tried)
        if loss < least:
            least, kept, best = loss, selection, tried
    return Refined(kept, least, additive, len(losses))
