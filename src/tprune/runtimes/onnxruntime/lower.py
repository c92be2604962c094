"""Graphs to ONNX files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from tprune.families.graphs.attention import OPSET
from tprune.families.graphs.graph import Graph
from tprune.runtimes.onnxruntime.rotations import spread_rotations
from tprune.runtimes.unlowered import unlowered
from tprune.support.chatter import quiet
from tprune.support.errors import InputError

CHATTING = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")  # of deprecations, and of what is not installed


def lower(graph: Graph, path: Path, opset: int = OPSET) -> None:
    """Writes a graph as an ONNX file.

    Args:
        graph: in the dialect `onnx23` for opset 23 alone.
        path: of the file.
        opset: of its operators.

    Raises:
        InputError: torch cannot trace it, or ONNX lacks an operator; says which, and of which layer.
    """
    made = _traced(graph, opset)
    spread_rotations(made.model)
    _forget_sources(made.model)
    made.save(path, external_data=False)


def _traced(graph: Graph, opset: int) -> torch.onnx.ONNXProgram:
    """The ONNX program of a graph. Raises `InputError` where torch cannot trace it."""
    inputs, outputs = [spec.name for spec in graph.signature.inputs], list(graph.signature.outputs)
    with quiet(CHATTING):
        try:
            made = torch.onnx.export(
                graph.module,
                graph.example,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=graph.dynamic_shapes,
                dynamo=True,
                verbose=False,
                opset_version=opset,
            )
        except torch.onnx.OnnxExporterError as error:
            if (operator := _unknown(error)) is not None:
                raise InputError(
                    f"cannot export the graph {graph.name}: ONNX has no {_placed(operator, graph)}; expected a model "
                    "of other operators"
                ) from error
            why = next((str(one) for one in (error.__cause__, error) if one is not None), "")
            raise InputError(
                f"cannot export the graph {graph.name}: torch cannot trace it ({why.strip().splitlines()[0][:200]}); "
                "expected a model whose operators do not depend on the values of its inputs"
            ) from error
    assert made is not None
    return made


def _unknown(error: BaseException) -> str | None:
    """The operator that torch has no translation of, where that is why."""
    said, one = "", error.__cause__
    while one is not None:
        said, one = f"{said}\n{one}", one.__cause__
    found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", said)
    return None if found is None else found[1]


def _placed(operator: str, graph: Graph) -> str:
    """An operator with the layer that computes it: what was traced is lost, so it is traced again."""
    traced = torch.export.export(graph.module, graph.example, dynamic_shapes=graph.dynamic_shapes, strict=False)
    return unlowered(operator, traced.run_decompositions().graph.nodes, graph.module)


def _forget_sources(model: Any) -> None:
    """Drops from every node and value which line of which file of this machine it comes from."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
