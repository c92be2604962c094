"""Rotations in the exporter's graphs: onnxscript 0.7 fuses them into an operator that wants its angles for every row.

The fusion leaves cosines and sines `[1, T, d/2]` where the model has one table for all rows; `RotaryEmbedding` of ONNX
takes `[B, T, d/2]` and no other, so the graph ran for one row alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

ROTATION = "RotaryEmbedding"
TABLES = (1, 2)  # inputs: cosines and sines; with a fourth input they are looked up, and have no rows


def spread_rotations(model: ir.Model) -> int:
    """Gives each rotation its angles for as many rows as its input has, in place.

    Args:
        model: as the exporter made it.

    Returns:
        how many tables were spread.
    """
    spread = 0
    for node in [node for node in model.graph if node.op_type == ROTATION and len(node.inputs) == len(TABLES) + 1]:
        for place in TABLES:
            table = node.inputs[place]
            if table is not None and _rows(table) == 1:
                node.replace_input_with(place, _spread(model.graph, node, table))
                spread += 1
    return spread


def _rows(table: ir.Value) -> int | ir.SymbolicDim | None:
    """How many rows a table has; the fusion notes no shape of the cosine that it makes, but the angles have one."""
    made = table.producer()
    known = table if table.shape is not None or made is None else made.inputs[0]
    return None if known is None or known.shape is None else known.shape[0]


def _spread(graph: ir.Graph, node: ir.Node, table: ir.Value) -> ir.Value:
    """`table` with the rows of the node's first input."""
    name = f"{table.name}_rows"
    ones = ir.Value(name=f"{name}_ones", const_value=ir.tensor(np.ones(2, np.int64), name=f"{name}_ones"))
    rows = ir.node("Shape", [node.inputs[0]], {"start": 0, "end": 1})
    shape = ir.node("Concat", [rows.outputs[0], ones], {"axis": 0})
    made = ir.node("Expand", [table, shape.outputs[0]])
    if ones.name not in graph.initializers:
        graph.initializers.add(ones)
    graph.insert_before(node, [rows, shape, made])
    return made.outputs[0]
