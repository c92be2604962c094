"""Axes of tensors as products of atoms, which operations join, split into factors, or slice into parts.

Two axes that an operation joins are one axis of the model: what is cut from one must be cut from the other. A view
into heads splits an atom into factors, a slice of a fused matrix splits it into parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod


@dataclass(eq=False)
class Atom:
    """A part of an axis that was never split further.

    Attributes:
        size: how many positions it has.
        above: the atom that it was joined with, which speaks for both; None for one that speaks for itself.
        factors: what a view has split it into, the slowest first.
        parts: what slices have split it into, by start.
        mixed: why its positions cannot be told apart any more; empty where they can.
        reduced: where a sum, a mean or a softmax runs over it, by names of modules.
    """

    size: int
    above: Atom | None = None
    factors: tuple[Atom, ...] = ()
    parts: tuple[tuple[int, Atom], ...] = ()
    mixed: str = ""
    reduced: set[str] = field(default_factory=set)

    @property
    def first(self) -> Atom:
        """The atom that speaks for all that it was joined with."""
        found = self
        while found.above is not None:
            found = found.above
        return found


Axis = tuple[Atom, ...]  # a product of atoms, the slowest first; empty for an axis of size 1


def fresh(size: int, mixed: str = "") -> Axis:
    """An axis that no other knows of.

    Args:
        size: of the axis.
        mixed: why its positions cannot be told apart.

    Example:
        >>> [atom.size for atom in fresh(4)], fresh(1)
        ([4], ())
    """
    return () if size == 1 else (Atom(size, mixed=mixed),)


def leaves(axis: Iterable[Atom]) -> Axis:
    """The atoms of an axis as they are now, after all joins and views.

    Args:
        axis: any.
    """
    found: list[Atom] = []
    for atom in axis:
        first = atom.first
        found += leaves(first.factors) if first.factors else (first,)
    return tuple(found)


def size_of(axis: Iterable[Atom]) -> int:
    """How many positions an axis has.

    Args:
        axis: any.
    """
    return prod(atom.size for atom in axis)


def mix(axis: Iterable[Atom], why: str) -> None:
    """Says that positions of an axis cannot be told apart any more.

    Args:
        axis: any.
        why: in words.
    """
    for atom in leaves(axis):
        atom.mixed = atom.mixed or why
        mix([part for _, part in atom.parts], why)


def factor(atom: Atom, slow: int) -> bool:
    """Splits an atom into factors; whether that was possible.

    Args:
        atom: that speaks for itself.
        slow: the size of the slower factor.
    """
    if atom.size % slow or atom.parts:
        return False
    sizes = (slow, atom.size // slow)
    atom.factors = tuple(Atom(size, mixed=atom.mixed, reduced=set(atom.reduced)) for size in sizes)
    return True


def join(one: Sequence[Atom], other: Sequence[Atom], why: str) -> None:
    """Makes two axes of the same size one.

    Args:
        one: of them.
        other: of them.
        why: what is said of both where their factors do not fit.
    """
    left, right = list(leaves(one)), list(leaves(other))
    while left and right:
        a, b = left[0].first, right[0].first
        if a.size == b.size:
            _same(a, b, why)
            left.pop(0), right.pop(0)
        elif a.size > b.size and factor(a, b.size):
            left[:1] = leaves([a])
        elif b.size > a.size and factor(b, a.size):
            right[:1] = leaves([b])
        else:
            mix([*left, *right], why)
            return


def _same(a: Atom, b: Atom, why: str) -> None:
    if a is b:
        return
    if a.factors or b.factors:  # split while this join was under way: an axis met itself
        mix([a, b], why)
        return
    if a.parts and b.parts:
        if [start for start, _ in a.parts] != [start for start, _ in b.parts]:
            mix([a, b], why)
            return
        for (_, one), (_, other) in zip(a.parts, b.parts, strict=True):
            join([one], [other], why)
    b.above = a
    a.parts, a.mixed, a.reduced = a.parts or b.parts, a.mixed or b.mixed, a.reduced | b.reduced


def viewed(axes: Sequence[Axis], shape: Sequence[int], why: str) -> list[Axis]:
    """The axes of a tensor after a view.

    Args:
        axes: before.
        shape: after.
        why: what is said of axes whose atoms are torn apart.
    """
    rest, found = [atom for axis in axes for atom in leaves(axis)], list[Axis]()
    for size in shape:
        taken: list[Atom] = []
        while (have := size_of(taken)) < size and rest:
            head, need = rest[0].first, size // have
            if head.factors:
                rest[:1] = leaves([head])
            elif size % have == 0 and need % head.size == 0:
                taken.append(rest.pop(0))
            elif size % have == 0 and head.size > need and factor(head, need):
                rest[:1] = leaves([head])
            else:
                mix([*taken, *rest], why)
                return [fresh(each, why) for each in shape]
        found.append(tuple(taken))
    return found


def sliced(axis: Axis, start: int, stop: int, why: str) -> Axis:
    """Some positions of an axis, side by side.

    Args:
        axis: any.
        start: the first position.
        stop: the position after the last.
        why: what is said of an axis whose slices overlap.
    """
    now = leaves(axis)
    if (start, stop) == (0, size_of(now)) or not now:
        return now
    inner = size_of(now[1:])
    if start % inner or stop % inner or start >= stop:
        mix(now, why)
        return fresh(stop - start, why)
    return (*_part(now[0], start // inner, stop // inner, why), *now[1:])


def _part(atom: Atom, start: int, stop: int, why: str) -> Axis:
    if not atom.parts:
        edges = sorted({0, start, stop, atom.size})
        pieces = pairwise(edges)
        atom.parts = tuple((a, Atom(b - a, mixed=atom.mixed, reduced=set(atom.reduced))) for a, b in pieces)
    for first, piece in atom.parts:
        if first <= start and stop <= first + piece.size:
            return sliced((piece,), start - first, stop - first, why)
    mix((atom,), why)
    return fresh(stop - start, why)
