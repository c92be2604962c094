"""Operators that coremltools does not convert, as others that it does, in an exported program of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten
# which argument is the size, of what makes a tensor of it; coremltools takes none that is empty
SIZES: Mapping[Any, int] = {aten.zeros.default: 0, aten.full.default: 0, aten.new_zeros.default: 1}
LARGEST = 6e4  # a number that half precision holds; beyond it is infinite, and 0 times infinity is no number


def rewrite_(graph: Graph, half: bool) -> None:
    """Replaces operators in a graph, in place.

    Args:
        graph: of an `torch.export.ExportedProgram`, in core operators.
        half: whether it will compute in half precision, where large constants become `LARGEST`.
    """
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is aten.__and__.Tensor:
            node.target = aten.logical_and.default
        elif node.target is aten.new_ones.default:
            node.target, node.args, node.kwargs = aten.ones.default, (node.args[1] or [1],), {}
        elif (place := SIZES.get(node.target)) is not None and not node.args[place]:
            _number_(node, node.args[1] if node.target is aten.full.default else 0.0)
        elif node.target is aten.where.ScalarOther:
            with graph.inserting_before(node):
                other = graph.call_function(aten.full.default, ([1], node.args[2]))
            node.target, node.args = aten.where.self, (*node.args[:2], other)
            _smaller_(other, half)
        _smaller_(node, half)


def _number_(node: Node, value: Any) -> None:
    """A single number, which is added to anything."""
    node.target, node.args, node.kwargs = aten.full.default, ([1], value), {}


def _smaller_(node: Node, half: bool) -> None:
    if half:
        node.args = tuple(_within(each) for each in node.args)


def _within(value: Any) -> Any:
    return max(-LARGEST, min(LARGEST, value)) if isinstance(value, float) else value
