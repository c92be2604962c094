"""A model that computes in PyTorch what its int8 export computes: matrices and what they multiply are rounded.

Weights are rounded by the very function that writes the files (`tprune.runtimes.onnxruntime.rounding.per_row`): one
scale an output, symmetric; of a product with room for the sum of two neighbours. What a product multiplies is rounded
to 8 bits with one scale, from its least to its largest value and 0, as `DynamicQuantizeLinear` does. Convolutions round
their kernels alone.

Where it differs from the export: one scale serves one example (an export's serves a batch, so this is batch 1); padding
belongs to the example. In the decoder of a model that translates one scale serves one position, as in steps of batch 1;
a language model's steps are rounded like its prompt, by the sequence. An encoder's table of positions is rounded like
other embeddings, where the export slices it and leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tprune.core.precision import Precision
from tprune.core.task import Task
from tprune.families.graphs.graph import skeleton_of
from tprune.runtimes.onnxruntime.rounding import per_row
from tprune.runtimes.products import Use
from tprune.runtimes.roundable import Roundable, roundable, uses_of
from tprune.scores.calibration import of_source

LEVELS = 255  # steps between the least and the largest value


@contextmanager
def rounded(model: Any, matrices: Iterable[Roundable] | None = None, task: Task | None = None) -> Iterator[None]:
    """Inside the block a model computes with these matrices in int8; afterwards it is as it was.

    Args:
        model: dense or pruned.
        matrices: of `roundable(model)`; all of them if not given.
        task: what the model is for; its own if not given.
    """
    chosen = roundable(model, task) if matrices is None else matrices
    names, uses = [name for one in chosen for name in one.names], uses_of(model)
    steps = _stepwise(model, names)
    tensors = dict(model.named_parameters())
    owners = _owners(model)
    with ExitStack() as stack:
        for name in names:
            found = Integers.of(tensors[name], owners[name])
            if uses[name] == Use.MULTIPLIED | Use.LOOKED_UP and skeleton_of(model).searched:
                stack.enter_context(found.looked_up_in(model.get_encoder()))
            stack.enter_context(found.replaced(Use.MULTIPLIED in uses[name]))
            for module in owners[name]:
                if isinstance(module, nn.Linear | Conv1D):
                    handle = module.register_forward_pre_hook(_rounding(steps=name in steps))
                    stack.callback(handle.remove)
        yield


@contextmanager
def rounded_as(
    model: Any, precision: Precision | None, matrices: Iterable[Roundable], task: Task | None = None
) -> Iterator[None]:
    """Inside the block a model computes as int8 with these exceptions does; as it is where there is no precision.

    Args:
        model: dense or pruned.
        precision: int8, with weights that stay fp32.
        matrices: of `roundable(model)`.
        task: what the model is for; its own if not given.
    """
    if precision is None:
        yield
        return
    with rounded(model, [one for one in matrices if not set(one.names) & set(precision.exceptions)], task):
        yield


@torch.no_grad()
def round_inputs(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """A tensor rounded to 8 bits and back, with a scale and a zero point over these dimensions.

    `q = clip(round(x / s) + z, 0, 255)` with `s = (max(x, 0) − min(x, 0)) / 255` and `z = round(−min(x, 0) / s)`.

    Args:
        x: any shape.
        dims: over which the least and the largest value are taken.

    Example:
        >>> round_inputs(torch.tensor([[-1.0, 0.1, 1.55]]), (1,))
        tensor([[-1.0000,  0.1000,  1.5500]])
    """
    low, high = x.amin(dims, keepdim=True).clamp(max=0), x.amax(dims, keepdim=True).clamp(min=0)
    scale = (high - low) / LEVELS
    scale = torch.where(scale == 0, 1, scale)
    zero = (-low / scale).round().clamp(0, LEVELS)
    return ((x / scale).round().add(zero).clamp(0, LEVELS) - zero) * scale


def _rounding(steps: bool) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *rest = given
        dims = (x.ndim - 1,) if steps else tuple(range(min(1, x.ndim - 1), x.ndim))
        return (round_inputs(x, dims), *rest)

    return hook


def _stepwise(model: Any, names: Iterable[str]) -> frozenset[str]:
    """The matrices of which each position is computed by itself: a decoder's, where the model translates."""
    return frozenset(names) - of_source(model, names) if skeleton_of(model).searched else frozenset()


def _owners(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules that hold each parameter as their weight, by its first name."""
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, list[nn.Module]] = {}
    for module in model.modules():
        if (name := first.get(id(getattr(module, "weight", None)))) is not None:
            found.setdefault(name, []).append(module)
    return found


@dataclass(frozen=True)
class Integers:
    """A weight as it was, and with what its integers stand for: as a factor of products, and where it is looked up."""

    weight: Tensor
    before: Tensor
    factor: Tensor
    rows: Tensor

    @staticmethod
    def of(weight: Tensor, owners: Iterable[nn.Module]) -> Integers:
        """Rounds a copy of a weight, whose owners say which axis is that of its outputs."""
        before, turned = weight.detach().clone(), any(isinstance(module, Conv1D) for module in owners)
        return Integers(weight, before, _back(before, turned, True), _back(before, turned, False))

    @contextmanager
    def replaced(self, multiplied: bool) -> Iterator[None]:
        """Inside the block the weight holds what its integers stand for."""
        self.weight.data.copy_(self.factor if multiplied else self.rows)
        try:
            yield
        finally:
            self.weight.data.copy_(self.before)

    @contextmanager
    def looked_up_in(self, encoder: nn.Module) -> Iterator[None]:
        """Inside the block an encoder, whose graph multiplies by nothing tied, looks up what needs no room for sums."""
        first = encoder.register_forward_pre_hook(self._holding(self.rows))
        last = encoder.register_forward_hook(self._holding(self.factor))
        try:
            yield
        finally:
            first.remove()
            last.remove()

    def _holding(self, values: Tensor) -> Callable[..., None]:
        def hold(*_: object) -> None:
            self.weight.data.copy_(values)

        return hold


def _back(weight: Tensor, turned: bool, multiplied: bool) -> Tensor:
    """A weight rounded to integers and back."""
    integers, scales = per_row((weight.T if turned else weight).float().cpu().numpy(), pairs=multiplied)
    back = torch.tensor(integers).to(weight) * torch.tensor(scales).to(weight).view(-1, *[1] * (weight.ndim - 1))
    return back.T if turned else back
