"""Where an ONNX graph multiplies by constants or looks rows up in them: found, with the constants' values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tprune.runtimes.onnxruntime.rounding import Floats

Node = Any  # onnx.NodeProto
MATRIX, KERNEL = 2, 3  # axes of a matrix, and the fewest of a convolution's kernel


class Linear(NamedTuple):
    """A product with a constant matrix, `[N, K]` whichever way round the graph holds it, and a bias."""

    node: Node
    constant: str
    weight: Floats
    bias: str | None
    vector: bool  # the bias is a constant of N entries
    output: str
    replaces: tuple[str, ...]  # outputs of the nodes that it takes the place of


class Lookup(NamedTuple):
    """Rows of a constant matrix `[N, K]`, by their numbers."""

    node: Node
    constant: str
    weight: Floats


class Convolution(NamedTuple):
    """A convolution with a constant kernel `[N, ...]`."""

    node: Node
    constant: str
    weight: Floats


Site = Linear | Lookup | Convolution


class Refused(NamedTuple):
    """A constant that takes part in a product which stays as it is, and why."""

    constant: str
    why: str


def reads(node: Node) -> Iterator[str]:
    """What a node reads, in graphs inside it too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from reads(inner)
            yield from (output.name for output in graph.output)


def held(graph: Any) -> Iterator[tuple[str, Any]]:
    """The constants that a graph and the graphs inside it hold, by name: initializers and nodes of constants."""
    yield from ((each.name, numpy_helper.to_array(each)) for each in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield node.output[0], numpy_helper.to_array(attribute.t)
            for inner in (attribute.g, *attribute.graphs):
                yield from held(inner)


@dataclass(frozen=True)
class Reading:
    """A graph, read: who makes and who reads a value, and the values of constants."""

    graph: Any  # onnx.GraphProto
    arrays: dict[str, Any] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    readers: dict[str, list[Node]] = field(default_factory=lambda: defaultdict(list))
    constant: set[str] = field(default_factory=set)

    @staticmethod
    def of(graph: Any) -> Reading:
        """Reads a graph."""
        found = Reading(graph)
        found.arrays.update({each.name: numpy_helper.to_array(each) for each in graph.initializer})
        found.constant.update(found.arrays)
        for node in graph.node:
            plain = not node.domain and not node.op_type.startswith("Random") and len(node.output) == 1
            if plain and found.constant.issuperset(reads(node)):
                found.constant.update(node.output)
            found.makers.update(dict.fromkeys(node.output, node))
            for name in reads(node):
                found.readers[name].append(node)
        return found

    @property
    def outputs(self) -> set[str]:
        """Of the graph."""
        return {each.name for each in self.graph.output}

    def value(self, name: str) -> Any:
        """The value of a constant, computed where nodes make it of constants; None of what is no constant."""
        if name in self.constant and name not in self.arrays:
            node = self.makers[name]
            self.arrays[name] = ReferenceEvaluator(node).run(None, {each: self.value(each) for each in reads(node)})[0]
        return self.arrays.get(name)

    def roots(self, name: str) -> tuple[str, ...]:
        """The graph's own constants that the value of a constant is computed from."""
        node = self.makers.get(name)
        return (name,) if node is None else tuple(root for each in reads(node) for root in self.roots(each))


def sites(reading: Reading) -> Iterator[Site | Refused]:
    """Every product with a constant and every lookup in one, in the order of the graph."""
    for node in reading.graph.node:
        if (find := FINDERS.get(node.op_type)) is not None and not node.domain:
            yield from find(reading, node)
        else:
            found = [name for name in reads(node) if _matrix(reading, name) is not None]
            if node.op_type in PRODUCTS or any(a.g.node or a.graphs for a in node.attribute):
                yield from (Refused(name, f"{node.op_type}: no form for it") for name in found)


PRODUCTS = {"ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "RNN", "Attention"}


def _matrix(reading: Reading, name: str, least: int = MATRIX) -> Any:
    """The value of a constant of floating point with at least so many axes."""
    value = reading.value(name)
    return value if value is not None and value.dtype.kind == "f" and value.ndim >= least else None


def _unfit(value: Any, axes: bool) -> str:
    """Why a constant has no integer form."""
    if value.dtype != np.float32:
        return f"of type {value.dtype}, expected float32"
    if not axes:
        return f"of shape {list(value.shape)}"
    return "empty" if value.size == 0 else ""


def _attributes(node: Node) -> Mapping[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _matmul(reading: Reading, node: Node) -> Iterator[Site | Refused]:
    left, right = node.input
    if _matrix(reading, left, 1) is not None:
        yield Refused(left, "MatMul: the constant is the left factor")
    if (value := _matrix(reading, right, 1)) is None or reading.value(left) is not None:
        return
    if why := _unfit(value, value.ndim == MATRIX):
        yield Refused(right, f"MatMul: {why}")
        return
    output, weight = node.output[0], np.ascontiguousarray(value.T)
    after = reading.readers[output]
    if len(after) == 1 and output not in reading.outputs and after[0].op_type == "Add":
        for bias in after[0].input:
            if bias != output and _is_vector(reading, bias, len(weight)):
                names = (output, after[0].output[0])
                yield Linear(node, right, weight, bias, True, names[1], names)
                return
    yield Linear(node, right, weight, None, False, output, (output,))


def _is_vector(reading: Reading, name: str, length: int) -> bool:
    value = reading.value(name)
    return value is not None and value.shape == (length,)


def _gemm(reading: Reading, node: Node) -> Iterator[Site | Refused]:
    x, constant, *rest = node.input
    if _matrix(reading, x) is not None:
        yield Refused(x, "Gemm: the constant is the left factor")
    if (value := _matrix(reading, constant)) is None or reading.value(x) is not None:
        return
    given = _attributes(node)
    why = _unfit(value, True)
    if not why and (given.get("transA", 0) or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1):
        why = "transposed or scaled"
    if why:
        yield Refused(constant, f"Gemm: {why}")
        return
    weight = np.ascontiguousarray(value if given.get("transB", 0) else value.T)
    bias = rest[0] if rest and rest[0] else None
    vector, output = bias is not None and _is_vector(reading, bias, len(weight)), node.output[0]
    yield Linear(node, constant, weight, bias, vector, output, (output,))


def _gather(reading: Reading, node: Node) -> Iterator[Site | Refused]:
    constant, numbers = node.input
    value = _matrix(reading, constant)
    if value is None or reading.value(numbers) is not None:
        return
    if why := _unfit(value, value.ndim == MATRIX and _attributes(node).get("axis", 0) == 0):
        yield Refused(constant, f"Gather: {why}")
        return
    yield Lookup(node, constant, value)


def _conv(reading: Reading, node: Node) -> Iterator[Site | Refused]:
    x, constant = node.input[:2]
    if _matrix(reading, x) is not None:
        yield Refused(x, "Conv: the constant is what the kernel goes over")
    if (value := _matrix(reading, constant)) is None:
        return
    if why := _unfit(value, value.ndim >= KERNEL):
        yield Refused(constant, f"Conv: {why}")
        return
    yield Convolution(node, constant, value)


FINDERS = {"MatMul": _matmul, "Gemm": _gemm, "Gather": _gather, "Conv": _conv}
