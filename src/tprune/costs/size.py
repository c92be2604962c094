"""Sizes of the models that a plan's selections lead to, without making them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tprune.core.coupling import tensors_of
from tprune.core.cuts import cuts_of
from tprune.core.kinds import WIDTH
from tprune.core.plan import Plan
from tprune.core.selection import Scores, keep_best
from tprune.core.sublayers import Sublayer
from tprune.core.task import Task
from tprune.counting.size import Size, parameters_of, size, size_on_paper
from tprune.families.registry import family_of
from tprune.realise.cut import kept_heads


@runtime_checkable
class Weigh(Protocol):
    """The bytes of a model's weights, where they are not those of the numbers that it holds."""

    def __call__(self, model: nn.Module) -> int:
        """Bytes of a model, which may hold no values."""
        ...

    def exempt(self, names: Iterable[str]) -> tuple[bool, ...]:
        """Which of these weights are weighed otherwise than others of their shape."""
        ...


@dataclass(frozen=True)
class Stored:
    """The bytes of a model's numbers, each as wide as those of the dense model.

    Attributes:
        width: bytes of a number.
    """

    width: int

    @staticmethod
    def like(model: nn.Module) -> Stored:
        """As wide as a model's numbers are."""
        return Stored(next(iter(tensors_of(model).values())).element_size())

    def __call__(self, model: nn.Module) -> int:
        """Bytes of a model, which may hold no values."""
        return parameters_of(model) * self.width

    def exempt(self, names: Iterable[str]) -> tuple[bool, ...]:
        """None of them."""
        return tuple(False for _ in names)


def size_after(model: nn.Module, plan: Plan, task: Task | None = None, weigh: Weigh | None = None) -> Size:
    """The size of the shrunk model, without making it.

    Args:
        model: the dense model.
        plan: after selection.
        task: whose example is counted; the model's own if not given.
        weigh: its bytes; those of the dense model's numbers if not given. Where it is given no MACs are counted, which
            takes most of the time: they are 0.
    """
    family, cuts, heads = family_of(model), cuts_of(model, plan), kept_heads(plan)

    def build() -> nn.Module:
        small = family.build(model, cuts, heads, False)
        family.inherit(model, small)  # which tokens it writes, for one
        return small

    if weigh is not None:
        with torch.device("meta"):
            small = build()
        return Size(parameters_of(small), weigh(small), 0)
    found = size_on_paper(build, task)
    return Size(found.parameters, found.parameters * Stored.like(model).width, found.macs)


def norm_scores(model: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """The l2 norm of every group of every coupling in the plan (magnitude)."""
    return {groups.coupling.name: groups.norms.detach().float().cpu() for groups in plan.bind(model)}


class PlanSizes:
    """Sizes of the selections of one plan.

    What was counted once is kept, for a search asks for the same again and again.

    Args:
        model: the model the plan was made for; it must not change.
        plan: before selection.
        task: what the model is for; its own if not given.
        weigh: bytes; those of the numbers that the model holds if not given.
    """

    def __init__(self, model: nn.Module, plan: Plan, task: Task | None = None, weigh: Weigh | None = None) -> None:
        self.model, self.plan, self.task, self.weigh = model, plan, task, weigh
        self._after: dict[tuple[tuple[int, ...] | None, ...], Size] = {}
        self._others: dict[Weigh, PlanSizes] = {}
        self._halves: dict[object, tuple[Size, float]] = {}
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
        self._entries = {entry.coupling.name: entry for entry in plan.entries}
        self._residual = next((e for e in plan.entries if e.coupling.kind == WIDTH), None)

    @staticmethod
    def of(
        model: nn.Module,
        plan: Plan,
        known: PlanSizes | None = None,
        task: Task | None = None,
        weigh: Weigh | None = None,
    ) -> PlanSizes:
        """The sizes that are known already, if they are of this model, plan and task, weighed so; else new ones."""
        if known is None or (known.model, known.task) != (model, task):
            return PlanSizes(model, plan, task, weigh)
        same = known.plan.entries == plan.entries and known.weigh == weigh
        return known if same else PlanSizes(model, plan, task, weigh)

    def weighed(self, weigh: Weigh) -> PlanSizes:
        """The sizes of the same selections, weighed otherwise; kept beside these."""
        if (found := self._others.get(weigh)) is None:
            found = self._others[weigh] = PlanSizes(self.model, self.plan, self.task, weigh)
        return found

    @cached_property
    def dense(self) -> Size:
        """The model's own."""
        if self.weigh is not None:
            return Size(parameters_of(self.model), self.weigh(self.model), 0)
        return size(self.model, self.task)

    @cached_property
    def norms(self) -> Scores:
        """The norms of all groups."""
        return norm_scores(self.model, self.plan)

    def after(self, selected: Plan) -> Size:
        """As `size_after` of a selection of the plan."""
        key = tuple(entry.kept for entry in selected.entries)
        if key not in self._after:
            self._after[key] = size_after(self.model, selected, self.task, self.weigh)
        return self._after[key]

    def with_width(self, width: int | None) -> Size:
        """Of the model with all couplings whole but the residual, which keeps `width`."""
        return self._counted(width)

    def without_half(self, sublayer: Sublayer, kind: str, width: int | None) -> tuple[Size, float]:
        """With half of one kind's lines gone from one sublayer, all else whole.

        And the share of the lines that is gone.

        Counted once for all sublayers of the same shape. Sizes are linear in the lines of a kind, so two of them say it
        all.
        """
        name = sublayer.couplings[kind]
        params = self._entries[name].coupling.params
        exempt = None if self.weigh is None else self.weigh.exempt(params)
        key = (width, sublayer.place, kind, tuple(self._shapes[param] for param in params), exempt)
        if key not in self._halves:
            lines = sublayer.whole[kind]
            self._halves[key] = (self._counted(width, name, lines // 2), 1 - (lines // 2) / lines)
        return self._halves[key]

    def _counted(self, width: int | None, name: str = "", lines: int = 0) -> Size:
        kept = {} if not name else {name: keep_best(torch.ones(self._entries[name].groups), lines)}
        if width is not None and self._residual is not None:
            kept[self._residual.coupling.name] = keep_best(torch.ones(self._residual.groups), width)
        return self.after(self.plan.with_kept(kept, {}, {}))
