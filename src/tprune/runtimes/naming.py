"""What the constants of an exported graph are called in the model."""

from __future__ import annotations

import hashlib
from typing import Any

from torch import nn

from tprune.families.graphs.origins import origins
from tprune.runtimes.products import Names


def naming(module: nn.Module) -> Names:
    """The parameters that a constant of a graph's file is made of.

    The exporter keeps the names of the tensors of the graph's module, but not of those that it transposes; these are
    known by their values. A constant that is made of no parameter has its own name.

    Args:
        module: of the graph.
    """
    known = origins(module)
    contents: dict[str, tuple[str, ...]] = {}
    for origin in known.values():
        if origin.tensor.ndim > 1:
            value = origin.tensor.cpu().numpy()
            for each in (value, value.T):
                content = _content(each)
                contents[content] = tuple(dict.fromkeys([*contents.get(content, ()), *origin.parameters]))

    def names(name: str, value: Any) -> tuple[str, ...]:
        found = known[name].parameters if name in known else contents.get(_content(value), ())
        return found or (name,)

    return names


def _content(value: Any) -> str:
    return f"{value.shape} {value.dtype} {hashlib.sha1(value.tobytes()).hexdigest()}"
