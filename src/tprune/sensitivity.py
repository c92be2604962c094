"""Sensitivity: how much loss each coupling adds when it alone keeps fewer groups, measured on calibration sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tprune.coupling import Groups
from tprune.errors import InputError
from tprune.plan import Plan
from tprune.select import Limits, keep_best, lines_of

SHARES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0)
QUARTERS = (1.0, 0.75, 0.5, 0.25)  # of dimensions in heads: there are many, and each size is a pass over the sentences
WIDTHS = (1.0, 0.875, 0.75, 0.625, 0.5)  # of the residual: with less of it nothing works
FEWER: Mapping[str, Sequence[float]] = {"qk": QUARTERS, "vo": QUARTERS, "width": WIDTHS}


@dataclass(frozen=True)
class Curve:
    """One coupling: the numbers of groups (lines per head where it is balanced) it may keep, fewest first, and the loss
    each adds (nats per token, never less for fewer)."""

    name: str
    kept: tuple[int, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(math.isfinite(loss) for loss in self.losses):
            raise InputError(f"{self.name}: the loss is not finite for some numbers of groups: {self.losses}")

    def loss_at(self, lines: int) -> float:
        """The loss added at one of the numbers in `kept`."""
        return self.losses[self.kept.index(lines)]


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


def sizes_to_try(groups: Groups, limits: Limits, shares: Sequence[float] | None = None) -> list[int]:
    """The numbers of lines of a coupling to measure, fewest first, all of them last; see `sensitivities`."""
    kind, lines = groups.coupling.kind, lines_of(groups.norms)
    tried = FEWER.get(kind, SHARES) if shares is None else shares
    return sorted({limits.round(share * lines, lines, kind) for share in (*tried, 1.0)})


def never_less(added: Sequence[float]) -> tuple[float, ...]:
    """Measured losses, fewest groups first, and 0 for all: fewer groups never cost less, what looks like a gain is noise."""
    steady = np.maximum.accumulate(np.maximum([*added, 0.0], 0.0)[::-1])[::-1]
    return tuple(float(x) for x in steady)


def token_loss_on(batches: Sequence[dict[str, torch.Tensor]]) -> Callable[[Any], float]:
    """The mean negative log-likelihood per target token (nats) over these batches, dropout off."""
    from tprune.tasks.translation import IGNORED
    from tprune.train import token_loss, without_labels

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
