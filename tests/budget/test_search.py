"""The search finds what additive losses hide, keeps the budget, and repeats itself exactly."""

import itertools
from collections.abc import Mapping

import pytest

from tprune.budget.knapsack import Options, cheapest
from tprune.budget.search import refine
from tprune.support.errors import InputError, UnreachableError

SIZES = tuple(range(5))
OPTIONS = [
    Options(name, SIZES, tuple(float(k) for k in SIZES), tuple(worth * (4 - k) ** 2 / 16 for k in SIZES))
    for name, worth in (("a", 1.0), ("b", 1.1), ("c", 1.6), ("d", 1.7))
]


def together(kept: Mapping[str, int]) -> float:
    """As the options say, but cutting both a and b costs far more than each alone."""
    alone = sum(o.losses[kept[o.name]] for o in OPTIONS)
    return alone + 3.0 * (4 - kept["a"]) * (4 - kept["b"]) / 16


def test_it_beats_the_additive_optimum_and_keeps_the_budget() -> None:
    found = refine(OPTIONS, together, 10.0, "ms", tries=60, seed=1)
    alone = cheapest(OPTIONS, 10.0, "ms")
    assert found.additive == together(alone) and found.loss == together(found.selection) < found.additive - 0.1
    assert sum(found.selection.values()) <= 10
    best = min(
        together(dict(zip("abcd", kept, strict=True))) for kept in itertools.product(SIZES, repeat=4) if sum(kept) <= 10
    )
    assert found.loss == pytest.approx(best, abs=0.05)


def test_a_selection_is_measured_once_and_a_seed_repeats() -> None:
    asked: list[tuple[int, ...]] = []

    def measure(kept: Mapping[str, int]) -> float:
        asked.append(tuple(kept.values()))
        return together(kept)

    first = refine(OPTIONS, measure, 10.0, "ms", tries=40, seed=3)
    assert len(asked) == len(set(asked)) == first.measured < 41
    seen = list(asked)
    asked.clear()
    assert refine(OPTIONS, measure, 10.0, "ms", tries=40, seed=3) == first and asked == seen
    asked.clear()
    refine(OPTIONS, measure, 10.0, "ms", tries=40, seed=4)
    assert asked != seen


def test_without_tries_or_interactions_it_is_the_knapsack() -> None:
    alone = cheapest(OPTIONS, 10.0, "ms")
    assert refine(OPTIONS, together, 10.0, "ms", tries=0).selection == alone
    found = refine(OPTIONS, lambda kept: sum(o.losses[kept[o.name]] for o in OPTIONS), 10.0, "ms")
    assert found.selection == alone and found.loss == found.additive


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnreachableError, match="asked for -1 ms"):
        refine(OPTIONS, together, -1.0, "ms")
    with pytest.raises(InputError, match="is not a number"):
        refine(OPTIONS, lambda kept: float("nan"), 10.0, "ms")
