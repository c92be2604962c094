"""Selection: from scores of groups to the groups that stay, for one coupling or sharing a budget over all of them.

A keep mask is a bool tensor shaped as the coupling's groups. The ways to choose within one coupling: over all its
groups (`top_k`), along an axis (`per_axis`), within blocks (`per_block`), by a bound (`threshold`). Couplings with
two axes (dimensions inside heads) are kept *balanced* by `keep_best`: equally many per head, so that a dense tensor
holds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tprune.core.kinds import Scope, rule_of
from tprune.support.errors import InputError, UnreachableError

Kept = dict[str, Tensor]
Scores = Mapping[str, Tensor]


def threshold(scores: Tensor, above: float) -> Tensor:
    """Keeps groups that score more than `above`.

    Example:
        >>> threshold(torch.tensor([0.0, 2.0]), 0.5)
        tensor([False,  True])
    """
    return scores > above


def top_k(scores: Tensor, k: int) -> Tensor:
    """Keeps the k best of all groups; of equal ones the first. Raises `InputError` unless 0 ≤ k ≤ number of groups.

    Example:
        >>> top_k(torch.tensor([1.0, 3.0, 3.0]), 1)
        tensor([False,  True, False])
    """
    return _best_of_rows(scores.reshape(1, -1), k).reshape(scores.shape)


def per_axis(scores: Tensor, k: int, axis: int | str = -1, names: Sequence[str] = ()) -> Tensor:
    """Keeps the k best along one axis for every index of the others, so that all of these keep equally many.

    Args:
        scores: shaped as the groups.
        k: how many, 0 to the length of the axis; of equal ones the first stay.
        axis: its number, or its name in the pattern that made the groups.
        names: of all axes, for a named one: what stands right of the pattern's arrow.

    Raises:
        InputError: there is no such axis, or it is shorter than `k`.

    Example:
        >>> scores = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
        >>> per_axis(scores, 1, "h", names=("h", "d"))  # one head for every dimension
        tensor([[False, False],
                [ True,  True]])
    """
    rows = scores.movedim(number_of(axis, scores.ndim, names), -1)
    keep = _best_of_rows(rows.reshape(-1, rows.shape[-1]), k).reshape(rows.shape)
    return keep.movedim(-1, number_of(axis, scores.ndim, names))


def per_block(scores: Tensor, k: int, size: int, axis: int | str = -1, names: Sequence[str] = ()) -> Tensor:
    """Keeps the k best of every `size` consecutive groups along one axis (N:M); a shorter last block keeps k at most.

    Args:
        scores: shaped as the groups.
        k: how many of each block, 0 to `size`; of equal ones the first stay.
        size: groups in a block, at least 1.
        axis: its number, or its name in the pattern that made the groups.
        names: of all axes, as in `per_axis`.

    Raises:
        InputError: there is no such axis, or no block of this size holds `k`.

    Example:
        >>> per_block(torch.tensor([4.0, 3.0, 2.0, 0.0, 0.0, 1.0]), 1, size=3)
        tensor([ True, False, False, False, False,  True])
    """
    if size < 1 or not 0 <= k <= size:
        raise InputError(f"cannot keep {k} of {size} groups")
    along = number_of(axis, scores.ndim, names)
    blocks = torch.split(scores, size, dim=along)
    return torch.cat([per_axis(block, min(k, block.shape[along]), along) for block in blocks], dim=along)


def number_of(axis: int | str, count: int, names: Sequence[str] = ()) -> int:
    """The number of an axis of groups, from 0. Raises `InputError` where none of `count` axes is called so.

    Example:
        >>> number_of(-1, 2), number_of("h", 2, ("h", "d"))
        (1, 0)
    """
    if isinstance(axis, str):
        if axis not in names:
            raise InputError(f"no axis of the groups is called {axis!r}; expected one of {', '.join(names) or 'none'}")
        return list(names).index(axis)
    if not -count <= axis < count:
        raise InputError(f"there is no axis {axis}: the groups have {count} axes")
    return axis % count


def balanced(scores: Tensor, k: int) -> Tensor:
    """Keeps the k best along the last axis for every index of the axes before it (the same number in every head).

    Example:
        >>> balanced(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), 1)
        tensor([[False,  True],
                [ True, False]])
    """
    return per_axis(scores, k, axis=-1)


def keep_best(scores: Tensor, k: int) -> Tensor:
    """What a smaller dense tensor can hold: `top_k` for one axis of groups (or none), `balanced` for more."""
    return balanced(scores, k) if scores.ndim > 1 else top_k(scores, k)


def _best_of_rows(rows: Tensor, k: int) -> Tensor:
    """The k best of every row, on the CPU; of equal ones the first."""
    if not 0 <= k <= rows.shape[-1]:
        raise InputError(f"cannot keep {k} of {rows.shape[-1]} groups")
    order = torch.argsort(rows.cpu(), dim=-1, descending=True, stable=True)
    return torch.zeros(rows.shape, dtype=torch.bool).scatter_(-1, order[:, :k], True)


def lines_of(scores: Tensor) -> int:
    """How many groups can be kept or cut one by one: all, or those of one head in a balanced coupling."""
    return scores.shape[-1] if scores.ndim else 1


def rounded(k: float, total: int, multiple: int = 1, least: int = 0) -> int:
    """`k` rounded to the nearest multiple that lies between `least` and `total`; `total` itself always counts as one.

    Example:
        >>> rounded(13.0, 64, multiple=8), rounded(62.0, 63, multiple=8), rounded(0.2, 64, least=1)
        (16, 63, 1)
    """
    if k >= total:
        return total
    return min(total, max(multiple * round(k / multiple), multiple * math.ceil(least / multiple)))


@dataclass(frozen=True)
class Limits:
    """What a selection must respect in every coupling.

    Attributes:
        multiple: kept counts are multiples of this (a runtime's preference), by kind of coupling; 1 where nothing is
            said.
        floor: the least fraction to keep of every coupling. Sublayers, of one group each, may always go;
            others keep at least one group, unless the floor is 0 and their kind is one that may be emptied.
        floors: likewise for single kinds, where it differs.
        even: kinds of which all blocks of a stack keep equally many groups, none of them nothing.
        needed: names of couplings that keep at least one group, whatever their kind.

    Example:
        >>> Limits(multiple={"ffn": 8}).round(21.0, total=64, kind="ffn", name="encoder.layers.0.ffn")
        24
    """

    multiple: Mapping[str, int] = field(default_factory=dict)
    floor: float = 0.1
    floors: Mapping[str, float] = field(default_factory=dict)
    even: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    def may_empty(self, kind: str, name: str) -> bool:
        """Whether the coupling of this kind and name may be left with nothing."""
        spared = kind in self.even or name in self.needed
        return self.floors.get(kind, self.floor) == 0 and rule_of(kind).may_be_empty and not spared

    def round(self, k: float, total: int, kind: str, name: str) -> int:
        """`k` of `total` groups of a coupling, rounded as the kind wants and not below the floor."""
        if rule_of(kind).scope is Scope.BLOCK:
            return round(min(k, total))
        fewest = 0 if self.may_empty(kind, name) else 1
        least = max(fewest, math.ceil(self.floors.get(kind, self.floor) * total - 1e-9))
        return rounded(k, total, self.multiple.get(kind, 1), least)


@runtime_checkable
class Select(Protocol):
    """Sees the scores of all couplings at once and keeps a share `level` (0 to 1) of the whole."""

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling; a larger level never keeps less."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every coupling keeps the same share of its groups, the best by score.

    Attributes:
        limits: floors and multiples of what is kept.

    Example:
        >>> scores = {"a": torch.tensor([3.0, 1.0, 2.0, 0.5]), "b": torch.tensor([1.0, 1.0, 1.0, 0.1])}
        >>> Uniform()(scores, {"a": "ffn", "b": "ffn"}, level=0.5)["a"]
        tensor([ True, False,  True, False])
    """

    limits: Limits = Limits()

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling."""
        return {
            name: keep_best(s, self.limits.round(level * lines_of(s), lines_of(s), kinds[name], name))
            for name, s in scores.items()
        }


@dataclass(frozen=True)
class Shared:
    """Couplings compete: groups are ranked over all couplings by `weight_c · score / rms score of c`.

    Norms alone rank only within a coupling (their scale differs between couplings, and ranking them globally empties
    some); so they are first divided by their coupling's root mean square, then weighted by what the analysis says the
    coupling is worth. A coupling without a weight has weight 1. `floor` keeps any of them from collapsing.

    Attributes:
        weights: worth of each coupling's groups, by name.
        limits: floors and multiples of what is kept.

    Example:
        >>> scores = {"a": torch.tensor([3.0, 1.0, 2.0, 0.5]), "b": torch.tensor([1.0, 1.0, 1.0, 0.1])}
        >>> {name: int(keep.sum()) for name, keep in Shared()(scores, {"a": "ffn", "b": "ffn"}, level=0.5).items()}
        {'a': 1, 'b': 3}
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    limits: Limits = Limits()

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling."""
        worth = {name: self._worth(name, s) for name, s in scores.items()}
        every = torch.cat([w.flatten() for w in worth.values()])
        best = torch.split(top_k(every, round(level * len(every))), [s.numel() for s in scores.values()])
        kept: Kept = {}
        for (name, s), own in zip(scores.items(), best, strict=True):
            lines = own.sum().item() / max(1, s.numel()) * lines_of(s)
            kept[name] = keep_best(s, self.limits.round(lines, lines_of(s), kinds[name], name))
        return kept

    def _worth(self, name: str, scores: Tensor) -> Tensor:
        rms = scores.square().mean().sqrt().clamp_min(torch.finfo(scores.dtype).tiny)
        return scores / rms * self.weights.get(name, 1.0)


def reach(
    budget: float, select: Select, scores: Scores, kinds: Mapping[str, str], measure: Callable[[Kept], float], unit: str
) -> tuple[Kept, float]:
    """The largest selection that measures at most `budget`, by bisection of the level; returns it and what it measures.

    Args:
        budget: the size to stay under, in the unit that `measure` returns.
        select: how the couplings share it.
        scores: by coupling.
        kinds: the kind of each coupling.
        measure: the size of the model that a selection leaves; never grows when less is kept.
        unit: its name, for the message.

    Raises:
        UnreachableError: even the smallest allowed selection is larger; the message says what can be reached.
    """
    least = select(scores, kinds, 0.0)
    smallest = measure(least)
    if smallest > budget:
        raise UnreachableError(
            f"asked for {budget:,.0f} {unit}, but the plan's couplings can reach {smallest:,.0f} at least; "
            "ask for more, allow more kinds of couplings, or lower the floor"
        )
    best, size, low, high = least, smallest, 0.0, 1.0
    whole = select(scores, kinds, 1.0)
    if (full := measure(whole)) <= budget:
        return whole, full
    for _ in range(14):
        middle = (low + high) / 2
        kept = select(scores, kinds, middle)
        found = measure(kept)
        if found <= budget:
            best, size, low = kept, found, middle
        else:
            high = middle
    return best, size
