"""What all checks share: random weights in place of initial ones, and how far two results are apart."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.coupling import tensors_of

TOLERANCE = 1e-10


@torch.no_grad()
@torch.no_grad()
def randomise_(model: nn.Module, seed: int = 0) -> None:
    """Gives all that initialisation leaves at 0 or 1 (biases, norms, logit biases, running statistics) random values.

    Fresh models hide every mistake about biases and norms. Vectors called `weight` (norms) and running variances lie
    in 0.5 to 1.5, away from 0; linear maps get a spread of 1/√inputs, so that attention is not nearly uniform.

    Args:
        model: is changed in place.
        seed: of the random values.

    Example:
        >>> norm = nn.LayerNorm(3)
        >>> randomise_(norm)
        >>> bool((norm.bias != 0).all() and (norm.weight >= 0.5).all())
        True
    """
    random = torch.Generator().manual_seed(seed)
    scaled = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    parameters = {id(parameter) for parameter in model.parameters()}
    saved = model.state_dict()  # tensors that are computed, not saved, are no weights
    for name, tensor in {id(t): (n, t) for n, t in tensors_of(model).items() if n in saved}.values():
        if not tensor.is_floating_point() or tensor.ndim == 0 or tensor.numel() == 0:
            continue
        if id(tensor) in scaled and tensor.ndim == 2 and bool(tensor.std() > 0):
            tensor.div_(tensor.std() * tensor.shape[1] ** 0.5)
        elif (tensor.ndim == 1 and id(tensor) in parameters) or bool((tensor == tensor.flatten()[0]).all()):
            noise = torch.rand(tensor.shape, generator=random, dtype=torch.float64)
            positive = tensor.ndim == 1 and name.endswith(("weight", "var"))
            tensor.copy_(noise + 0.5 if positive else 2 * noise - 1)


def in_double(model: Any) -> Any:
    """A copy of a model in double precision, evaluating; grouped products of experts have no such precision.

    Args:
        model: any module.
    """
    twin = copy.deepcopy(model).double().eval()
    if isinstance(twin, PreTrainedModel) and twin.config._experts_implementation is not None:
        twin.set_experts_implementation("eager")
    return twin


def apart(expected: Tensor, got: Tensor) -> float:
    """The largest difference relative to the largest value; infinite where shapes differ or a value is not finite."""
    if expected.ndim and (expected.shape != got.shape or not bool(got.isfinite().all())):
        return float("inf")
    difference = (expected - got).detach().abs().max()
    return float(difference / expected.detach().abs().max().clamp_min(1e-30))


def require(holds: bool, message: str) -> None:
    """Raises `AssertionError` with the message unless it holds."""
    if not holds:
        raise AssertionError(message)
