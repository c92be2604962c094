"""Selection: exact counts, ties, rounding, sharing, and reaching a budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tprune.core.selection import (
    Kept,
    Limits,
    Select,
    Shared,
    Uniform,
    balanced,
    keep_best,
    lines_of,
    per_axis,
    per_block,
    reach,
    rounded,
    threshold,
    top_k,
)
from tprune.support.errors import InputError, UnreachableError

few_values = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=1, max_size=20)


def test_threshold_is_strict() -> None:
    assert threshold(torch.tensor([0.0, 1.0, 1.5]), 1.0).tolist() == [False, False, True]


@given(few_values, st.data())
def test_top_k_keeps_k_of_the_best_and_of_equal_ones_the_first(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    keep = top_k(torch.tensor(values), k)
    best = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert keep.nonzero().flatten().tolist() == sorted(best)


@pytest.mark.parametrize("k", [-1, 4])
def test_top_k_out_of_range(k: int) -> None:
    with pytest.raises(InputError, match=f"cannot keep {k} of 3 groups"):
        top_k(torch.ones(3), k)


@given(st.integers(1, 4), st.integers(1, 6), st.data())
def test_balanced_keeps_equally_many_of_the_best_in_every_head(heads: int, dims: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, dims))
    scores = torch.randn(2, heads, dims, generator=torch.Generator().manual_seed(heads * 100 + dims))
    keep = balanced(scores, k)
    assert keep.shape == scores.shape and (keep.sum(-1) == k).all()
    assert torch.equal(keep[1, 0], top_k(scores[1, 0], k))


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@st.composite
def tied_scores(draw: st.DrawFn) -> Tensor:
    """Few different values, so that many groups are equally good."""
    shape = draw(shapes)
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 1000)))).float()


@given(tied_scores(), st.data())
def test_per_axis_is_top_k_of_every_line_along_it(scores: Tensor, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-scores.ndim, scores.ndim - 1))
    k = data.draw(st.integers(0, scores.shape[axis]))
    keep = per_axis(scores, k, axis)
    assert keep.shape == scores.shape and (keep.sum(axis) == k).all()
    rows, kept = (t.movedim(axis, -1).reshape(-1, scores.shape[axis]) for t in (scores, keep))
    assert all(torch.equal(top_k(row, k), mask) for row, mask in zip(rows, kept, strict=True))
    names = "abc"[: scores.ndim]
    assert torch.equal(per_axis(scores, k, names[axis], names), keep)


@given(tied_scores(), st.data())
def test_per_block_is_top_k_of_every_block_along_an_axis(scores: Tensor, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-scores.ndim, scores.ndim - 1))
    size = data.draw(st.integers(1, 6))
    k = data.draw(st.integers(0, size))
    keep = per_block(scores, k, size, axis)
    assert keep.shape == scores.shape
    rows, kept = (t.movedim(axis, -1).reshape(-1, scores.shape[axis]) for t in (scores, keep))
    for row, mask in zip(rows, kept, strict=True):
        for block, own in zip(row.split(size), mask.split(size), strict=True):
            assert torch.equal(own, top_k(block, min(k, len(block))))


@given(tied_scores(), st.data())
def test_the_ways_to_choose_agree_where_they_mean_the_same(scores: Tensor, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, scores.shape[-1]))
    assert torch.equal(keep_best(scores, k), per_axis(scores, k))
    assert torch.equal(balanced(scores, k), per_axis(scores, k, scores.ndim - 1))
    assert torch.equal(per_block(scores, k, scores.shape[-1]), per_axis(scores, k))  # one block is the whole axis
    if scores.ndim == 1:
        assert torch.equal(top_k(scores, k), per_axis(scores, k))
    edge = torch.sort(scores.flatten(), descending=True).values[k - 1] if k else torch.tensor(9.0)
    assert not (threshold(scores, float(edge)) & ~top_k(scores, k)).any()  # above the last one kept, all are kept


@pytest.mark.parametrize(
    ("choose", "says"),
    [
        (lambda s: per_axis(s, 4), "cannot keep 4 of 3 groups"),
        (lambda s: per_axis(s, 1, 2), "there is no axis 2: the groups have 2 axes"),
        (lambda s: per_axis(s, 1, "x", ("h", "d")), "no axis of the groups is called 'x'; expected one of h, d"),
        (lambda s: per_axis(s, 1, "x"), "called 'x'; expected one of none"),
        (lambda s: per_block(s, 3, 2), "cannot keep 3 of 2 groups"),
        (lambda s: per_block(s, 0, 0), "cannot keep 0 of 0 groups"),
        (lambda s: per_block(s, 1, 2, -3), "there is no axis -3"),
        (lambda s: balanced(s.sum(), 1), "there is no axis -1: the groups have 0 axes"),
    ],
)
def test_a_way_that_does_not_fit_the_groups_is_refused(choose: Callable[[Tensor], Tensor], says: str) -> None:
    with pytest.raises(InputError, match=says):
        choose(torch.rand(2, 3))


def test_keep_best_and_lines_of_follow_the_number_of_axes() -> None:
    two, one, none = torch.rand(2, 4), torch.rand(4), torch.rand(())
    assert (lines_of(two), lines_of(one), lines_of(none)) == (4, 4, 1)
    assert keep_best(two, 1).sum() == 2 and keep_best(one, 1).sum() == 1
    assert bool(keep_best(none, 1)) and not bool(keep_best(none, 0)) and keep_best(none, 1).shape == ()


@given(st.floats(0, 200), st.integers(1, 128), st.integers(1, 16), st.integers(0, 128))
def test_rounded_is_a_multiple_or_the_whole_and_keeps_its_bounds(
    k: float, total: int, multiple: int, least: int
) -> None:
    least = min(least, total)
    found = rounded(k, total, multiple, least)
    assert least <= found <= total
    assert found == total or found % multiple == 0
    if least == 0 and k < total:
        assert abs(found - k) <= multiple / 2 or found == total
    assert rounded(k + 1, total, multiple, least) >= found


@given(st.floats(0, 1), st.integers(1, 64), st.sampled_from([0.0, 0.1, 0.5]))
def test_the_floor_holds(level: float, total: int, floor: float) -> None:
    found = Limits(floor=floor).round(level * total, total, "ffn", "a")
    assert found >= (max(1, floor * total - 1e-9) if floor else 0)


def test_sublayers_go_as_a_whole_whatever_the_floor_and_heads_keep_a_dimension() -> None:
    assert [Limits(floor=0.5).round(k, 1, "sublayer", "a") for k in (0.2, 0.8)] == [0, 1]
    assert Limits(floor=0.0).round(0.0, 1, "qk", "a") == 1 and Limits(floor=0.0).round(0.0, 8, "ffn", "a") == 0


def test_floors_are_by_kind() -> None:
    limits = Limits(floor=0.25, floors={"ffn": 0.0, "qk": 0.0, "heads": 0.5})
    assert [limits.round(0.0, 8, kind, "a") for kind in ("ffn", "qk", "heads", "vo")] == [0, 1, 4, 2]
    assert [limits.may_empty(kind, "a") for kind in ("ffn", "qk", "heads", "vo")] == [True, False, False, False]
    assert Limits(floor=0.0, floors={"heads": 0.1}).round(0.0, 8, "heads", "a") == 1


def test_couplings_that_are_needed_keep_a_group() -> None:
    limits = Limits(floor=0.0, needed=("first",))
    assert [limits.round(0.0, 8, "heads", name) for name in ("first", "second")] == [1, 0]
    assert [limits.may_empty("heads", name) for name in ("first", "second")] == [False, True]
    scores = {"first": torch.ones(4), "second": torch.ones(4)}
    kinds = dict.fromkeys(scores, "heads")
    for select in (Uniform(limits), Shared(limits=limits)):
        assert [int(keep.sum()) for keep in select(scores, kinds, 0.0).values()] == [1, 0]


def test_multiples_are_by_kind() -> None:
    limits = Limits({"ffn": 16}, floor=0.0)
    assert limits.round(30.0, 64, "ffn", "a") == 32 and limits.round(30.0, 64, "heads", "a") == 30


SCORES = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.tensor([[10.0, 30.0], [40.0, 20.0]])}
KINDS = {"a": "ffn", "b": "qk"}


def counts(kept: Kept) -> dict[str, int]:
    return {name: int(keep.sum()) for name, keep in kept.items()}


def test_uniform_keeps_the_same_share_everywhere() -> None:
    assert counts(Uniform(Limits(floor=0.0))(SCORES, KINDS, 0.5)) == {"a": 2, "b": 2}
    assert Uniform(Limits(floor=0.0))(SCORES, KINDS, 0.5)["b"].tolist() == [[False, True], [True, False]]


def test_shared_ranks_across_couplings_by_weight_and_score() -> None:
    scores = {"a": torch.ones(4), "b": torch.ones(4)}
    kinds = {"a": "ffn", "b": "ffn"}
    free = Limits(floor=0.0)
    assert counts(Shared({"a": 2.0}, limits=free)(scores, kinds, 0.5)) == {"a": 4, "b": 0}
    assert counts(Shared({"a": 0.5}, limits=free)(scores, kinds, 0.5)) == {"a": 0, "b": 4}
    uneven = {"a": torch.tensor([1.0, 1.0, 1.0, 5.0]), "b": torch.ones(4)}
    assert counts(Shared(limits=free)(uneven, kinds, 5 / 8)) == {"a": 1, "b": 4}
    assert counts(Shared({"a": 9.0}, limits=Limits(floor=0.5))(scores, kinds, 0.25)) == {"a": 2, "b": 2}


def test_shared_is_blind_to_the_scale_of_a_coupling() -> None:
    shared = Shared(limits=Limits(floor=0.0))
    big = {"a": SCORES["a"], "b": SCORES["b"] * 1e4}
    one, other = shared(SCORES, KINDS, 0.5), shared(big, KINDS, 0.5)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_shared_can_share_out_equal_scores() -> None:
    equal = {"a": torch.ones(10), "b": torch.ones(10)}
    kinds = {"a": "ffn", "b": "ffn"}
    for level in (0.0, 0.25, 0.5, 1.0):
        assert sum(counts(Shared(limits=Limits(floor=0.0))(equal, kinds, level)).values()) == round(20 * level)
    zero = {name: torch.zeros(10) for name in equal}
    assert sum(counts(Shared(limits=Limits(floor=0.0))(zero, kinds, 0.5)).values()) == 10


def scores_from(seed: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {"a": torch.rand(17, generator=g), "b": torch.rand(4, 8, generator=g) * 50, "c": torch.rand((), generator=g)}


ABC = {"a": "ffn", "b": "qk", "c": "sublayer"}
SELECTS = (
    Uniform(Limits({"ffn": 4}, 0.1)),
    Shared({"a": 3.0}, Limits({"ffn": 4}, 0.1)),
    Shared(limits=Limits(floor=0.0)),
)


@pytest.mark.parametrize("select", SELECTS)
@given(seed=st.integers(0, 1000), levels=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@settings(max_examples=40, deadline=None)
def test_a_larger_level_keeps_a_superset(select: Select, seed: int, levels: tuple[float, float]) -> None:
    scores = scores_from(seed)
    small, large = (select(scores, ABC, level) for level in sorted(levels))
    assert all((large[name] | ~small[name]).all() for name in scores)
    assert all(keep.all() for keep in select(scores, ABC, 1.0).values())


@pytest.mark.parametrize("select", SELECTS)
@given(seed=st.integers(0, 1000), share=st.floats(0.15, 1.2))
@settings(max_examples=15, deadline=None)
def test_reach_never_exceeds_the_budget_and_comes_close(select: Select, seed: int, share: float) -> None:
    scores = scores_from(seed)
    weight = {"a": 3.0, "b": 1.0, "c": 10.0}

    def measure(kept: Kept) -> float:
        return sum(weight[name] * float(keep.sum()) for name, keep in kept.items())

    budget = share * (17 * 3 + 32 + 10)
    try:
        kept, size = reach(budget, select, scores, ABC, measure, "macs")
    except UnreachableError as error:
        least = measure(select(scores, ABC, 0.0))
        assert least > budget and f"{least:,.0f} at least" in str(error)
        return
    assert size == measure(kept) <= budget
    if share >= 1:
        assert all(keep.all() for keep in kept.values())
    finer = max(
        (measure(select(scores, ABC, level / 64)) for level in range(65)), key=lambda m: m if m <= budget else -1
    )
    assert size >= finer or math.isclose(size, finer)


def test_unreachable_says_what_can_be_reached() -> None:
    with pytest.raises(UnreachableError, match="asked for 1 bytes, but the plan's couplings can reach 2,000 at least"):
        reach(1.0, Uniform(), {"a": torch.rand(8)}, {"a": "ffn"}, lambda kept: 2000 * float(kept["a"].sum()), "bytes")
