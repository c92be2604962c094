"""Masked: pruned groups are zero in every member; sizes stay. The reference that every other realisation must agree with."""

from __future__ import annotations

import copy

from torch import nn

from tprune.core.plan import Plan


def mask_(model: nn.Module, plan: Plan) -> None:
    """Zeroes all members (biases too) of the groups that the plan does not keep, in place."""
    for entry, groups in zip(plan.entries, plan.bind(model), strict=True):
        if entry.kept is not None:
            groups.scale_(entry.keep.float())


def masked(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of the model with the plan's pruned groups zeroed."""
    twin = copy.deepcopy(model)
    mask_(twin, plan)
    return twin
