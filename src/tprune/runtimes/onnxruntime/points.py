"""Where a graph of static integers rounds its activations, and the pairs of nodes that do it.

A pair is a `QuantizeLinear` and a `DequantizeLinear` with a constant scale and zero point. onnxruntime takes a
convolution between pairs for one operator of integers, with the ReLU behind it, and a sum between pairs for another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import numpy_helper
from onnx.helper import make_node

from tprune.runtimes.onnxruntime.ranges import Range
from tprune.runtimes.onnxruntime.sites import Convolution, Linear, Node, Reading


def integers(name: str) -> str:
    """What a rounded value is called as integers."""
    return f"{name}.uint8"


def rounded(name: str) -> str:
    """What a rounded value is called as floats again."""
    return f"{name}.rounded"


def scaling(name: str) -> tuple[str, str]:
    """The constants of a rounded value: its scale and its zero point."""
    return f"{name}.scale", f"{name}.zero"


@dataclass(frozen=True)
class Points:
    """Values that are rounded.

    Attributes:
        read: those that products read; whatever else reads them takes them as they are.
        made: those that convolutions and sums of their outputs make; all readers take what is rounded, so that they
            exist as integers alone.
        shared: values that are the maxima of another one, and which; they have its range.
        readers: outputs of the nodes that take what is rounded of `read`: products, convolutions and sums.
    """

    read: tuple[str, ...]
    made: tuple[str, ...]
    shared: Mapping[str, str]
    readers: frozenset[str]

    @property
    def all(self) -> tuple[str, ...]:
        """Of both kinds."""
        return (*self.read, *self.made)

    @property
    def measured(self) -> tuple[str, ...]:
        """Those whose ranges have to be known."""
        return tuple(dict.fromkeys(self.shared.get(name, name) for name in self.all))


def points_of(reading: Reading, sites: Sequence[Linear | Convolution]) -> Points:
    """The values that products and convolutions read, and those that convolutions and their sums make.

    Args:
        reading: of a graph of floats.
        sites: what is to be computed in integers; no convolution of them makes an output of the graph.
    """
    read = [site.node.input[0] for site in sites]
    readers = {site.node.output[0] for site in sites}
    made = dict.fromkeys(end_of(reading, site.node) for site in sites if isinstance(site, Convolution))
    shared: dict[str, str] = {}
    for node in reading.graph.node:  # in order, so that what a node reads is known before it
        inputs, end = list(node.input), end_of(reading, node) if node.output else ""
        if end in reading.outputs or made.keys().isdisjoint(inputs):
            continue
        if node.op_type == "Add" and reading.constant.isdisjoint(inputs):
            read += inputs
            readers.add(node.output[0])
            made[end] = None
        elif node.op_type == "MaxPool" and len(node.output) == 1:
            shared[node.output[0]] = shared.get(inputs[0], inputs[0])
            made[node.output[0]] = None
    return Points(tuple(dict.fromkeys(n for n in read if n not in made)), tuple(made), shared, frozenset(readers))


def end_of(reading: Reading, node: Node) -> str:
    """What a convolution or sum makes: the output of the ReLU behind it, where nothing else reads it."""
    name = str(node.output[0])
    after = reading.readers[name]
    if len(after) == 1 and after[0].op_type == "Relu" and name not in reading.outputs:
        return str(after[0].output[0])
    return name


def with_pairs(model: Any, points: Points, ranges: Mapping[str, Range]) -> Any:
    """A graph of floats with a pair at each of the points.

    Args:
        model: an `onnx.ModelProto`; it is left as it was.
        points: of it.
        ranges: of all `points.measured`.
    """
    made = type(model)()
    made.CopyFrom(model)
    made.graph.ClearField("node")
    known, given = frozenset(points.all), [each.name for each in model.graph.input]
    made.graph.node.extend(pair for name in given if name in known for pair in _pair(name))
    for node in model.graph.node:
        made.graph.node.append(_reading(node, points, known))
        made.graph.node.extend(pair for name in node.output if name in known for pair in _pair(name))
    for name in points.all:
        made.graph.initializer.extend(_constants(name, ranges[points.shared.get(name, name)]))
    return made


def _reading(node: Node, points: Points, known: Collection[str]) -> Node:
    """The node, which reads what is rounded where it has to."""
    new = type(node)()
    new.CopyFrom(node)
    takes = known if not points.readers.isdisjoint(node.output) else points.made
    for place, name in enumerate(node.input):
        if name in takes:
            new.input[place] = rounded(name)
    return new


def _pair(name: str) -> Iterator[Node]:
    yield make_node("QuantizeLinear", [name, *scaling(name)], [integers(name)])
    yield make_node("DequantizeLinear", [integers(name), *scaling(name)], [rounded(name)])


def _constants(name: str, values: Range) -> Iterator[Any]:
    scale, zero = scaling(name)
    yield numpy_helper.from_array(np.array(values.scale, np.float32), scale)
    yield numpy_helper.from_array(np.array(values.zero, np.uint8), zero)
