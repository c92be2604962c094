"""Sparsity that an ordinary runtime cannot use: single weights (DeepHoyer), and rows of column blocks (reweighted group
lasso).

Both zero the share of the prunable weights that one-shot magnitude removes at the speed asked for. The matrices keep
their size, so the speed stays at 1: what is compared is the quality of finer patterns at equal sparsity.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.peers.job import Job, Made, Recovery, empty_plan, select_to_speed, train_while_pruning
from benchmarks.peers.ranked import Ranked
from tprune.core.coupling import Coupling, Groups, View, producer, tensors_of
from tprune.core.method import Method, State, Update
from tprune.core.plan import Mode, make_plan
from tprune.core.selection import Limits, Uniform
from tprune.costs.size import norm_scores
from tprune.families.registry import couplings, family_of
from tprune.methods.hoyer_square import HoyerSquare
from tprune.methods.regulariser import Regulariser
from tprune.realise.mask import masked

ELEMENT_STRENGTH = 5e-6  # λ of λ (Σ |w|)² / Σ w² of each matrix
BLOCK_STRENGTH = 1e-3  # λ of λ Σ a_g n_g
BLOCK = 16  # columns


@dataclass(frozen=True)
class Reweighted:
    """`R = Σ_g a_g n_g`, with `a_g = m / (n_g + m / 10)` taken anew every so many steps and m the mean norm.

    Groups that are small already are pulled harder. References: Candès, Wakin and Boyd, 2008; Li et al., Efficient
    Transformer-based large scale language representations using hardware-friendly block structured pruning, 2020.
    """

    every: int = 25

    def init(self, groups: Groups) -> State:
        """The weights a_g, all 1."""
        return {"weights": torch.ones_like(groups.norms)}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """Value and slopes; new weights now and then."""
        norms, weights = groups.norms, state["weights"].to(groups.norms.device)
        if step % self.every == 0:
            mean = norms.mean().clamp_min(torch.finfo(norms.dtype).tiny)
            weights = mean / (norms + mean / 10)
        return Update((weights * norms).sum(), weights), {"weights": weights}


def deep_hoyer(job: Job) -> Made:
    """Yang, Wen and Li, DeepHoyer, 2020: Hoyer-square on single weights, then a threshold over all matrices."""
    return _zeroed(job, lambda param: producer(param, "o i -> o i"), HoyerSquare(), ELEMENT_STRENGTH)


def block_lasso(job: Job) -> Made:
    """Reweighted group lasso on the rows of each block of 16 columns, then a threshold over all matrices."""
    return _zeroed(job, lambda param: producer(param, "o (C c) -> o C", c=BLOCK), Reweighted(), BLOCK_STRENGTH)


def _zeroed(job: Job, view: Callable[[str], View], method: Method, strength: float) -> Made:
    twin = copy.deepcopy(job.dense)
    matrices = dict.fromkeys(v.param for c in couplings(twin, ("lines",)) for v in c.views)
    groups = [Coupling(f"{param}.groups", (view(param),), closed=False, kind="groups") for param in matrices]
    plan = make_plan(twin, family_of(twin).name, groups, method=method, mode=Mode.GRADIENT, strengths=strength)
    spent = train_while_pruning(job, twin, Regulariser(twin, plan, ramp=max(1, job.pruning_steps // 10)))
    share = kept_by_magnitude(job)
    kept = Ranked(Limits(floor=0.0))(
        {name: norms.flatten() for name, norms in norm_scores(twin, plan).items()},
        {c.name: "lines" for c in groups},
        share,
    )
    kept = {e.coupling.name: kept[e.coupling.name].reshape(e.groups) for e in plan.entries}
    model = masked(twin, plan.with_kept(kept, {}, {})).eval()
    note = (
        f"{1 - share:.1%} of the weights are zero; granularity: finer than an ordinary runtime can leave out, so 1.0x"
    )
    return Made(model, 1.0, spent, notes=(note,))


def kept_by_magnitude(job: Job) -> float:
    """The share of the weights of heads and FFNs that one-shot magnitude keeps at the speed asked for."""
    plan = empty_plan(job.dense)
    chosen = select_to_speed(job, plan, norm_scores(job.dense, plan), Uniform(job.limits))
    whole = left = 0.0
    for entry, groups in zip(chosen.entries, chosen.bind(job.dense), strict=True):
        whole += float(groups.sizes.sum())
        left += float((groups.sizes * entry.keep).sum())
    return left / whole


class StayZero(TrainerCallback):
    """Weights of matrices that are zero when training begins, or goes on, are zero after every step."""

    def __init__(self) -> None:
        self.masks: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Notes where the zeros are."""
        tensors = tensors_of(model)
        params = {v.param for c in couplings(model, ("lines",)) for v in c.views}
        self.masks = {param: tensors[param] != 0 for param in params}

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Puts them back."""
        tensors = tensors_of(model)
        for param, mask in self.masks.items():
            tensors[param].mul_(mask)


def staying_zero(job: Job) -> Recovery:
    """The shared recovery, with zeros kept."""
    how = job.recovery
    callbacks = (*how.material.callbacks, StayZero())
    return dataclasses.replace(how, material=dataclasses.replace(how.material, callbacks=callbacks))
