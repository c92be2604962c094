"""Ablation loss: the loss that the dense model adds at once when one coupling loses its smallest groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tprune.analysis.record import Analysis
from tprune.core.coupling import Coupling, Groups, bind
from tprune.core.selection import keep_best, lines_of

SHARE = 0.3


def without_smallest(norms: Tensor, share: float = SHARE) -> Tensor:
    """The keep mask without the `share` of groups with the smallest norms.

    At least one goes, equally many of every head.

    Example:
        >>> without_smallest(torch.tensor([3.0, 1.0, 2.0]))
        tensor([ True, False,  True])
    """
    lines = lines_of(norms)
    return keep_best(norms, lines - max(1, round(share * lines)))


@contextmanager
def masked(groups: Groups, keep: Tensor) -> Iterator[None]:
    """Groups that are not kept are zero inside the block; the weights are as before after it."""
    before = {name: tensor.detach().clone() for name, tensor in groups.tensors.items()}
    groups.scale_(keep.to(groups.norms.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in groups.tensors.items():
                tensor.copy_(before[name])


@torch.no_grad()
def ablation_losses(
    model: Any, couplings: Sequence[Coupling], loss: Callable[[Any], float], share: float = SHARE
) -> dict[str, float]:
    """For every coupling `L(model without its smallest groups) − L(model)`, in nats per token.

    Args:
        model: the dense model; as it was when this returns.
        couplings: cut one at a time.
        loss: of a model on calibration sentences; deterministic.
        share: of the groups that go.
    """
    whole, found = loss(model), {}
    for groups in bind(couplings, model):
        with masked(groups, without_smallest(groups.norms, share)):
            found[groups.coupling.name] = loss(model) - whole
    return found


def with_ablation_losses(
    analysis: Analysis, model: Any, couplings: Sequence[Coupling], loss: Callable[[Any], float]
) -> Analysis:
    """The analysis with the ablation losses of these couplings; see `ablation_losses`."""
    found = ablation_losses(model, couplings, loss)
    changed = (replace(c, ablation_loss=round(found[c.name], 6)) if c.name in found else c for c in analysis.components)
    return replace(analysis, components=tuple(changed))
