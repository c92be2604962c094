"""Readers: layers that read a coupling's groups as inputs.

Each is seen as one matrix (outputs, columns) whatever its layout.

| layer | its matrix | a row of inputs |
|---|---|---|
| `torch.nn.Linear` | the weight (out, in) | a position's features |
| `Conv1D` of transformers (GPT-2) | the weight (in, out), transposed | a position's features |
| `torch.nn.Conv2d` | the weight (out, in · height · width) | a patch under the kernel |
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tprune.core.coupling import Role, View
from tprune.support.errors import InputError


class Reader(Protocol):
    """How one kind of layer is seen as a matrix."""

    @property
    def axis(self) -> int:
        """The axis of its weight that its inputs lie along."""
        ...

    def matrix(self, weight: Tensor) -> Tensor:
        """(outputs, columns), of the weight or of anything shaped like it; shares its memory."""
        ...

    def rows(self, module: Any, given: Tensor, real: Tensor) -> Tensor:
        """What the columns are multiplied with: (rows, columns), of the positions that count.

        Raises `InputError` for other shapes.
        """
        ...


class _Features:
    """Layers that read the last axis of (batch, positions, features)."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def matrix(self, weight: Tensor) -> Tensor:
        return weight if self.axis == 1 else weight.T

    def rows(self, module: Any, given: Tensor, real: Tensor) -> Tensor:
        if given.shape[:-1] != real.shape:
            raise InputError(f"its inputs have shape {tuple(given.shape)}, expected {tuple(real.shape)} tokens")
        return given[real]


class _Patches:
    """Convolutions over images (batch, channels, height, width)."""

    axis = 1

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.flatten(1)

    def rows(self, module: Any, given: Tensor, real: Tensor) -> Tensor:
        if given.ndim != 4 or real.shape != given.shape[:1]:
            raise InputError(f"its inputs have shape {tuple(given.shape)}, expected images of a batch of {len(real)}")
        patches = F.unfold(given[real], module.kernel_size, module.dilation, module.padding, module.stride)
        return patches.transpose(1, 2).flatten(0, 1)


LINEAR, TRANSPOSED, PATCHES = _Features(1), _Features(0), _Patches()


def layer(model: nn.Module, param: str) -> Any:
    """The module that a weight belongs to.

    Args:
        model: holds the layer.
        param: the name of its weight.
    """
    return model.get_submodule(param.removesuffix(".weight"))


def reader_of(module: nn.Module) -> Reader | None:
    """How a layer is seen as a matrix; None for layers that are not.

    Args:
        module: any layer.
    """
    if isinstance(module, nn.Linear):
        return LINEAR
    if isinstance(module, Conv1D):
        return TRANSPOSED
    plain = isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"
    return PATCHES if plain and not isinstance(module.padding, str) else None


def matrix_of(model: nn.Module, param: str) -> Tensor:
    """The weight of a reader as a matrix (outputs, columns). Raises `InputError` for a layer that is none.

    Args:
        model: holds the layer.
        param: the name of its weight.
    """
    module = layer(model, param)
    reader = reader_of(module)
    if reader is None:
        raise InputError(
            f"{param}: a {type(module).__name__} is not seen as a matrix; expected a linear or a convolution"
        )
    return reader.matrix(module.weight)


def columns(model: nn.Module, view: View) -> Tensor | None:
    """The flat group of every column of a reader, or None where the view's groups are no columns that a layer reads.

    Args:
        model: holds the layer.
        view: of the layer's weight.
    """
    if view.role is not Role.CONSUMER or view.part is not None or not view.param.endswith(".weight"):
        return None
    module = layer(model, view.param)
    reader = reader_of(module)
    if reader is None:
        return None
    layout = view.structure.layout(tuple(module.weight.shape))
    if not layout.right or not set(layout.right) <= set(layout.axes[reader.axis]):
        return None
    return reader.matrix(layout.index())[0]


@torch.no_grad()
def write_(model: nn.Module, param: str, matrix: Tensor, bias: Tensor | None) -> None:
    """Sets weight and bias of a reader, in place.

    Args:
        model: holds the layer, which is changed.
        param: the name of its weight.
        matrix: the new weight, (outputs, columns).
        bias: the new bias; None leaves it as it is.
    """
    module = layer(model, param)
    matrix_of(model, param).copy_(matrix)
    if bias is not None:
        module.bias.copy_(bias)
