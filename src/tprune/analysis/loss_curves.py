"""Sensitivity: how much loss each coupling adds when it alone keeps fewer groups, measured on calibration sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tprune.core.curves import Curve, never_less, sizes_to_try
from tprune.core.plan import Plan
from tprune.core.selection import Limits, keep_best


@torch.no_grad()
def sensitivities(
    model: nn.Module, plan: Plan, loss: Callable[[nn.Module], float], limits: Limits, shares: Sequence[float] | None = None
) -> tuple[Curve, ...]:  # fmt: skip
    """For every coupling of a plan: mask it alone to each share of its groups (the largest norms stay), read the loss, restore.

    Args:
        model: the dense model; as it was when this returns.
        plan: its couplings.
        loss: of a model on calibration data, in nats per token; deterministic.
        limits: multiples and floor that the numbers of groups respect.
        shares: how much to try to keep; 1 is what everything is compared with. If not given `SHARES`, or what `FEWER` says of the
            kind: every size is a pass over the data.

    Raises:
        InputError: a loss is not finite.
    """
    whole = loss(model)
    curves = []
    for groups in plan.bind(model):
        norms = groups.norms.detach()
        kept = sizes_to_try(groups, limits, shares)
        before = {param: tensor.detach().clone() for param, tensor in groups.tensors.items()}
        added = []
        for k in kept[:-1]:
            groups.scale_(keep_best(norms, k).to(norms.dtype))
            added.append(loss(model) - whole)
            for param, tensor in groups.tensors.items():
                tensor.copy_(before[param])
        curves.append(Curve(groups.coupling.name, tuple(kept), never_less(added)))
    return tuple(curves)


def token_loss_on(batches: Sequence[dict[str, torch.Tensor]]) -> Callable[[Any], float]:
    """The mean negative log-likelihood per target token (nats) over these batches, dropout off."""
    from tprune.core.labels import IGNORED
    from tprune.train.trainer import token_loss, without_labels

    def loss(model: Any) -> float:
        training, device = model.training, next(model.parameters()).device
        model.eval()
        total = count = 0.0
        with torch.no_grad():
            for batch in ({key: value.to(device) for key, value in b.items()} for b in batches):
                tokens = int((batch["labels"] != IGNORED).sum())
                total += tokens * float(token_loss(model(**without_labels(model, batch)).logits, batch["labels"]))
                count += tokens
        model.train(training)
        return total / count

    return loss
