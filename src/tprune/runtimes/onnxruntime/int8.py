"""An ONNX graph of integers out of a graph of floats.

Each constant that takes part in a product or is looked rows up in gets a form (see
`tprune.runtimes.onnxruntime.forms`); biases, norms, softmax and attention stay fp32. Nothing stays so unsaid: the
report has a row for every constant of floating point in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from onnx import helper, numpy_helper

from tprune.runtimes.onnxruntime.forms import CONTRIB, Convolving, Encoded, ExpandedWeight, Form, expanded
from tprune.runtimes.onnxruntime.rounding import Floats
from tprune.runtimes.onnxruntime.sites import (
    Convolution,
    Linear,
    Lookup,
    Node,
    Reading,
    Refused,
    Site,
    held,
    reads,
    sites,
)
from tprune.runtimes.products import Names
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Constant:
    """A constant of floating point of the graph, and what became of it.

    Attributes:
        names: the parameters of the model that it is made of; its name in the graph where it is made of none.
        operators: that read it.
        shape: of a matrix `[outputs, inputs]`.
        precision: it is stored in: that of its form, or `fp32`.
        before: bytes in the graph of floats.
        after: bytes in the file, scales included.
        why: it stays fp32, or is expanded.
    """

    names: tuple[str, ...]
    operators: tuple[str, ...]
    shape: tuple[int, ...]
    precision: str
    before: int
    after: int
    why: str = ""


SCALED = frozenset({"QuantizeLinear", "DequantizeLinear", "MatMulIntegerToFloat"})  # read scales


class Quantized(NamedTuple):
    """A graph of integers and what became of each constant."""

    model: Any  # onnx.ModelProto
    constants: tuple[Constant, ...]


@dataclass(frozen=True)
class Group:
    """Sites whose constants are the same matrix, however often the graph holds it and whichever way round."""

    sites: tuple[Site, ...]
    names: tuple[str, ...]
    label: str

    @property
    def constants(self) -> tuple[str, ...]:
        """Their names in the graph."""
        return tuple(dict.fromkeys(site.constant for site in self.sites))

    @property
    def weight(self) -> Floats:
        """Rows are outputs."""
        return self.sites[0].weight

    @property
    def operators(self) -> tuple[str, ...]:
        """That read it."""
        return tuple(dict.fromkeys(site.node.op_type for site in self.sites))

    @cached_property
    def convolved(self) -> bool:
        """By convolutions."""
        return any(isinstance(site, Convolution) for site in self.sites)

    def encoded(self, form: Form) -> Encoded:
        """In a form; kernels of convolutions are always expanded."""
        multiplied, looked_up = (any(isinstance(site, kind) for site in self.sites) for kind in (Linear, Lookup))
        one = expanded if self.convolved else form
        return one(self.label, self.weight, multiplied, looked_up)


def quantized(
    model: Any,
    form: Form,
    names: Names = lambda name, value: (name,),
    keep: Iterable[str] = (),
    encode: Callable[[Group, Form], Encoded] = Group.encoded,
) -> Quantized:
    """A graph of integers that computes what a graph of floats does, up to rounding.

    Args:
        model: an `onnx.ModelProto` of opset 21 or later; it is left as it was.
        form: of the constants.
        names: what constants are called in the model that the graph was made of.
        keep: parameters that stay fp32, as `names` calls them. A product that is made of several (queries, keys and
            values in one) stays fp32 if one of them is named.
        encode: makes the forms of constants, for graphs where they depend on more than the constants.

    Raises:
        InputError: a constant has values that are not finite.
    """
    reading, kept = Reading.of(model.graph), frozenset(keep)
    found = list(sites(reading))
    groups = list(_groups((each for each in found if not isinstance(each, Refused)), names))
    reasons = {root: each.why for each in found if isinstance(each, Refused) for root in reading.roots(each.constant)}
    for group in groups:
        if kept.intersection(group.names):
            reasons |= {root: "kept by name" for each in group.constants for root in reading.roots(each)}
    chosen = [group for group in groups if not kept.intersection(group.names)]
    encoded = [encode(group, form) for group in chosen]
    made = _assembled(model, list(zip(chosen, encoded, strict=True)))
    left = Reading.of(made.graph)
    rows = [_row(reading, left, group, one) for group, one in zip(chosen, encoded, strict=True)]
    stored = {name for one in encoded for name in one.arrays}
    return Quantized(made, (*rows, *_left(left, stored, reasons, names)))


def _groups(found: Iterable[Site], names: Names) -> Iterator[Group]:
    same: dict[tuple[Any, ...], list[Site]] = {}
    for site in found:
        if not np.isfinite(site.weight).all():
            raise InputError(f"{'+'.join(names(site.constant, site.weight))}: has values that are not finite")
        digest = hashlib.sha1(site.weight.tobytes()).digest()
        same.setdefault((isinstance(site, Convolution), site.weight.shape, digest), []).append(site)
    taken: set[str] = set()
    for each in same.values():
        called = tuple(dict.fromkeys(name for site in each for name in names(site.constant, site.weight)))
        label = "+".join(called)
        while label in taken:  # two matrices that are made of the same parameter
            label += "'"
        taken.add(label)
        yield Group(tuple(each), called, label)


def _assembled(model: Any, chosen: Sequence[tuple[Group, Encoded]]) -> Any:
    """The model with the nodes of every group's sites in place of its own."""
    instead: dict[str, list[Node]] = {}
    for group, one in chosen:
        for site in group.sites:
            instead[site.node.output[0]] = _nodes(one, site)
            if isinstance(site, Linear):
                instead |= {name: [] for name in site.replaces[1:]}
    front = [node for _, one in chosen for node in one.front]
    body = [each for node in model.graph.node for each in instead.get(node.output[0], [node])]
    made = type(model)()
    made.CopyFrom(model)
    graph = made.graph
    # value_info goes too: where sizes are known, onnxruntime makes one operator of a sum and a norm, which is slower
    for field in ("node", "initializer", "value_info"):
        graph.ClearField(field)
    graph.node.extend(_alive(_once([*front, *body]), {each.name for each in graph.output}))
    used = {name for node in graph.node for name in reads(node)} | {each.name for each in graph.output}
    graph.initializer.extend(each for each in model.graph.initializer if each.name in used)
    arrays = {name: array for _, one in chosen for name, array in one.arrays.items()}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    if CONTRIB in {node.domain for node in graph.node} - {each.domain for each in made.opset_import}:
        made.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return made


