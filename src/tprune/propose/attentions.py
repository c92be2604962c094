"""Attentions in a trace: a product of two linear maps' results, times a third's, read by a fourth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from torch import nn

from tprune.families.fused import APART, INTERLEAVED
from tprune.families.rows import LINEAR
from tprune.propose.axes import Atom, Axis, leaves, size_of
from tprune.propose.found import FoundAttention, alone, held_by, holder
from tprune.propose.known import TracedProduct
from tprune.propose.trace import Trace

Four = tuple[str, str, str, str]  # weights of queries, keys, values, output


def quadruples(products: Sequence[TracedProduct]) -> Iterator[Four]:
    """The weights of queries, keys, values and output of every attention, in their order.

    Args:
        products: of a trace.
    """
    used = set[int]()
    for first, scores in enumerate(products):
        if first in used or scores.linear or not len(scores.left) == len(scores.right) == 1:
            continue
        both = scores.left | scores.right
        for second in range(first + 1, len(products)):
            values = products[second]
            if values.linear or second in used or values.left != both or len(values.right) != 1:
                continue
            made = both | values.right
            output = next((p for p in products[second + 1 :] if p.linear and p.left == made), None)
            if output is not None:
                used |= {first, second}
                yield (*scores.left, *scores.right, *values.right, *output.right)  # type: ignore[misc]  # one each
            break


def attentions(model: nn.Module, trace: Trace, notes: list[str]) -> Iterator[FoundAttention]:
    """The attentions whose maps fall into heads as a row has them; the others are noted.

    Args:
        model: that was traced.
        trace: of it.
        notes: are added to.
    """
    for four in dict.fromkeys(quadruples(trace.products)):
        where = holder(tuple(name.rpartition(".")[0] for name in four[:3]))
        if any(held_by(model, name) is None for name in four):
            notes.append(f"{where}: an attention whose maps are no linear layers; no row holds it")
        elif len(set(four[:3])) == 3:
            yield from _apart(model, trace, four, notes)
        elif len(set(four[:3])) == 1:
            yield from _fused(model, trace, four, notes)
        else:
            notes.append(f"{where}: an attention where two of queries, keys and values share a map; no row holds it")


def _outputs(model: nn.Module, trace: Trace, weight: str) -> Axis:
    held = held_by(model, weight)
    return trace.axes[weight][held.outputs if held else 0]


def _inputs(model: nn.Module, trace: Trace, weight: str) -> Axis:
    held = held_by(model, weight)
    return trace.axes[weight][held.inputs if held else 1]


def _shared(one: Axis, other: Axis) -> Axis:
    return tuple(a for a, _ in takewhile(lambda pair: pair[0] is pair[1], zip(one, other, strict=False)))


def _heads(q: Axis, k: Axis, v: Axis, o: Axis) -> tuple[Axis, Axis, Axis] | None:
    """Key-value heads, query heads inside each, and the dimensions of a key's head; None where they do not fit."""
    kv = _shared(k, v)[: len(k) - 1]
    inner, more = k[len(kv) :], len(q) - len(k)
    inside = q[len(kv) : len(kv) + max(more, 0)]
    fits = q[: len(kv)] == kv and size_of(q[len(kv) + len(inside) :]) == size_of(inner)
    if not (kv and inner and fits and more >= 0 and o == (*kv, *inside, *v[len(kv) :])):
        return None
    return kv, inside, inner


def _plain(axis: Axis) -> bool:
    """Whether nothing but products touches the dimensions of heads."""
    return len(axis) == 1 and not (axis[0].mixed or axis[0].parts or axis[0].reduced)


def _apart(model: nn.Module, trace: Trace, four: Four, notes: list[str]) -> Iterator[FoundAttention]:
    q, k, v = (_outputs(model, trace, name) for name in four[:3])
    maps = tuple(name.rpartition(".")[0] for name in four)
    where, o = holder(maps[:3]), _inputs(model, trace, four[3])
    fitting = _heads(q, k, v, o)
    if fitting is None or any(held_by(model, name) is not held_by(model, four[0]) for name in four):
        notes.append(f"{where}: an attention whose heads are laid out as no row has them")
        return
    kv, _, inner = fitting
    norms = _norms(model, where, maps)
    yield FoundAttention(
        where,
        (maps[0], maps[1], maps[2], maps[3]),
        *_sizes(fitting),
        _plain(inner) and _plain(v[len(kv) :]),
        crosses=_source(trace, four[0]) != _source(trace, four[1]),
        alone=alone(model, where, (*maps, *norms)),
        norms=norms,
    )


def _sizes(fitting: tuple[Axis, Axis, Axis]) -> tuple[int, int, int]:
    """Query heads, key-value heads, and dimensions of a head."""
    kv, inside, inner = fitting
    return size_of(kv) * size_of(inside), size_of(kv), size_of(inner)


def _source(trace: Trace, weight: str) -> frozenset[str] | None:
    return next((p.left for p in trace.products if p.linear and weight in p.right), None)


def _norms(model: nn.Module, where: str, maps: Sequence[str]) -> tuple[str, ...]:
    """Modules with nothing but vectors in an attention: norms of its heads."""
    if not where:
        return ()
    found = [f"{where}.{name}" for name, _ in model.get_submodule(where).named_children()]
    others = [
        name for name in found if name not in maps and next(model.get_submodule(name).parameters(), None) is not None
    ]
    vectors = [n for n in others if all(p.ndim == 1 for p in model.get_submodule(n).parameters())]
    return tuple(name for name in vectors if not any(map_.startswith(f"{name}.") for map_ in maps))


def _fused(model: nn.Module, trace: Trace, four: Four, notes: list[str]) -> Iterator[FoundAttention]:
    qkv, o = _outputs(model, trace, four[0]), _inputs(model, trace, four[3])
    maps = tuple(name.rpartition(".")[0] for name in four)
    where = maps[0].rpartition(".")[0]
    order, thirds = _order(qkv)
    fitting = _heads(thirds[0], thirds[1], thirds[2], o) if len(thirds) == 3 else None
    if fitting is None:
        notes.append(f"{where}: queries, keys and values come from one map, laid out as no row has them")
        return
    held = held_by(model, four[0])
    yield FoundAttention(
        where,
        (maps[0], maps[1], maps[2], maps[3]),
        *_sizes(fitting),
        False,
        order,
        alone=alone(model, where, maps),
        held=held or LINEAR,
    )


def _order(axis: Axis) -> tuple[str, list[Axis]]:
    """How queries, keys and values are made up in one axis, and the axis of each; none where it is not known."""
    if len(axis) == 1:
        thirds = list(_pieces(axis[0]))
        return APART, thirds if len(thirds) == 3 else []
    sizes = [atom.size for atom in axis]
    if sizes[0] == 3 and axis[0].parts and len(axis) == 3:
        return APART, [axis[1:]] * 3
    if len(axis) == 3 and sizes[1] == 3 and axis[1].parts:
        return INTERLEAVED, [(axis[0], axis[2])] * 3
    pieces = list(_pieces(axis[1])) if len(axis) == 2 else []
    return INTERLEAVED, [(axis[0], *piece) for piece in pieces] if len(pieces) == 3 else []


def _pieces(atom: Atom) -> Iterator[Axis]:
    """The parts that slices have split an atom into, in their order, down to those that views split further."""
    for _, part in atom.parts:
        now = leaves([part])
        if len(now) == 1 and now[0].parts:
            yield from _pieces(now[0])
        else:
            yield now
