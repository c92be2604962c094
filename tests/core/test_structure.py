"""Structures against brute force, and against einops where the pattern is exact."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from einops import reduce
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tprune.core.structure import Structure
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Case:
    """A random pattern with sizes and a shape that it fits, perhaps with ragged outer blocks."""

    pattern: str
    sizes: dict[str, int]
    shape: tuple[int, ...]
    factors: tuple[tuple[tuple[str, int], ...], ...]  # per tensor axis: names and sizes, outermost first
    right: tuple[str, ...]

    @property
    def ragged(self) -> bool:
        return any(math.prod(n for _, n in axis) != size for axis, size in zip(self.factors, self.shape, strict=True))

    @property
    def structure(self) -> Structure:
        return Structure(self.pattern, self.sizes)


@st.composite
def cases(draw: st.DrawFn, ragged: bool = True) -> Case:
    names = iter("abcdefghijkl")
    factors, shape, sizes, left = [], [], {}, []
    tensors = draw(st.integers(1, 4))
    for _ in range(tensors):
        axis = [(next(names), draw(st.integers(1, 3))) for _ in range(draw(st.integers(1, 2 if tensors > 2 else 3)))]
        inner = math.prod(n for _, n in axis[1:])
        missing = draw(st.integers(0, inner - 1)) if ragged and inner > 1 else 0
        factors.append(tuple(axis))
        shape.append(axis[0][1] * inner - missing)
        sizes |= dict(axis[1:])
        if not missing and draw(st.booleans()):
            sizes[axis[0][0]] = axis[0][1]
        left.append(axis[0][0] if len(axis) == 1 else f"({' '.join(name for name, _ in axis)})")
    every = [name for axis in factors for name, _ in axis]
    right = tuple(draw(st.permutations([name for name in every if draw(st.booleans())])))
    return Case(f"{' '.join(left)} -> {' '.join(right)}", sizes, tuple(shape), tuple(factors), right)


def group_of(case: Case, position: tuple[int, ...]) -> tuple[int, ...]:
    """The group of one element, by dividing its position as one would by hand."""
    found: dict[str, int] = {}
    for axis, at in zip(case.factors, position, strict=True):
        for name, size in reversed(axis):
            found[name] = at % size
            at //= size
    return tuple(found[name] for name in case.right)


def group_shape(case: Case) -> tuple[int, ...]:
    sizes = dict(itertools.chain(*case.factors))
    return tuple(sizes[name] for name in case.right)


def positions(case: Case) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, case.shape)))


def weights(case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(case.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def brute_squares(case: Case, w: Tensor) -> Tensor:
    total = torch.zeros(group_shape(case), dtype=torch.float64)
    for position in positions(case):
        total[group_of(case, position)] += w[position].double() ** 2
    return total


@given(cases())
@settings(max_examples=80, deadline=None)
def test_norms_counts_and_index_agree_with_brute_force(case: Case) -> None:
    w, structure = weights(case), case.structure
    torch.testing.assert_close(structure.norms(w), brute_squares(case, w).sqrt())
    torch.testing.assert_close(structure.squares(w), brute_squares(case, w))
    assert torch.equal(structure.counts(case.shape).double(), brute_squares(case, torch.ones(case.shape)))
    index = structure.layout(case.shape).index()
    shape = group_shape(case)
    flat = torch.arange(math.prod(shape)).reshape(shape)
    assert index.shape == w.shape
    assert all(index[p] == flat[group_of(case, p)] for p in positions(case))


@given(cases(ragged=False))
@settings(max_examples=60, deadline=None)
def test_norms_agree_with_einops(case: Case) -> None:
    w = weights(case)
    assert not case.ragged
    expected = reduce(w.square(), case.pattern, "sum", **case.sizes).sqrt()
    torch.testing.assert_close(case.structure.norms(w), expected)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_expand_gives_every_element_its_groups_value(case: Case) -> None:
    shape = group_shape(case)
    values = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    expanded = case.structure.expand(values, weights(case))
    assert torch.equal(expanded, case.structure.layout(case.shape).index().double())
    assert torch.equal(expanded, values.flatten()[case.structure.layout(case.shape).index()])


@given(cases(), st.sampled_from(["contiguous", "transposed", "strided"]))
@settings(max_examples=80, deadline=None)
def test_in_place_operations_write_through_any_memory_layout(case: Case, memory: str) -> None:
    def laid_out(t: Tensor) -> Tensor:
        if memory == "transposed":
            return t.movedim(0, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 0)
        if memory == "strided":
            wide = torch.full((*t.shape[:-1], 2 * t.shape[-1]), 7.0, dtype=t.dtype)
            wide[..., ::2] = t
            return wide[..., ::2]
        return t.clone()

    w, structure = weights(case), case.structure
    factors = torch.randn(group_shape(case), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    element = factors.flatten()[structure.layout(case.shape).index()]
    scaled = laid_out(w)
    structure.scale_(scaled, factors)
    torch.testing.assert_close(scaled, w * element)
    out = laid_out(weights(case, seed=2))
    structure.add_scaled_(out, laid_out(w), factors)
    torch.testing.assert_close(out, weights(case, seed=2) + w * element)


@given(cases(), st.data())
@settings(max_examples=60, deadline=None)
def test_take_keeps_exactly_the_groups_of_a_product(case: Case, data: st.DataObject) -> None:
    w, shape = weights(case), group_shape(case)
    keep = torch.ones(shape, dtype=torch.bool)
    for axis in case.factors:  # any choice of a whole axis' factors is a product with the choices of the others
        own = [i for i, name in enumerate(case.right) if name in dict(axis)]
        if own:
            sizes = [shape[i] if i in own else 1 for i in range(len(shape))]
            chosen = data.draw(st.lists(st.booleans(), min_size=math.prod(sizes), max_size=math.prod(sizes)))
            keep &= torch.tensor(chosen).reshape(sizes)
    assume(keep.any())  # nothing kept on one axis may mean any choice on the others
    taken = case.structure.take(w, keep)
    kept = [w[p] for p in positions(case) if keep[group_of(case, p)]]
    assert taken.numel() == len(kept)
    assert torch.equal(taken.flatten(), torch.stack(kept) if kept else taken.flatten())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_dtypes_accumulate_in_fp32(dtype: torch.dtype) -> None:
    w = torch.full((2, 40_000), 0.1).to(dtype)
    for pattern in ("o i -> o", "(p o) i -> p"):
        norms = Structure(pattern, {"p": 2} if "p" in pattern else {}).norms(w)
        assert norms.dtype == torch.float32
        torch.testing.assert_close(norms.double(), w.double().norm(dim=1), rtol=1e-5, atol=0)
    assert Structure("o i -> o i").norms(w).dtype == torch.float32


def test_exact_zeros_and_no_nan_gradient_there() -> None:
    w = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    norms = Structure("o i -> o").norms(w)
    assert norms.tolist() == [0.0, 5.0]
    norms.sum().backward()
    assert w.grad is not None
    torch.testing.assert_close(w.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


def test_kept_groups_that_are_no_product_are_refused() -> None:
    structure = Structure("(h d) i -> h i", {"h": 2})
    with pytest.raises(
        InputError, match=r"pattern '\(h d\) i -> h i' on shape \(4, 2\) with sizes \{'h': 2\}.*rows × columns"
    ):
        structure.take(torch.ones(4, 2), torch.tensor([[True, False], [True, True]]))
    kept = structure.take(torch.arange(8.0).reshape(4, 2), torch.tensor([[False, False], [True, False]]))
    assert kept.tolist() == [[4.0], [6.0]]


def test_wrong_keep_shape_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"on shape \(3, 2\) with sizes \{\}: keep has shape \(2,\), the groups have \(3,\)"
    ):
        Structure("o i -> o").take(torch.ones(3, 2), torch.ones(2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("pattern", "sizes", "says"),
    [
        ("o i", {}, "no '->'"),
        ("o i -> z", {}, "z does not stand left"),
        ("o i -> o", {"z": 3}, "z does not stand left"),
        ("o o -> o", {}, "o o"),
        ("... i -> i", {}, "name of its own"),
        ("o 2 -> o", {}, "name of its own"),
        ("o () -> o", {}, "name of its own"),
        ("o i -> (o i)", {}, "only single axis names"),
        ("(o i -> o", {}, "parentheses"),
        ("o i -> o", {"o": 0}, "at least 1"),
    ],
)
def test_bad_patterns_are_refused_by_name(pattern: str, sizes: dict[str, int], says: str) -> None:
    with pytest.raises(InputError) as caught:
        Structure(pattern, sizes)
    message = str(caught.value)
    assert repr(pattern) in message and says in message and "\n" not in message


@pytest.mark.parametrize(
    ("pattern", "sizes", "shape", "says"),
    [
        ("o i -> o", {}, (3,), "the pattern has 2 axes, the tensor 1"),
        ("(a b) i -> a", {}, (4, 2), "all but one of a, b"),
        ("(a b) i -> a", {"a": 3}, (4, 2), "3 does not divide 4, so 'b'"),
        ("(a b) i -> a", {"a": 3, "b": 2}, (4, 2), "multiply to 6, the axis has 4"),
        ("o i -> o", {"o": 5}, (4, 2), "multiply to 5, the axis has 4"),
    ],
)
def test_misfits_name_pattern_shape_and_sizes(
    pattern: str, sizes: dict[str, int], shape: tuple[int, ...], says: str
) -> None:
    for use in (Structure(pattern, sizes).norms, lambda w: Structure(pattern, sizes).counts(tuple(w.shape))):
        with pytest.raises(InputError) as caught:
            use(torch.ones(shape))
        message = str(caught.value)
        assert repr(pattern) in message and str(shape) in message and str(sizes) in message and says in message


def test_ragged_blocks_have_fewer_elements_at_the_edge() -> None:
    structure = Structure("(R r) (C c) -> R C", {"r": 2, "c": 3})
    assert structure.counts((3, 4)).tolist() == [[6, 2], [3, 1]]
    assert structure.take(torch.arange(12.0).reshape(3, 4), torch.tensor([[False, False], [False, True]])).tolist() == [
        [11.0]
    ]


def test_structures_compare_and_hash_by_pattern_and_sizes() -> None:
    assert Structure("(h d) -> h", {"h": 2}) == Structure("(h d) -> h", {"h": 2}) != Structure("(h d) -> h", {"h": 3})
    assert len({Structure("(h d) -> h", {"h": 2}), Structure("(h d) -> h", {"h": 2})}) == 1
