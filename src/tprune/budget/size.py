"""Budgets of size: multiply-accumulates, parameters or bytes, as a fraction of the dense model or in numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from tprune.budget.allocate import CostModel, CostModels, select_by_loss
from tprune.core.curves import Curve
from tprune.core.kinds import COVERING, WHOLE_BLOCK
from tprune.core.plan import Plan
from tprune.core.selection import Kept, Scores, Select, keep_best, lines_of, reach
from tprune.core.sublayers import Sublayer
from tprune.core.task import Task
from tprune.core.units import LEAST_SIZE
from tprune.costs.size import PlanSizes, Stored, norm_scores, size_after
from tprune.counting.size import Size
from tprune.support.errors import InputError

ATTRIBUTES = {"macs": "macs", "params": "parameters", "bytes": "bytes"}
UNITS = tuple(ATTRIBUTES)


@dataclass(frozen=True)
class Budget:
    """A size to reach: up to 1 a fraction of the dense model's, `Budget("macs", 0.5)`.

    Above, a number, `Budget("params", 3e6)`.

    Attributes:
        unit: `macs`, `params` (or `parameters`) or `bytes`.
        value: a fraction of the dense model's size in (0, 1], or a number of at least 1000.

    Raises:
        InputError: an unknown unit, or neither a fraction nor at least 1000.

    Example:
        >>> Budget("macs", 0.5)
        Budget(unit='macs', value=0.5)
    """

    unit: str
    value: float

    def __post_init__(self) -> None:
        if self.unit == "parameters":  # its longer name
            object.__setattr__(self, "unit", "params")
        if self.unit not in UNITS:
            raise InputError(f"budget {self.unit!r} is unknown; known are {', '.join(UNITS)}")
        if not (0 < self.value <= 1 or LEAST_SIZE <= self.value < float("inf")):
            raise InputError(
                f"budget {self.unit}: expected a fraction of the dense model in (0, 1], or a number of at least "
                f"{LEAST_SIZE}, got {self.value}"
            )

    def of(self, found: Size) -> float:
        """This unit's number of a size."""
        return float(getattr(found, ATTRIBUTES[self.unit]))

    def limit(self, dense: Size) -> float:
        """The number to stay within. Raises `InputError` when the dense model is no larger than a number asked for."""
        if self.value <= 1:
            return self.value * self.of(dense)
        if self.value > self.of(dense):
            raise InputError(
                f"asked for {self.value if self.value > 1e15 else format(self.value, ',.0f')} {self.unit}, but the "
                f"dense model has {self.of(dense):,.0f} only"
            )
        return self.value


def select_to(
    model: nn.Module,
    plan: Plan,
    budget: Budget,
    select: Select,
    scores: Scores | None = None,
    task: Task | None = None,
) -> Plan:
    """Fills in what the plan keeps: the largest selection whose shrunk model is no larger than the budget.

    Whatever `select` says, the decoder's last sublayer that reads the source stays.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        budget: the size to stay within.
        select: how couplings share the budget.
        scores: of the groups; their norms if not given.
        task: what the model is for; its own if not given.

    Raises:
        UnreachableError: the smallest allowed selection is still larger; says what can be reached.

    Example:
        >>> import tprune
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), heads=2, ffn=32, positions=16), vocabulary=40)
        >>> plan = tprune.make_plan(model, "marian", tprune.couplings(model, ["ffn"]))
        >>> goal = select_to(model, plan, Budget("params", 0.8), tprune.Uniform())
        >>> [len(entry.kept) for entry in goal.entries]
        [13, 13]
    """
    kinds = {c.name: c.kind for c in plan.couplings}
    weigh = None if budget.unit == "macs" else Stored.like(model)  # a pass takes memory and time, and only MACs need it
    limit = budget.limit(PlanSizes(model, plan, task, weigh).dense)
    found = scores if scores is not None else norm_scores(model, plan)

    def measure(kept: Kept) -> float:
        return budget.of(size_after(model, plan.with_kept(_still_reading(kept, plan), {}, {}), task, weigh))

    kept, reached = reach(limit, select, found, kinds, measure, budget.unit)
    return plan.with_kept(_still_reading(kept, plan), {budget.unit: limit}, {budget.unit: reached})


