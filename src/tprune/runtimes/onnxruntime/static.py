"""A graph of integers whose activations have constant scales, measured on calibration inputs.

Convolutions become `QLinearConv` when a session opens, sums of their outputs `QLinearAdd`, and ReLU behind them
nothing; the file holds the same in operators of ONNX. Other products are `MatMulIntegerToFloat`, the operator that
onnxruntime makes of dynamic int8 too: in operators of ONNX it would leave the bias out of the product, which is slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from onnx.helper import make_node

from tprune.runtimes.onnxruntime.forms import CONTRIB, Arrays, DynamicWeight, Encoded, Form, dynamic
from tprune.runtimes.onnxruntime.int8 import Group, Quantized, quantized
from tprune.runtimes.onnxruntime.points import end_of, integers, points_of, rounded, scaling, with_pairs
from tprune.runtimes.onnxruntime.ranges import Range, ranges_of
from tprune.runtimes.onnxruntime.rounding import kernel_rows
from tprune.runtimes.onnxruntime.sites import Convolution, Linear, Lookup, Node, Reading, Site, sites
from tprune.runtimes.products import Names
from tprune.runtimes.runtime import Array

PRECISION = "int8-static"
FINEST = 2**30  # the largest integer of a bias


def static_integers(
    model: Any, inputs: Sequence[Mapping[str, Array]], names: Names, keep: Iterable[str] = ()
) -> Quantized:
    """A graph of integers that computes what a graph of floats does, up to rounding.

    Args:
        model: an `onnx.ModelProto` of opset 21 or later; it is left as it was.
        inputs: batches on which the ranges of activations are measured.
        names: what constants are called in the model that the graph was made of.
        keep: parameters that stay fp32, see `tprune.runtimes.onnxruntime.int8.quantized`.

    Raises:
        InputError: the graph does not run on the inputs, or something in it is not finite.
    """
    kept, reading = frozenset(keep), Reading.of(model.graph)
    found = [each for each in sites(reading) if isinstance(each, Linear | Convolution)]
    chosen = [one for one in found if _fits(reading, one) and kept.isdisjoint(names(one.constant, one.weight))]
    points = points_of(reading, chosen)
    ranges = ranges_of(model, points.measured, inputs)
    paired = with_pairs(model, points, ranges)
    forms = StaticForms(
        Reading.of(paired.graph),
        {rounded(name): Rounded(name, ranges[points.shared.get(name, name)]) for name in points.all},
        frozenset(site.node.output[0] for site in chosen),
    )
    return quantized(paired, dynamic, names, kept, forms.encoded)


def _fits(reading: Reading, site: Site) -> bool:
    """A convolution needs integers behind it, which an output of the graph is not, and a bias that is known."""
    if not isinstance(site, Convolution):
        return True
    bias = _bias(site)
    return end_of(reading, site.node) not in reading.outputs and (bias is None or reading.value(bias) is not None)


def _bias(site: Convolution) -> str | None:
    return str(site.node.input[2]) if len(site.node.input) > 2 and site.node.input[2] else None


class Rounded(NamedTuple):
    """A value that is rounded: its name before that, and its range."""

    name: str
    values: Range


@dataclass(frozen=True)
class StaticForms:
    """The forms of the constants of a graph.

    Attributes:
        reading: of the graph with pairs.
        given: what products and convolutions read, by the name that it has as floats again.
        chosen: outputs of those products and convolutions that are computed in integers.
    """

    reading: Reading
    given: Mapping[str, Rounded]
    chosen: frozenset[str]

    def encoded(self, group: Group, form: Form) -> Encoded:
        """Of a constant that only rounded values are multiplied with; of others as in dynamic int8."""
        products = [site for site in group.sites if not isinstance(site, Lookup)]
        one = group.encoded(form)
        if not products or not self.chosen.issuperset(site.node.output[0] for site in products):
            return one
        if isinstance(one, DynamicWeight):
            return StaticWeight(one, len(group.weight), self.given)
        return self._kernel(group.label, group.weight, [site for site in group.sites if isinstance(site, Convolution)])

    def _kernel(self, name: str, weight: Any, found: Sequence[Convolution]) -> StaticKernel:
        """A kernel, and the biases of its convolutions as integers of the product of both scales.

        Where weights are so small that a bias has no such integer, the scale of the weights is larger.
        """
        biases = {
            site.node.output[0]: (self.reading.value(b), self._scale(site)) for site in found if (b := _bias(site))
        }
        least = [np.abs(bias) / (scale * FINEST) for bias, scale in biases.values()]
        found_integers, scales = kernel_rows(weight, np.max(least, axis=0) if least else 0.0)
        arrays = {
            f"{name}.int8": found_integers,
            f"{name}.scale": scales,
            f"{name}.zero": np.zeros(len(weight), np.int8),
        }
        for output, (bias, scale) in biases.items():
            steps = (scales * np.float32(scale)).astype(np.float32)
            arrays |= {
                f"{output}.bias": np.rint(bias / steps.astype(np.float64)).astype(np.int32),
                f"{output}.bias_scale": steps,
                f"{output}.bias_zero": np.zeros(len(weight), np.int32),
            }
        return StaticKernel(name, arrays)

    def _scale(self, site: Convolution) -> float:
        return self.given[site.node.input[0]].values.scale


@dataclass(frozen=True)
class StaticWeight:
    """A matrix as `DynamicWeight` stores it, multiplied with integers that are known to be scaled so."""

    stored: DynamicWeight
    rows: int
    given: Mapping[str, Rounded]
    precision: str = PRECISION

    @property
    def arrays(self) -> Arrays:
        """See `Encoded`."""
        return {**self.stored.arrays, f"{self.stored.name}.zero": np.zeros(self.rows, np.int8)}

    @property
    def front(self) -> Sequence[Node]:
        """See `Encoded`."""
        return self.stored.front

    def linear(self, site: Linear) -> list[Node]:
        """See `Encoded`."""
        name, y, apart = self.stored.name, site.output, bool(site.bias) and not site.vector
        x = self.given[site.node.input[0]].name
        (scale, zero), last = scaling(x), f"{y}.product" if apart else y
        given = [integers(x), f"{name}.int8", scale, f"{name}.scale", zero, f"{name}.zero"]
        inputs = [*given, site.bias] if site.vector else given
        product = make_node("MatMulIntegerToFloat", inputs, [last], domain=CONTRIB)
        return [product, make_node("Add", [last, site.bias], [y])] if apart else [product]

    def lookup(self, site: Lookup) -> list[Node]:
        """See `Encoded`."""
        return self.stored.lookup(site)


@dataclass(frozen=True)
class StaticKernel:
    """A kernel of int8 with a scale an output channel, and biases of 32 bits."""

    name: str
    arrays: Arrays
    front: Sequence[Node] = ()
    precision: str = PRECISION

    def convolution(self, site: Convolution) -> list[Node]:
        """The convolution of what is rounded."""
        y, node = site.node.output[0], type(site.node)()
        node.CopyFrom(site.node)
        node.input[1] = f"{self.name}.floats"
        nodes = [_floats([f"{self.name}.{part}" for part in ("int8", "scale", "zero")], node.input[1])]
        if _bias(site):
            node.input[2] = f"{y}.bias_floats"
            nodes.append(_floats([f"{y}.{part}" for part in ("bias", "bias_scale", "bias_zero")], node.input[2]))
        return [*nodes, node]

    def linear(self, site: Linear) -> list[Node]:
        """A kernel has none."""
        raise AssertionError(f"{self.name}: a kernel of convolutions takes part in a product")

    def lookup(self, site: Lookup) -> list[Node]:
        """A kernel has none."""
        raise AssertionError(f"{self.name}: rows are looked up in a kernel of convolutions")


def _floats(parts: Sequence[str], name: str) -> Node:
    return make_node("DequantizeLinear", list(parts), [name], axis=0)
