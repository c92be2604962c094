"""What the tensors of a graph are called in the model that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tprune.support.errors import InputError


@dataclass(frozen=True)
class Origin:
    """A tensor of a graph's module, and the parameters of the model that it is made of (none for a buffer)."""

    tensor: Tensor
    parameters: tuple[str, ...]


def model_of(module: nn.Module) -> nn.Module:
    """The model whose submodules a graph's module calls; the module itself where it holds none."""
    model: Any = getattr(module, "model", module)
    return model if isinstance(model, nn.Module) else module


def origins(module: nn.Module) -> Mapping[str, Origin]:
    """The origin of each parameter and buffer of a graph's module, by its name there.

    A parameter has the first of its names in the model. Submodules that make new tensors from parameters say so in
    `made_of`: which of their own tensors is made of which others, by names relative to them.

    Args:
        module: of a graph.
    """
    first = {id(tensor): name for name, tensor in model_of(module).named_parameters()}
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    parts = _made_of(module)

    def parameters(name: str) -> tuple[str, ...]:
        sources = parts.get(name, (name,))
        return tuple(dict.fromkeys(first[id(tensors[each])] for each in sources if id(tensors[each]) in first))

    return {name: Origin(tensor.detach(), parameters(name)) for name, tensor in tensors.items()}


def _made_of(module: nn.Module) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for prefix, part in module.named_modules():
        start = f"{prefix}." if prefix else ""
        made: Mapping[str, tuple[str, ...]] = getattr(part, "made_of", {})
        found |= {start + name: tuple(start + source for source in sources) for name, sources in made.items()}
    return found


def first_names(module: nn.Module, names: Iterable[str]) -> frozenset[str]:
    """Parameters of the model of a graph's module by their first names; see `first_names_in`."""
    return first_names_in(model_of(module), names)


def first_names_in(model: nn.Module, names: Iterable[str]) -> frozenset[str]:
    """Parameters of a model by their first names; one that is tied has several.

    Args:
        model: any module.
        names: of its parameters.

    Raises:
        InputError: the model has no parameter of a name.
    """
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    every = {name: first[id(tensor)] for name, tensor in model.named_parameters(remove_duplicate=False)}
    if unknown := sorted(set(names) - set(every)):
        some = ", ".join(list(every)[:3])
        raise InputError(f"no parameter is called {unknown[0]!r}; expected names as in the model, such as {some}")
    return frozenset(every[name] for name in names)
