"""Loss curves: how much loss each coupling adds when it alone keeps fewer groups, measured on calibration sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tprune.core.curves import Curve, never_less, sizes_to_try
from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.plan import Plan
from tprune.core.selection import Limits, keep_best
from tprune.core.task import Batch, Task
from tprune.support.errors import InputError
from tprune.tasks.one_pass import evaluating


@torch.no_grad()
def sensitivities(
    model: nn.Module,
    plan: Plan,
    loss: Callable[[nn.Module], float],
    limits: Limits,
    shares: Sequence[float] | None = None,
) -> tuple[Curve, ...]:
    """Masks every coupling of a plan alone to each share of its groups, reads the loss, and restores the model.

    The largest norms stay.

    Args:
        model: the dense model; as it was when this returns.
        plan: its couplings.
        loss: of a model on calibration data, in nats per token; deterministic.
        limits: multiples and floor that the numbers of groups respect.
        shares: how much to try to keep; 1 is what everything is compared with. If not given, those of its kind
            (`tprune.core.kinds`): every size is a pass over the data.

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


def token_loss_on(batches: Sequence[Batch], task: Task | None = None) -> Callable[[Any], float]:
    """The mean loss of an output (nats; of translations, of a target token) over these batches, dropout off.

    The loss raises `InputError` where no output of the batches counts.
    """

    def loss(model: Any) -> float:
        asked, device = task or task_of(model), next(model.parameters()).device
        total = count = 0.0
        with evaluating(model):
            for batch in ({key: value.to(device) for key, value in b.items()} for b in batches):
                outputs = int((asked.labels(batch) != IGNORED).sum())
                total += outputs * float(asked.loss(asked.run(model, batch).logits, batch))
                count += outputs
        if not count:
            raise InputError("no label of the data counts; expected some that are not left out of the loss")
        return total / count

    return loss
