"""Sizes and precisions in one budget: what each sublayer needs to choose between fp32 and the model's precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tprune.core.plan import Plan
from tprune.core.precision import Precision
from tprune.core.sites import WHOLE_MODEL, Site
from tprune.core.sublayers import emptied, kept_counts, sublayers_of
from tprune.core.task import Task
from tprune.costs.latency.beside import REST
from tprune.families.registry import couplings
from tprune.runtimes.roundable import Roundable, roundable


@dataclass(frozen=True)
class Mixed:
    """What a budget needs to let precisions compete.

    Attributes:
        base: the model's precision, with the weights that stay fp32 whatever is chosen.
        losses: what that precision adds by each sublayer's name, and by `REST` for what lies in none, in nats.
        weights: the weights of each, likewise.
        choice: whether parts may choose; else all of them are in the precision, and its losses are only added.
    """

    base: Precision
    losses: Mapping[str, float]
    weights: Mapping[str, tuple[str, ...]]
    choice: bool = True

    def loss_of(self, plan: Plan) -> float:
        """What the precision of a selected plan adds to its loss; of a plan without one, if all of it is rounded."""
        kept = () if plan.precision is None else plan.precision.exceptions
        gone = {name for name, counts in kept_counts(plan).items() if emptied(counts)}
        parts = (name for name, each in self.weights.items() if name not in gone and not set(each) <= set(kept))
        return sum(self.losses[name] for name in parts)

    def precision(self, exact: Collection[str]) -> Precision:
        """The precision of a model of which these parts stay fp32."""
        kept = [weight for name in exact for weight in self.weights[name]]
        return Precision(self.base.name, (*self.base.exceptions, *kept))


def parts_of(model: Any, plan: Plan, base: Precision, task: Task | None = None) -> dict[str, tuple[Roundable, ...]]:
    """The matrices of each sublayer of a plan, by its name, and by `REST` all others; without those that stay fp32.

    Args:
        model: the dense model.
        plan: says which sublayers have a choice.
        base: the precision, with whole products among its exceptions.
        task: what the model is for; its own if not given.

    Raises:
        InputError: the model has no graphs.
    """
    mine = {s.site: s.name for s in sublayers_of(plan)}
    found: dict[str, list[Roundable]] = {name: [] for name in (*mine.values(), REST)}
    sites: dict[str, Site] = {}
    for coupling in couplings(model):
        if coupling.site is not None and coupling.site in mine:
            sites |= dict.fromkeys(coupling.params, coupling.site)
    for one in roundable(model, task):
        if not set(one.names) & set(base.exceptions):
            found[mine.get(sites.get(one.names[0], WHOLE_MODEL), REST)].append(one)
    return {name: tuple(matrices) for name, matrices in found.items()}


def weights_of(parts: Mapping[str, Sequence[Roundable]]) -> dict[str, tuple[str, ...]]:
    """The names of the weights of each part."""
    return {name: tuple(weight for one in matrices for weight in one.names) for name, matrices in parts.items()}
