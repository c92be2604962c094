"""What is ranked against the ground truth in `damage.py`; more always means that more harm is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.analysis.damage import KINDS, Batch
from benchmarks.analysis.ranking import ranked
from tprune.analysis import Analysis
from tprune.analysis.ablation import without_smallest
from tprune.core.coupling import Groups, bind
from tprune.core.labels import label_loss
from tprune.families.registry import couplings

Table = dict[str, dict[str, float]]


@torch.no_grad()
def from_norms(model: Any) -> Table:
    """Free of data: what the groups that go hold of the coupling's squared norms, their norms, and their size."""
    share, norm, size = {}, {}, {}
    for groups in bind(couplings(model, KINDS), model):
        name, gone = groups.coupling.name, ~without_smallest(groups.norms)
        squares = groups.norms.double().square()
        share[name] = float(squares[gone].sum() / squares.sum())
        norm[name] = float(squares[gone].sum().sqrt())
        size[name] = float(groups.sizes[gone].sum())
    return {"norm share": share, "norm": norm, "parameters": size}


def combined(*tables: dict[str, float]) -> dict[str, float]:
    """The mean rank over several predictors."""
    ranks = [dict(zip(table, ranked(list(table.values())), strict=True)) for table in tables]
    return {name: sum(r[name] for r in ranks) for name in ranks[0]}


def from_gradients(model: Any, batches: Sequence[Batch]) -> Table:
    """First order, `Σ_groups |Σ_e g_e w_e|` of the groups that go, per batch and on average.

    And `(Σ_e g_e w_e)²` per batch.
    """
    bound = bind(couplings(model, KINDS), model)
    taylor = {g.coupling.name: 0.0 for g in bound}
    fisher = dict(taylor)
    for batch in batches:
        model.zero_grad()
        torch.autograd.backward(label_loss(model(**batch).logits, batch["labels"]))
        for groups in bound:
            slopes = _slopes(groups)[~without_smallest(groups.norms.detach())]
            taylor[groups.coupling.name] += float(slopes.abs().sum()) / len(batches)
            fisher[groups.coupling.name] += float(slopes.square().sum()) / len(batches)
    model.zero_grad(set_to_none=True)
    return {"Taylor": taylor, "Fisher": fisher}


def _slopes(groups: Groups) -> torch.Tensor:
    """`Σ_{e in g} ∂L/∂w_e · w_e` for every group: what scaling the group by 1 + ε adds to the loss, over ε."""
    total = torch.zeros(groups.shape, dtype=torch.float64)
    for view, _ in groups.members:
        weight = groups.tensors[view.param]
        if weight.grad is None:
            continue
        product = (view.of(weight.grad) * view.of(weight)).detach().double()
        index = view.structure.layout(tuple(product.shape)).index().flatten()
        total += (
            torch.zeros(total.numel(), dtype=torch.float64).index_add_(0, index, product.flatten()).view(groups.shape)
        )
    return total


def from_analysis(found: Analysis) -> Table:
    """BSSL: what it left at the end and along the path."""
    shown = [c for c in found.components if c.kind in KINDS]
    table = {
        "zero, last": {c.name: -c.zero for c in shown},
        "shrunk, area": {c.name: -c.area for c in shown},
    }
    for i, point in enumerate(found.path):
        table[f"shrunk, {point.strength:g}"] = {c.name: -c.path[i].shrunk for c in shown}
    return table


@torch.no_grad()
def permuted_(model: Any, seed: int = 0) -> Any:
    """Shuffles the entries of every matrix in the layers, in place: the same values, none of what was learnt."""
    random = torch.Generator().manual_seed(seed)
    for name in {param for c in couplings(model, KINDS) for param in c.params}:
        weight = dict(model.named_parameters())[name]
        if weight.ndim == 2:
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=random)].reshape(weight.shape))
    return model
