"""Graphs to ExecuTorch's files: exported by torch, rounded where asked, and handed to XNNPACK as far as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from tprune.core.precision import Precision
from tprune.families.graphs.graph import Graph
from tprune.runtimes.executorch.kept import content, lowered_once
from tprune.runtimes.executorch.package import LOGGERS, RUNS, module
from tprune.runtimes.executorch.quantize import products, quantized
from tprune.runtimes.executorch.sizes import bounds
from tprune.runtimes.products import Product
from tprune.runtimes.unlowered import unlowered
from tprune.support.chatter import quiet
from tprune.support.errors import InputError

# Whether executorch checks its operators. In 1.5.1 the check takes the length of the first tensor of a split for that
# of the list, which fixes a free batch at the size of the example; it also takes a quarter of the time.
CHECKED = False
PARTITIONER = "executorch.backends.xnnpack.partition.xnnpack_partitioner"


def lower(graph: Graph, path: Path, precision: Precision, toolchain: Mapping[str, str]) -> Sequence[Product]:
    """Writes a graph as a `.pte`; one that was lowered before is taken from what is kept.

    Args:
        graph: in the dialect `masked`.
        path: of the file.
        precision: fp32 or int8.
        toolchain: versions of what lowers it, by package.

    Returns:
        What became of each constant matrix; nothing in single precision.

    Raises:
        InputError: an exception names no parameter of the model, executorch would not leave a size free, or XNNPACK
            does not take a product, or there is no kernel for an operator; says which, and of which layer.
    """
    with torch.no_grad(), quiet(LOGGERS):
        program = exported(graph, graph.module)
        found = () if precision.exact else products(graph, program, precision)
        as_is = f"{precision.name} {[product.precision for product in found]}"

        def make(path: Path) -> None:
            rounded = program if precision.exact else exported(graph, quantized(graph, program, precision))
            _written(graph, rounded, path)

        lowered_once(content(program, as_is, toolchain), path, make)
    return found


def _written(graph: Graph, program: ExportedProgram, path: Path) -> None:
    exir, partitioner = module("executorch.exir"), module(PARTITIONER).XnnpackPartitioner()
    how = exir.EdgeCompileConfig(_check_ir_validity=CHECKED)
    edge = exir.to_edge_transform_and_lower(program, partitioner=[partitioner], compile_config=how)
    _check_free(graph, edge.exported_program())
    _check_taken(graph, edge.exported_program())
    nodes = list(edge.exported_program().graph.nodes)
    made = edge.to_executorch()
    _check_kernels(graph, made.executorch_program, nodes)
    with path.open("wb") as file:
        made.write_to_file(file)


def exported(graph: Graph, computes: torch.nn.Module) -> ExportedProgram:
    """What `torch.export` makes of the module of a graph, or of another one that takes the same."""

    def free(dim: str) -> Any:
        least, most = bounds(dim, graph.limits)
        return Dim.DYNAMIC(min=least, max=most)

    return torch.export.export(computes, graph.example, dynamic_shapes=graph.shapes(free))


def _check_free(graph: Graph, program: ExportedProgram) -> None:
    """Raises `InputError` where a free size of an input has become that of the example."""
    given = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    for spec, value in zip(graph.signature.inputs, values, strict=True):
        for dim, size in zip(spec.dims, value.shape, strict=True):
            if isinstance(dim, str) and isinstance(size, int):
                raise InputError(
                    f"runtime executorch: {dim} of input {spec.name} of graph {graph.name} became {size}; expected it "
                    "to stay free"
                )


def _check_kernels(graph: Graph, program: Any, nodes: Sequence[Node]) -> None:
    """Raises `InputError` where an operator is left that executorch has no kernel for: it would fail when it is run."""
    known = set(module(RUNS)._get_operator_names())
    for operator in program.execution_plan[0].operators:
        name = f"{operator.name}.{operator.overload}" if operator.overload else operator.name
        if name not in known:
            raise InputError(
                f"cannot export the graph {graph.name}: executorch has no kernel for "
                f"{unlowered(name, nodes, graph.module)}; expected a model of other operators"
            )


def _check_taken(graph: Graph, program: ExportedProgram) -> None:
    """Raises `InputError` where a quantized product was left out of what XNNPACK computes: it would be slow."""
    left = [node for node in program.graph.nodes if "quantized_decomposed" in str(node.target)]
    if left:
        raise InputError(
            f"runtime executorch: XNNPACK does not take {left[0].name} of graph {graph.name} and {len(left) - 1} more; "
            "expected all rounded products"
        )