def _nodes(one: Encoded, site: Site) -> list[Node]:
    if isinstance(site, Linear):
        return one.linear(site)
    if isinstance(site, Lookup):
        return one.lookup(site)
    assert isinstance(one, Convolving)
    return one.convolution(site)


def _once(nodes: Iterable[Node]) -> Iterator[Node]:
    """Of nodes that make the same value the first: products that read a tensor share its rounding."""
    made: set[str] = set()
    for node in nodes:
        if not made.issuperset(node.output):
            made.update(node.output)
            yield node


def _alive(nodes: Iterable[Node], wanted: set[str]) -> list[Node]:
    """The nodes that the outputs need."""
    kept: list[Node] = []
    for node in reversed(list(nodes)):
        if not wanted.isdisjoint(node.output):
            wanted.update(reads(node))
            kept.append(node)
    return kept[::-1]


def _row(before: Reading, after: Reading, group: Group, one: Encoded) -> Constant:
    """What became of a group."""
    roots = dict.fromkeys(root for name in group.constants for root in before.roots(name))
    gone = [before.arrays[root] for root in roots if root not in after.arrays and before.arrays[root].dtype.kind == "f"]
    stored = sum(int(array.nbytes) for array in one.arrays.values())
    why = "" if one.precision != ExpandedWeight.precision else "expanded when a session opens, computed in fp32"
    shape = tuple(map(int, group.weight.shape))
    return Constant(group.names, group.operators, shape, one.precision, sum(x.nbytes for x in gone), stored, why)


def _left(reading: Reading, stored: set[str], reasons: Mapping[str, str], names: Names) -> Iterator[Constant]:
    """What stays fp32 in the file."""
    for name, array in held(reading.graph):
        if array.dtype.kind == "f" and name not in stored:
            if array.ndim == 0 and SCALED.issuperset(node.op_type for node in reading.readers[name]):
                continue  # a scale of activations, which no model has
            operators = tuple(dict.fromkeys(node.op_type for node in reading.readers[name]))
            why = reasons.get(name, f"read by {', '.join(operators) or 'graphs inside this one'}")
            size = int(array.nbytes)
            yield Constant(names(name, array), operators, tuple(map(int, array.shape)), "fp32", size, size, why)
