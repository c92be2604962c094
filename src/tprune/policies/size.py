"""Budgets of size: multiply-accumulates, parameters or bytes, as a fraction of the dense model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tprune.coupling import tensors_of
from tprune.errors import InputError
from tprune.models import family_of
from tprune.plan import Plan
from tprune.realise.cut import cuts_of
from tprune.realise.shrink import kept_heads
from tprune.select import Kept, Scores, Select, keep_best, lines_of, reach
from tprune.size import Size, size, size_on_paper

UNITS = ("macs", "parameters", "bytes")


@dataclass(frozen=True)
class Target:
    """A size to reach, as a fraction of the dense model's: `Target("macs", 0.5)`.

    Raises:
        InputError: an unknown unit, or a fraction outside (0, 1].
    """

    unit: str
    fraction: float

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f"target {self.unit!r} is unknown; known are {', '.join(UNITS)}")
        if not 0 < self.fraction <= 1:
            raise InputError(
                f"target {self.unit}: expected a fraction of the dense model in (0, 1], got {self.fraction}"
            )


def norm_scores(model: Any, plan: Plan) -> dict[str, Any]:
    """The l2 norm of every group of every coupling in the plan (magnitude)."""
    return {groups.coupling.name: groups.norms.detach().float().cpu() for groups in plan.bind(model)}


def select_to(model: Any, plan: Plan, target: Target, select: Select, scores: Scores | None = None) -> Plan:
    """Fills in what the plan keeps: the largest selection whose shrunk model is no larger than the target.

    Args:
        model: the model the plan was made for.
        plan: before selection.
        target: what to reach.
        select: how couplings share the budget.
        scores: of the groups; their norms if not given.

    Raises:
        UnreachableError: the smallest allowed selection is still larger; says what can be reached.
    """
    dense = size(model)
    kinds = {c.name: c.kind for c in plan.couplings}
    budget = target.fraction * getattr(dense, target.unit)
    found = scores if scores is not None else norm_scores(model, plan)

    def measure(kept: Kept) -> float:
        return float(getattr(size_after(model, plan.with_kept(kept, {}, {})), target.unit))

    kept, reached = reach(budget, select, found, kinds, measure, target.unit)
    return plan.with_kept(kept, {target.unit: budget}, {target.unit: reached})


def keep_largest(model: Any, goal: Plan) -> Plan:
    """The goal with as many groups kept of every coupling, but those with the largest norms in this model.

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


def size_after(model: Any, plan: Plan) -> Size:
    """The size of the shrunk model, without making it."""
    family, cuts, heads = family_of(model), cuts_of(model, plan), kept_heads(plan)
    found = size_on_paper(lambda: family.build(model, cuts, heads, False))
    width = next(iter(tensors_of(model).values())).element_size()
    return Size(found.parameters, found.parameters * width, found.macs)
