"""Exact masks while training.

Members of masked groups are zero after every step, and so is what the optimiser remembers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from tprune.core.coupling import Groups, scale_member_


@torch.no_grad()
def mask_(groups: Groups, keep: Tensor, optimizer: Optimizer) -> None:
    """Sets all members of the groups that are not kept to zero, and what the optimiser remembers of their elements.

    Args:
        groups: of one coupling.
        keep: bool, one a group.
        optimizer: whose state is masked where it has the shape of a member; see `unmasked_state` for the rest.
    """
    if bool(keep.all()):
        return
    groups.scale_(keep)
    for member in groups.members:
        weight = groups.tensors[member[0].param]
        for each in moments(optimizer, weight):
            scale_member_(each, member, keep)


def moments(optimizer: Optimizer, weight: Tensor) -> list[Tensor]:
    """The tensors that an optimiser keeps of every element of a weight; its count of steps is none of them."""
    return [value for _, value in _remembered(optimizer, weight) if value.shape == weight.shape]


def unmasked_state(groups: Groups, optimizer: Optimizer) -> str | None:
    """What an optimiser keeps of a member, but not of each of its elements, and that no mask fits.

    None where there is nothing.

    Adafactor keeps means over rows and columns, optimisers in 8 bits keep blocks.
    """
    for param, weight in groups.tensors.items():
        for name, value in _remembered(optimizer, weight):
            if value.shape != weight.shape and value.numel() > 1:
                shapes = f"{name} of shape {tuple(value.shape)} of {param}, which has shape {tuple(weight.shape)}"
                return f"{type(optimizer).__name__} keeps {shapes}"
    return None


def _remembered(optimizer: Optimizer, weight: Tensor) -> list[tuple[str, Tensor]]:
    kept = optimizer.state.get(weight, {})
    return [(name, value) for name, value in kept.items() if isinstance(value, Tensor) and name != "step"]
