"""What the constants of an exported graph are called in the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from torch import nn

from tprune.families.graphs.origins import origins

Names = Callable[[str, Any], tuple[str, ...]]
"""The parameters that a constant is made of, from its name in the graph and its value; its own name where it is made
of none."""


def naming(module: nn.Module) -> Names:
    """The names of the constants of a graph.

    The exporter keeps the names of the tensors of the graph's module, but not of those that it transposes; these are
    known by their values.

    Args:
        module: of the graph.
    """
    known = origins(module)
    contents: dict[str, tuple[str, ...]] = {}
    for origin in known.values():
        if origin.tensor.ndim > 1:
            value = origin.tensor.cpu().numpy()
            for each in (value, value.T):
                contents.setdefault(_content(each), origin.parameters)

    def names(name: str, value: Any) -> tuple[str, ...]:
        found = known[name].parameters if name in known else contents.get(_content(value), ())
        return found or (name,)

    return names


def _content(value: Any) -> str:
    return f"{value.shape} {hashlib.sha1(value.tobytes()).hexdigest()}"
