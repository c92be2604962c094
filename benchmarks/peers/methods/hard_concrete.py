"""Hard-concrete gates on heads and FFN units, trained with a Lagrangian towards the time asked for, then cut."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from benchmarks.peers.job import Job, Made, cut, empty_plan, select_to_speed, train_while_pruning
from benchmarks.peers.masks import masked_by
from benchmarks.peers.ranked import Ranked
from tprune.core.plan import Plan
from tprune.core.sites import Site
from tprune.costs.latency.table import LatencyTable

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1
PACE = 50.0  # gates move that much faster than weights at the same learning rate
MULTIPLIER_LR = 1.0  # of the gradient ascent on the Lagrange multipliers
DAMPING = 100.0  # λ₂ at the start; from 0 the gates overshoot on so short a schedule
WARMUP = 0.5  # the share of the steps in which the target goes from all to what was asked for


class Gates(nn.Module):
    """`z = clamp(s (HIGH − LOW) + LOW, 0, 1)`, s a concrete variable with location log α; log α = PACE · parameter.

    It lives inside the model as `gates`, so that the optimiser trains it and checkpoints hold it, with the multipliers
    as buffers.
    """

    def __init__(self, sizes: Mapping[str, int], start: float = 2.5) -> None:
        super().__init__()
        self.names = list(sizes)
        self.locations = nn.ParameterList([nn.Parameter(torch.full((n,), start / PACE)) for n in sizes.values()])
        self.multipliers = nn.Buffer(torch.tensor([0.0, DAMPING]))

    def logits(self) -> dict[str, Tensor]:
        """log α by coupling."""
        return {name: PACE * p for name, p in zip(self.names, self.locations, strict=True)}

    def sample(self) -> dict[str, Tensor]:
        """Gates of one batch."""
        return {name: hard(a, torch.rand_like(a).clamp(1e-6, 1 - 1e-6)) for name, a in self.logits().items()}

    def settled(self) -> dict[str, Tensor]:
        """Gates without noise."""
        return {name: stretched(a.detach().sigmoid()) for name, a in self.logits().items()}

    def open(self) -> dict[str, Tensor]:
        """`P(z > 0) = σ(log α − β log(−LOW / HIGH))`."""
        return {name: (a - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid() for name, a in self.logits().items()}


def stretched(s: Tensor) -> Tensor:
    """`clamp(s (HIGH − LOW) + LOW, 0, 1)`."""
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def hard(logits: Tensor, uniform: Tensor) -> Tensor:
    """A hard-concrete sample from uniform noise in (0, 1)."""
    return stretched(((uniform.logit() + logits) / TEMPERATURE).sigmoid())


class Lagrangian(TrainerCallback):
    """Adds `λ₁ d + λ₂ d²` to the loss, d the expected time over the wanted one, minus 1; λ go up its gradient.

    The expected time is linear in the open gates of each coupling, with the savings of the whole sublayer as slopes.
    """

    def __init__(
        self, gates: Gates, sites: Mapping[str, Site], table: LatencyTable, milliseconds: float, steps: int
    ) -> None:
        self.gates, self.wanted, self.steps = gates, milliseconds, steps
        self.dense = table.predict({}).total
        saved = {name: table.saved(sites[name].place, "sublayer", 0.0) for name in gates.names}
        self.slopes = {name: encoder + table.tokens * step for name, (encoder, step) in saved.items()}

    def expected(self) -> Tensor:
        """Milliseconds of a sentence."""
        return self.dense - torch.stack([self.slopes[k] * (1 - p.mean()) for k, p in self.gates.open().items()]).sum()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The Trainer's hook after clipping."""
        done = min(1.0, (state.global_step + 1) / max(1.0, WARMUP * self.steps))
        goal = self.dense + done * (self.wanted - self.dense)
        off = self.expected() / goal - 1
        first, second = self.gates.multipliers
        (first * off + second * off.square()).backward()
        with torch.no_grad():
            self.gates.multipliers += MULTIPLIER_LR * torch.stack([off, off.square()])


def hard_concrete(job: Job) -> Made:
    """Louizos et al., Learning sparse neural networks through L0 regularization, 2018; Voita et al., 2019 (heads); Xia
    et al.,
    Structured pruning learns compact and accurate models (CoFi), 2022 (the Lagrangian, distillation while pruning).

    CoFi's sparsity is a share of parameters; here it is the predicted time, as for every method. What is kept is scaled
    by its gate.
    """
    twin = copy.deepcopy(job.dense)
    plan = empty_plan(twin)
    twin.gates = Gates({entry.coupling.name: entry.groups[0] for entry in plan.entries})
    sites = {coupling.name: coupling.site for coupling in plan.couplings if coupling.site is not None}
    lagrangian = Lagrangian(twin.gates, sites, job.speed.table, job.milliseconds, job.pruning_steps)
    with ExitStack() as hooks:
        current: dict[str, Tensor] = {}
        hooks.callback(twin.register_forward_pre_hook(lambda *_: current.update(twin.gates.sample())).remove)
        hooks.enter_context(masked_by(twin, plan.couplings, current))
        spent = train_while_pruning(job, twin, lagrangian)
    gates, logits = twin.gates.settled(), {name: a.detach().clone() for name, a in twin.gates.logits().items()}
    expected = job.speed.dense / float(lagrangian.expected().detach())
    del twin.gates
    scale_consumers_(twin, plan, gates)
    chosen = select_to_speed(job, plan, logits, Ranked(job.limits))
    closed = sum(int((gates[e.coupling.name][e.keep] == 0).sum()) for e in chosen.entries)
    return cut(job, twin, chosen, spent, f"gates expected {expected:.2f}x; {closed} kept groups had a closed gate")


@torch.no_grad()
def scale_consumers_(model: nn.Module, plan: Plan, gates: Mapping[str, Tensor]) -> None:
    """Multiplies what reads each group by its gate, so that the gates are not needed any more.

    Closed ones are left as they are.
    """
    for groups in plan.bind(model):
        view, gate = groups.coupling.views[-1], gates[groups.coupling.name]
        view.structure.scale_(groups.tensors[view.param], torch.where(gate > 0, gate, 1.0))
