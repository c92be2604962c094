"""The knapsack against all combinations."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tprune.budget.knapsack import BINS, Options, cheapest
from tprune.support.errors import InputError, UnreachableError

NUMBERS = st.floats(0, 10, allow_nan=False)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Options], float]:
    options = []
    for i in range(draw(st.integers(1, 4))):
        sizes = draw(st.integers(1, 4))
        costs, losses = (tuple(draw(st.lists(NUMBERS, min_size=sizes, max_size=sizes))) for _ in range(2))
        options.append(Options(f"c{i}", tuple(range(sizes)), costs, losses))
    least = sum(min(o.costs) for o in options)
    return options, least + draw(st.floats(0, 20))


def totals(options: list[Options], kept: dict[str, int]) -> tuple[float, float]:
    return sum(o.costs[kept[o.name]] for o in options), sum(o.losses[kept[o.name]] for o in options)


@given(problems())
def test_it_keeps_the_budget_and_no_combination_in_a_slightly_smaller_one_is_better(
    problem: tuple[list[Options], float],
) -> None:
    options, budget = problem
    cost, loss = totals(options, cheapest(options, budget, "ms"))
    assert cost <= budget + 1e-9
    least = sum(min(o.costs) for o in options)
    smaller = budget - len(options) * (budget - least) / BINS
    for combination in itertools.product(*(o.sizes for o in options)):
        other = totals(options, {o.name: k for o, k in zip(options, combination, strict=True)})
        assert other[0] > smaller - 1e-9 or other[1] >= loss - 1e-9


def test_what_cannot_be_reached_says_what_can() -> None:
    with pytest.raises(UnreachableError, match=r"asked for 1 ms, but the couplings can reach 3 at least"):
        cheapest([Options("a", (1, 2), (3.0, 4.0), (1.0, 0.0))], 1.0, "ms")


def test_a_budget_with_nothing_to_spare_takes_the_smallest() -> None:
    assert cheapest([Options("a", (1, 2), (3.0, 4.0), (1.0, 0.0))], 3.0, "ms") == {"a": 1}


@pytest.mark.parametrize("costs", [(1.0,), (1.0, float("nan")), (1.0, float("inf"))])
def test_options_are_complete_numbers(costs: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="a: "):
        Options("a", (1, 2), costs, (0.0, 0.0))
