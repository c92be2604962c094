"""Masks from the diagonal Fisher information under a budget of time, rearranged within layers, without training."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from benchmarks.peers.job import Job, Made, cut, empty_plan, if_off
from benchmarks.peers.masks import calibration_gradients
from tprune.budget.latency import select_within
from tprune.core.curves import Curve
from tprune.core.selection import Limits, keep_best


def fisher(job: Job) -> Made:
    """Kwon et al., A fast post-training pruning framework for Transformers, 2022: mask search and rearrangement.

    The search minimises `½ Σ_cut E_x (∂L(x)/∂m)²` under the latency table; the paper's greedy search is for costs that
    are the same everywhere, here it is solved by dynamic programming. The third step, mask tuning by least squares, is
    left out: recovery trains all weights.
    """
    plan = empty_plan(job.dense)
    gradients, spent = calibration_gradients(job, plan)
    scores = {name: g.square().mean(0) for name, g in gradients.items()}
    kinds = {c.name: c.kind for c in plan.couplings}
    curves = tuple(curve(name, score, kinds[name], job.limits) for name, score in scores.items())
    sized = select_within(job.dense, plan, job.speed.table, curves, job.milliseconds)
    counts = {entry.coupling.name: len(entry.kept or ()) for entry in sized.entries}
    kept = {name: rearranged(gradients[name], keep_best(score, counts[name])) for name, score in scores.items()}
    chosen = plan.with_kept(kept, {}, {})
    speedup = job.speed.of_plan(chosen)
    chosen = dataclasses.replace(chosen, asked={"speedup": job.target}, reached={"speedup": speedup})
    return cut(job, job.dense, chosen, spent, "no mask tuning", *if_off(job, speedup, "the search left time unused"))


def curve(name: str, scores: Tensor, kind: str, limits: Limits) -> Curve:
    """The loss that cutting the least important groups adds, by how many are kept."""
    groups = len(scores)
    kept = sorted({limits.round(float(k), groups, kind, name) for k in range(groups + 1)})
    added = torch.cat([torch.zeros(1), scores.sort().values.cumsum(0)]) / 2
    return Curve(name, tuple(kept), tuple(float(added[groups - k]) for k in kept))


def rearranged(gradients: Tensor, keep: Tensor) -> Tensor:
    """As many groups, exchanged one by one (once each) where that lowers `Σ_x (Σ_cut ∂L(x)/∂m)²`, the layer's block of
    the Fisher matrix.

    Example:
        >>> g = torch.tensor([[1.0, 1.0, -1.2]])  # cutting 0 and 1 adds up; 0 and 2 nearly cancel
        >>> rearranged(g, torch.tensor([False, False, True]))
        tensor([False,  True, False])
    """
    keep, squares = keep.clone(), gradients.square().sum(0)
    together = gradients[:, ~keep].sum(1)
    for i in (~keep).nonzero().flatten().tolist():
        others = together - gradients[:, i]
        added = squares + 2 * others @ gradients  # of cutting each instead of i, beyond ‖others‖²
        added[~keep] = torch.inf  # is cut already
        best = int(added.argmin())
        if added[best] < squares[i] + 2 * others @ gradients[:, i]:
            keep[i], keep[best] = True, False
            together = others + gradients[:, best]
    return keep
