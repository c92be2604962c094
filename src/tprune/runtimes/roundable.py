"""The matrices of a model that an export in another precision rounds, by the names of the model's parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from transformers.pytorch_utils import Conv1D

from tprune.core.known_tasks import task_of
from tprune.core.precision import Precision
from tprune.core.task import Task
from tprune.families.graphs.graph import skeleton_of
from tprune.families.graphs.origins import first_names_in, origins
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.products import Use


@dataclass(frozen=True)
class Roundable:
    """A matrix that is rounded, or the matrices of one product (queries, keys and values), which are rounded together.

    Attributes:
        names: of the parameters; of one that has several, the first.
        use: what is done with it.
    """

    names: tuple[str, ...]
    use: Use


def uses_of(model: nn.Module) -> dict[str, Use]:
    """What a model does with each of its matrices, by the first name of the parameter.

    Linear maps multiply, embeddings are looked rows up in, convolutions convolve; other parameters are left out.

    Args:
        model: any module; it may hold no values.

    Example:
        >>> uses_of(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)))
        {'0.weight': <Use.LOOKED_UP: 2>, '1.weight': <Use.MULTIPLIED: 1>}
    """
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, Use] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if (use := _use(module)) is not None and id(weight) in first:
            name = first[id(weight)]
            found[name] = found.get(name, use) | use
    return found


def rows_of(model: nn.Module) -> dict[str, int]:
    """How many outputs each matrix of `uses_of` has: a scale is stored for each."""
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, int] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if _use(module) is not None and isinstance(weight, Tensor) and id(weight) in first:
            found[first[id(weight)]] = int(weight.shape[1 if isinstance(module, Conv1D) else 0])
    return found


def roundable(model: Any, task: Task | None = None) -> tuple[Roundable, ...]:
    """The matrices of a model, those of one product together, in the model's order.

    Of an encoder's table of positions that a graph slices nothing is rounded; it is among these all the same.

    Args:
        model: dense or pruned; it is left as it was.
        task: what the model is for; its own if not given.

    Raises:
        InputError: the model has no graphs.
    """
    uses, groups = uses_of(model), dict[str, tuple[str, ...]]()
    for names in _products(model, task):
        known = tuple(dict.fromkeys(each for name in names for each in groups.get(name, (name,))))
        groups |= dict.fromkeys(known, known)
    together = dict.fromkeys(tuple(n for n in groups.get(name, (name,)) if n in uses) for name in uses)
    return tuple(Roundable(names, _all(uses, names)) for names in together)


def whole_products(model: Any, names: Iterable[str], task: Task | None = None) -> tuple[str, ...]:
    """These weights and those that share a product with one of them, which stay fp32 together.

    Args:
        model: dense or pruned.
        names: of weights, by any of their names.
        task: what the model is for; its own if not given.

    Raises:
        InputError: the model has no weight of a name.
    """
    named = first_names_in(model, names)
    return tuple(sorted({n for one in roundable(model, task) if named & set(one.names) for n in one.names} | named))


def rounded_in(model: nn.Module, precision: Precision) -> frozenset[str]:
    """The matrices of `uses_of` that a precision rounds: all but its exceptions."""
    if precision.exact:
        return frozenset()
    return frozenset(uses_of(model)) - first_names_in(model, precision.exceptions)


def _use(module: nn.Module) -> Use | None:
    if isinstance(module, nn.Linear | Conv1D):
        return Use.MULTIPLIED
    if isinstance(module, nn.Embedding):
        return Use.LOOKED_UP
    return Use.CONVOLVED if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd) else None


def _all(uses: Mapping[str, Use], names: Iterable[str]) -> Use:
    found = Use(0)
    for name in names:
        found |= uses[name]
    return found


def _products(model: Any, task: Task | None) -> Iterator[tuple[str, ...]]:
    """The parameters of every tensor of the graphs that is made of several."""
    asked, skeleton = task or task_of(model), skeleton_of(model)
    plain = model
    if {p.dtype for p in model.parameters()} != {torch.float32}:
        plain = copy.deepcopy(model).float()
    inputs = asked.prompt(asked.random(plain))
    for graph in skeleton.graphs(plain, asked, inputs, ONNXRUNTIME.dialect):
        for origin in origins(graph.module).values():
            if origin.tensor.ndim > 1 and len(origin.parameters) > 1:
                yield origin.parameters
