"""Search for what an additive knapsack cannot see: couplings that are cheap to cut alone may be dear to cut together.

The knapsack's losses are multiplied by a coefficient per coupling, the selection it then finds is measured as a whole, and the
coefficients of the best one so far are mutated. So the budget holds in every try, and only what to spend it on is searched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tprune.budget import Floats, Options, cheapest
from tprune.errors import InputError

SPREAD = 4.0  # coefficients are drawn from 1/4 to 4, evenly in their logarithm
MUTATED = 0.2  # of the coefficients in each later try


@dataclass(frozen=True)
class Refined:
    """The best selection found.

    Attributes:
        kept: for every coupling the size to keep.
        loss: as measured, in nats.
        additive: the measured loss of the knapsack's own selection, where the search began.
        measured: how many different selections were measured.
    """

    kept: dict[str, int]
    loss: float
    additive: float
    measured: int


def refine(
    options: Sequence[Options], evaluate: Callable[[Mapping[str, int]], float], budget: float, unit: str,
    tries: int = 50, seed: int = 0,
) -> Refined:  # fmt: skip
    """Starts from `budget.cheapest` and looks for a selection whose measured loss is less; never returns a worse one.

    The first quarter of the tries draws all coefficients anew, the others a fifth of the best ones'. A try that leads to a
    selection already measured costs nothing.

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

    References:
        Frantar and Alistarh, SPDY: accurate pruning with speedup guarantees, 2022.
    """
    rng = np.random.default_rng(seed)
    losses: dict[tuple[int, ...], float] = {}

    def measured(coefficients: Floats) -> tuple[float, dict[str, int]]:
        scaled = [
            dataclasses.replace(o, losses=tuple(float(c) * x for x in o.losses))
            for o, c in zip(options, coefficients, strict=True)
        ]
        kept = cheapest(scaled, budget, unit)
        key = tuple(kept.values())
        if key not in losses:
            losses[key] = float(evaluate(kept))
            if math.isnan(losses[key]):
                raise InputError(f"the measured loss of {kept} is not a number")
        return losses[key], kept

    def drawn(n: int) -> Floats:
        return np.exp(rng.uniform(-math.log(SPREAD), math.log(SPREAD), n))

    best = np.ones(len(options))
    least, kept = measured(best)
    additive = least
    for number in range(tries):
        tried = drawn(len(options))
        if number >= tries // 4:
            change = rng.random(len(options)) < MUTATED
            change[rng.integers(len(options))] = True
            tried = np.where(change, tried, best)
        loss, selection = measured(tried)
        if loss < least:
            least, kept, best = loss, selection, tried
    return Refined(kept, least, additive, len(losses))
