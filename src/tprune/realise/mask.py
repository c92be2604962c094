"""Masked: pruned groups are zero in every member; sizes stay.

The reference that every other realisation must agree with.
"""

from __future__ import annotations

import copy

from torch import nn

from tprune.core.family import Silences
from tprune.core.plan import Plan
from tprune.families.registry import FAMILIES


def mask_(model: nn.Module, plan: Plan) -> None:
    """Zeroes all members (biases too) of the groups that the plan does not keep, in place.

    Where zeros are not silent, the family adds what is needed (`tprune.core.family.Silences`).

    Args:
        model: the model that the plan is for.
        plan: after selection; a coupling that says nothing of what is kept is left as it is.

    Example:
        >>> import torch
        >>> from tprune.core.coupling import Coupling, bias, producer
        >>> from tprune.core.plan import make_plan
        >>> net = nn.Sequential(nn.Linear(4, 2))
        >>> rows = Coupling("rows", (producer("0.weight", "u i -> u"), bias("0.bias", "u -> u")))
        >>> plan = make_plan(net, "by hand", [rows]).with_kept({"rows": torch.tensor([True, False])}, {}, {})
        >>> mask_(net, plan)
        >>> net[0].bias[1].item()
        0.0
    """
    for entry, groups in zip(plan.entries, plan.bind(model), strict=True):
        if entry.kept is not None:
            groups.scale_(entry.keep.float())
    family = FAMILIES.get(plan.family)
    if isinstance(family, Silences):
        family.silence_(model, plan)


def masked(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of the model with the plan's pruned groups zeroed."""
    twin = copy.deepcopy(model)
    mask_(twin, plan)
    return twin
