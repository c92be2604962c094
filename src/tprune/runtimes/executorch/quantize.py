"""int8 for XNNPACK: the weights of linear maps, each with a scale for each output; activations as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from tprune.core.precision import Precision
from tprune.families.graphs.graph import Graph
from tprune.families.graphs.origins import first_names
from tprune.runtimes.executorch.package import module
from tprune.runtimes.naming import naming
from tprune.runtimes.products import Names, Product

QUANTIZER = "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"
PT2E = "torchao.quantization.pt2e.quantize_pt2e"
LINEAR = torch.ops.aten.linear.default
EXCEPTED = "an exception"
WHY = {
    torch.ops.aten.embedding.default: "rows are looked up",
    torch.ops.aten.index_select.default: "rows are looked up",
    torch.ops.aten.slice.Tensor: "rows are looked up",
    torch.ops.aten.conv2d.default: "convolutions multiply in single precision",
    torch.ops.aten.convolution.default: "convolutions multiply in single precision",
}


class Use(NamedTuple):
    """A constant matrix as one kind of operator reads it; the file has one constant for each."""

    node: Node
    value: Tensor
    weights: tuple[str, ...]
    reader: Any
    place: int

    @property
    def multiplied(self) -> bool:
        """As the weight of a linear map."""
        return bool(self.reader == LINEAR and self.place == 1)


def products(graph: Graph, program: ExportedProgram, precision: Precision) -> tuple[Product, ...]:
    """What becomes of each constant matrix of a graph.

    Args:
        graph: that `program` was exported from.
        program: in single precision.
        precision: not fp32.

    Raises:
        InputError: an exception names no parameter of the model.
    """
    excepted = first_names(graph.module, precision.exceptions)
    found = []
    for use in _uses(program.module(), naming(graph.module)):
        why = EXCEPTED if excepted.intersection(use.weights) else ""
        if not use.multiplied:
            why = WHY.get(use.reader, f"read by {getattr(use.reader, '__name__', use.reader)}")
        shape, count = tuple(use.value.shape), use.value.numel()
        size = 4 * count if why else count + 4 * shape[0]
        name, shape = (precision.name, shape[::-1]) if not why else ("fp32", shape[::-1] if use.multiplied else shape)
        found.append(Product(graph.name, use.weights, shape, name, size, why))
    return tuple(found)


def quantized(graph: Graph, program: ExportedProgram, precision: Precision) -> GraphModule:
    """The module of a program with quantized linear maps, but for the exceptions; to be exported again.

    Args:
        graph: that `program` was exported from.
        program: in single precision.
        precision: int8.
    """
    made = program.module()
    excepted = first_names(graph.module, precision.exceptions)
    kept = {use.node.name for use in _uses(made, naming(graph.module)) if excepted.intersection(use.weights)}
    pt2e = module(PT2E)
    prepared = pt2e.prepare_pt2e(made, _quantizer(lambda node: _weight(node).name not in kept))
    prepared(*graph.example)  # the ranges of the weights; those of activations are taken when it runs
    found: GraphModule = pt2e.convert_pt2e(prepared)
    return found


def _weight(node: Node) -> Node:
    """Of a linear map; of another node itself."""
    weight = node.args[1] if node.target == LINEAR else node
    assert isinstance(weight, Node)
    return weight


def _quantizer(wanted: Callable[[Node], bool]) -> Any:
    library = module(QUANTIZER)

    class OnlyLinear(library.XNNPACKQuantizer):  # type: ignore[misc, name-defined]
        """Leaves numbers as they are: as tensors, the integers that positions are shifted by become floats."""

        def transform_for_annotation(self, model: GraphModule) -> GraphModule:
            return model

    how = library.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    return OnlyLinear().set_operator_type(LINEAR, how).set_filter_function(wanted)


def _uses(made: GraphModule, names: Names) -> Iterator[Use]:
    """The constant matrices and kernels, once for each kind of operator that reads them."""
    for node in made.graph.nodes:
        if node.op != "get_attr" or not isinstance(value := _attribute(made, str(node.target)), Tensor):
            continue
        if not value.is_floating_point() or sum(size > 1 for size in value.shape) < 2:
            continue
        weights = names(str(node.target), value.detach().numpy())
        readers = {(user.target, place) for user in node.users for place, x in enumerate(user.args) if x is node}
        for reader, place in sorted(readers, key=str):
            yield Use(node, value, weights, reader, place)


def _attribute(made: torch.nn.Module, target: str) -> object:
    found: Any = made
    for part in target.split("."):
        found = getattr(found, part, None)
    return found
