"""Projections onto few groups and onto N of M, against brute force over all members of the set."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tprune.core.constraint import Constraint
from tprune.core.coupling import Coupling, Groups, bias, consumer, groups_of, producer
from tprune.methods.constraints.largest import Largest
from tprune.methods.constraints.n_of_m import NOfM
from tprune.support.errors import InputError
from tprune.testing import check_constraint

UNITS = Coupling("units", (producer("up", "u i -> u"), bias("shift", "u -> u"), consumer("down", "o u -> u")))
HEADS = Coupling("heads", (producer("up", "(h d) i -> h d", h=2), consumer("down", "o (h d) -> h d", h=2)))
WEIGHTS = Coupling("weights", (producer("up", "o i -> o i"),))
BLOCKS = Coupling("blocks", (producer("up", "(R r) (C c) -> R C", r=3, c=2),))  # ragged below


def members(seed: int, units: int = 8) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    shapes = {"up": (units, 6), "shift": (units,), "down": (4, units)}
    return {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}


def bound(coupling: Coupling, seed: int = 0) -> Groups:
    return groups_of(coupling, members(seed))


@pytest.mark.parametrize(
    ("constraint", "coupling"),
    [
        (Largest(k=3), UNITS),
        (Largest(k=0), UNITS),
        (Largest(share=0.5), UNITS),
        (Largest(k=5), HEADS),
        (Largest(k=1, axis="d"), HEADS),
        (Largest(k=1, axis=0), HEADS),
        (Largest(share=0.3), WEIGHTS),
        (Largest(k=2, axis="i"), WEIGHTS),
        (Largest(k=4), BLOCKS),
        (NOfM(1, 2), UNITS),
        (NOfM(2, 4, "i"), WEIGHTS),
        (NOfM(2, 4, "o"), WEIGHTS),
        (NOfM(0, 3), HEADS),
        (NOfM(1, 2, "d"), HEADS),
        (NOfM(1, 3, 0), BLOCKS),
    ],
)
def test_constraints_keep_their_protocol(constraint: Constraint, coupling: Coupling) -> None:
    check_constraint(constraint, coupling, seed=3)


def distance(a: Groups, keep: Tensor) -> float:
    return float(a.norms.square()[~keep].sum())


@given(st.integers(0, 1000), st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_no_choice_of_k_groups_is_nearer_than_the_largest(seed: int, k: int) -> None:
    groups = bound(UNITS, seed)
    keep = Largest(k=k).keep(groups)
    every = []
    for chosen in combinations(range(8), k):
        other = torch.zeros(8, dtype=torch.bool)
        other[list(chosen)] = True
        every.append(distance(groups, other))
    assert int(keep.sum()) == k and distance(groups, keep) == pytest.approx(min(every))
    found = Largest(k=k).project(groups)
    for name, tensor in groups.tensors.items():
        where = keep if name != "down" else keep[None]
        assert torch.equal(found[name], tensor * (where if name != "up" else keep[:, None]))


@given(st.integers(0, 1000), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_no_n_of_m_is_nearer(seed: int, n: int) -> None:
    row = members(seed)["up"][:1]
    groups = groups_of(WEIGHTS, {"up": row})
    found = NOfM(n, 3, axis="i").project(groups)["up"]
    every = [
        row * torch.tensor(mask, dtype=torch.float64)
        for mask in product((0.0, 1.0), repeat=6)
        if sum(mask[:3]) <= n and sum(mask[3:]) <= n
    ]
    assert float((row - found).norm()) == pytest.approx(min(float((row - other).norm()) for other in every))


def test_balanced_keeps_equally_many_in_every_head_and_whole_does_not() -> None:
    groups = groups_of(HEADS, {"up": torch.arange(8.0)[:, None].expand(8, 6).contiguous(), "down": torch.zeros(4, 8)})
    assert Largest(k=2, axis="d").keep(groups).tolist() == [[False, False, True, True]] * 2
    assert Largest(k=4).keep(groups).tolist() == [[False] * 4, [True] * 4]


def test_groups_of_equal_norm_go_to_the_first() -> None:
    groups = groups_of(Coupling("c", (producer("w", "u i -> u"),)), {"w": torch.ones(6, 1)})
    assert Largest(k=2).keep(groups).tolist() == [True, True, False, False, False, False]
    assert NOfM(1, 3).keep(groups).tolist() == [True, False, False] * 2


def test_a_tied_tensor_is_projected_once_under_both_names() -> None:
    w = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    tied = Coupling("tied", (producer("a", "u i -> u"), producer("b", "u i -> u")))
    found = Largest(k=1).project(groups_of(tied, {"a": w, "b": w}))
    assert found["a"] is found["b"] and int((found["a"] != 0).any(1).sum()) == 1


def test_a_bias_of_an_empty_group_lies_outside_of_the_set() -> None:
    t = members(0)
    t["up"][2:], t["down"][:, 2:] = 0.0, 0.0
    groups = groups_of(UNITS, t)
    assert not Largest(k=2).contains(groups) and not NOfM(1, 4).contains(groups)
    found = Largest(k=2).project(groups)
    assert not found["shift"][2:].any() and Largest(k=2).contains(groups_of(UNITS, found))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Largest(), "expected one of the two"),
        (lambda: Largest(k=1, share=0.5), "expected one of the two"),
        (lambda: Largest(k=-1), "expected k ≥ 0"),
        (lambda: Largest(share=1.5), "a share from 0 to 1"),
        (lambda: Largest(k=9).project(bound(UNITS)), "cannot keep 9 of 8 groups"),
        (lambda: Largest(k=1, axis="x").project(bound(HEADS)), "called 'x'; expected one of h, d"),
        (lambda: NOfM(3, 2), "n is 3 and m is 2"),
        (lambda: NOfM(0, 0), "m at least 1"),
        (lambda: NOfM(1, 2, "x").contains(bound(HEADS)), "called 'x'"),
    ],
)
def test_what_is_no_constraint_of_these_groups_is_refused(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
