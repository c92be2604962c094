"""Where in a model an operator is called that a runtime cannot lower."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch._ops import OpOverload
from torch.fx import Node


def unlowered(operator: str, nodes: Iterable[Node], wrapper: nn.Module) -> str:
    """An operator in words, with the layer of its first call where the stack of `torch.export` names one.

    Args:
        operator: as a library names it, such as `aten::_linalg_svd.U` or `_linalg_svd`.
        nodes: of the exported program.
        wrapper: the module that was exported, which holds the model.
    """
    name = bare(operator)
    for node in nodes:
        target = node.target if isinstance(node.target, OpOverload) else getattr(node.target, "_op", node.target)
        if node.op == "call_function" and bare(str(target)) == name:
            layer = layer_of(node, wrapper)
            return f"operator {name} of layer {layer}" if layer else f"operator {name}"
    return f"operator {name}"


def layer_of(node: Node, wrapper: nn.Module) -> str:
    """The innermost module in which a node is computed, as the model names it; empty where that is not known."""
    modules = dict(wrapper.named_modules())
    paths = [str(path) for path, *_ in (node.meta.get("nn_module_stack") or {}).values()]
    known = [path for path in paths if modules.get(path) is not None and path]
    model = next((name for name, _ in wrapper.named_children()), "")
    return known[-1].removeprefix(f"{model}.") if known and known[-1] != model else ""


def bare(operator: str) -> str:
    """An operator without namespace and overload.

    Example:
        >>> bare("aten::_linalg_svd.U"), bare("aten._linalg_svd.default"), bare("_linalg_svd")
        ('_linalg_svd', '_linalg_svd', '_linalg_svd')
    """
    parts = operator.replace("::", ".").split(".")
    return parts[0] if len(parts) == 1 else parts[1]