def select_size(
    model: nn.Module,
    plan: Plan,
    budget: Budget,
    curves: Sequence[Curve],
    scores: Scores | None = None,
    known: PlanSizes | None = None,
    task: Task | None = None,
    even: Collection[str] = (),
) -> Plan:
    """Fills in what the plan keeps: `min Σ loss` subject to `size ≤ budget`; see `tprune.budget.allocate`.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        budget: the size to stay within.
        curves: the loss each coupling adds, from `tprune.analysis.loss_curves`.
        scores: of the groups; their norms if not given.
        known: sizes that were counted before, for other losses.
        task: what the model is for; its own if not given.
        even: see `tprune.budget.allocate.allocate`.

    Raises:
        UnreachableError: the smallest allowed selection is still larger; says what can be reached, and what binds.
    """
    sizes = PlanSizes.of(model, plan, known, task)
    found = scores if scores is not None else sizes.norms
    cost_models = size_cost_models(sizes, budget.unit, budget.of)

    def exact(chosen: Plan) -> float:
        return budget.of(sizes.after(chosen))

    return select_by_loss(model, plan, curves, cost_models, budget.limit(sizes.dense), exact, found, even)


def size_cost_models(sizes: PlanSizes, unit: str, read: Callable[[Size], float]) -> CostModels:
    """Cost models of a size, one for each residual width: what a line of each coupling takes.

    Args:
        sizes: of the plan's selections.
        unit: the budget's.
        read: the number that counts of a size.
    """

    def at(width: int | None) -> CostModel:
        whole = float(read(sizes.with_width(width)))

        def saved(sublayer: Sublayer, kind: str, share: float) -> float:
            if share == 1:
                return 0.0
            half, gone = sizes.without_half(sublayer, kind, width)
            return (whole - float(read(half))) / gone * (1 - share)

        return CostModel(unit, whole, saved)

    return at


def keep_largest(model: nn.Module, goal: Plan) -> Plan:
    """The goal with as many groups kept of every coupling, but those with the largest norms in this model.

    Args:
        model: the model that the plan is for.
        goal: after selection; says how many groups every coupling keeps.

    Raises:
        InputError: the goal is not selected, or the plan is for another model.
    """
    if not goal.selected:
        raise InputError("keep_largest needs a plan that says how many groups it keeps; select first")
    kept = {}
    for entry, groups in zip(goal.entries, goal.bind(model), strict=True):
        norms = groups.norms.detach().float().cpu()
        rows = norms.numel() // lines_of(norms)
        kept[entry.coupling.name] = keep_best(norms, len(entry.kept or ()) // rows)
    return goal.with_kept(kept, goal.asked, goal.reached)


def counted(model: nn.Module, plan: Plan, task: Task | None = None) -> Plan:
    """The plan with the sizes that it asks for counted anew: a file may say anything."""
    after = size_after(model, plan, task)
    sizes = {unit: float(getattr(after, ATTRIBUTES[unit])) for unit in plan.asked if unit in ATTRIBUTES}
    return replace(plan, reached={**plan.reached, **sizes})


def _still_reading(kept: Kept, plan: Plan) -> Kept:
    """The same, but the last sublayer that reads the source stays.

    That is where all of them would be removed or left without heads.
    """
    mine = [c for c in plan.couplings if c.name in kept and c.kind in (WHOLE_BLOCK, *COVERING)]
    mine = [c for c in mine if c.site is not None and c.site.reads_source]
    reading = {c.site: True for c in mine}
    for c in mine:
        reading[c.site] &= bool(kept[c.name].any())
    if not reading or any(reading.values()):
        return kept
    last = list(reading)[-1]
    back = {c.name for c in mine if c.site == last}
    return {name: torch.ones_like(keep) if name in back and not keep.any() else keep for name, keep in kept.items()}
