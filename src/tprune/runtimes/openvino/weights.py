"""Weights of fewer bits: the constants of a graph as integers and scales, or as bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tprune.core.precision import Precision
from tprune.runtimes.naming import naming
from tprune.runtimes.openvino.package import openvino
from tprune.runtimes.openvino.settings import GROUP
from tprune.runtimes.products import Names, Product

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

Floats = NDArray[np.float32]
EXCEPTED, KERNEL = "an exception", "convolutions multiply in single precision"
NARROW = f"fewer than {GROUP} inputs"
READERS = ("MatMul", "Gather", "Convolution", "GroupConvolution")
CONVOLUTIONS = ("Convolution", "GroupConvolution")


class Site(NamedTuple):
    """A constant matrix, its nodes, and who reads it at which of their inputs."""

    constant: Any
    weights: tuple[str, ...]
    value: Floats
    readers: tuple[tuple[str, int], ...]
    turned: bool

    @property
    def convolved(self) -> bool:
        """By a convolution."""
        return any(kind in CONVOLUTIONS for kind, _ in self.readers)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Product`: (inputs, outputs) where it is multiplied alone, else as it lies in the graph."""
        multiplied = all(kind == "MatMul" for kind, _ in self.readers)
        return self.value.shape[::-1] if multiplied and self.value.ndim == 2 else self.value.shape

    @property
    def odd(self) -> str:
        """Why it has no other form than single precision; empty where it has."""
        strange = [kind for kind, place in self.readers if kind not in READERS or (kind == "MatMul" and place != 1)]
        if strange:
            return f"read by {strange[0]}"
        if self.value.ndim > 2 and not self.convolved:
            return f"{self.value.ndim} axes"
        return ""


def compress(model: Any, graph: Graph, precision: Precision) -> tuple[Product, ...]:
    """Stores the constant matrices of a model in a precision, but for its exceptions.

    Args:
        model: an `openvino.Model`; it is changed.
        graph: that it was lowered from.
        precision: not fp32.

    Returns:
        What became of each.

    Raises:
        InputError: an exception names no parameter of the model.
    """
    from tprune.families.graphs.origins import first_names  # torch, which running the files does not need

    excepted = first_names(graph.module, precision.exceptions)
    names, form = naming(graph.module), FORMS[precision.name]
    found = []
    for site in _sites(model, names):
        why = site.odd or (EXCEPTED if excepted.intersection(site.weights) else "")
        size = 4 * site.value.size if why else form(site)
        got, short = ("fp32", why) if why else _computed(site, precision.name)
        found.append(Product(graph.name, site.weights, site.shape, got, size, short))
    model.validate_nodes_and_infer_types()
    return tuple(found)


def _computed(site: Site, asked: str) -> tuple[str, str]:
    """In which precision the products of a constant are computed, and why where it is not what was asked."""
    if asked != "bf16" and site.convolved:
        return ("int8-weights", KERNEL if asked == "int8" else "")
    if asked == "int8" and site.value.shape[-1] < GROUP and any(kind == "MatMul" for kind, _ in site.readers):
        return "int8-weights", NARROW
    return asked, ""


def _sites(model: Any, names: Names) -> list[Site]:
    """The constant matrices and kernels, outputs first."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino().Type.f32 or len(_wide(node)) < 2:
            continue
        value = node.get_data()
        users = [(each.get_node(), each.get_index()) for each in node.output(0).get_target_inputs()]
        readers = tuple((user.get_type_name(), place) for user, place in users)
        ways = {user.get_attributes()["transpose_b"] for user, _ in users if user.get_type_name() == "MatMul"}
        turned = ways == {False} and value.ndim == 2 and all(kind == "MatMul" for kind, _ in readers)
        weights = names(node.get_friendly_name(), value)
        found.append(Site(node, weights, value.T if turned else value, readers, turned))
    return found


def _wide(node: Any) -> list[int]:
    """The axes that are longer than 1."""
    return [size for size in node.get_output_shape(0) if size > 1]


def _int8(site: Site) -> int:
    """A row of integers and a scale for each output; the bytes of both."""
    ops = openvino().opset13
    flat = site.value.reshape(len(site.value), -1)
    scales = (np.abs(flat).max(1) / 127).astype(np.float32)
    scales[scales == 0] = 1
    shape = (-1, *[1] * (site.value.ndim - 1))
    integers = np.rint(flat / scales[:, None]).astype(np.int8).reshape(site.value.shape)
    floats = ops.convert(ops.constant(integers), "f32")
    _replace(site, ops.multiply(floats, ops.constant(scales.reshape(shape))))
    return int(integers.nbytes + scales.nbytes)


def _bf16(site: Site) -> int:
    """Half as many bits of each number."""
    package = openvino()
    ops = package.opset13
    floats = ops.convert(ops.constant(site.value, dtype=package.Type.bf16), "f32")
    _replace(site, floats)
    return 2 * site.value.size


def _replace(site: Site, made: Any) -> None:
    """Lets the readers of a constant read what was made of it."""
    made.set_friendly_name(site.constant.get_friendly_name())
    ops = openvino().opset13
    for each in list(site.constant.output(0).get_target_inputs()):
        reader = each.get_node()
        if not site.turned:
            each.replace_source_output(made.output(0))
            continue
        first = reader.get_attributes()["transpose_a"]
        product = ops.matmul(reader.input_value(0), made.output(0), first, True)
        product.set_friendly_name(reader.get_friendly_name())
        for output in list(reader.output(0).get_target_inputs()):
            output.replace_source_output(product.output(0))


FORMS: Mapping[str, Callable[[Site], int]] = {"int8": _int8, "int8-weights": _int8, "bf16": _bf16}
