"""A plan that was made before, in a file: it says what is kept, so that nothing is measured for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tprune.budget.size import counted
from tprune.core.plan import Plan
from tprune.core.sublayers import drops_source
from tprune.core.task import Task
from tprune.families.registry import couplings, family_of
from tprune.support.errors import InputError


def selected_plan(file: Path) -> Plan:
    """A plan from a file. Raises `InputError` for one that is damaged or does not say what it keeps."""
    plan = Plan.load(file)
    if not plan.entries or not plan.selected:
        lacks = "does not say what it keeps" if plan.entries else "has no entries"
        raise InputError(f"{file}: the plan {lacks}; expected one after selection")
    return plan


def fitted_plan(plan: Plan, file: Path, model: Any, task: Task | None = None) -> Plan:
    """A plan with the sizes that it leaves of a model.

    Raises `InputError`, naming its file, for one that was made for another.
    """
    family = family_of(model).name
    try:
        if plan.family != family:
            raise InputError(f"the plan is for the family {plan.family!r}, the model is of {family!r}")
        plan.bind(model)
        readers = {c.site for c in couplings(model) if c.site is not None and c.site.reads_source}
        if readers and drops_source(plan, len(readers)):
            raise InputError("the plan empties every cross attention, so the decoder would not read its source")
        return counted(model, plan, task)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
