"""What a run says of the precision of its plan: what stays fp32, and where the plan differs from one for fp32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tprune.budget.both import known_in_fp32
from tprune.budget.differences import Differences, differences
from tprune.budget.reach import empties
from tprune.core.plan import Plan
from tprune.core.units import TIMES
from tprune.run.work import Work

SHOWN = 8  # weights in words


def beside_fp32(work: Work) -> Differences | None:
    """The goal beside the plans that fp32 leads to, from measurements that are kept; None where these are not.

    Args:
        work: with the goal for a time in another precision than fp32.
    """
    evidence, how, start = work.evidence, work.how, work.start
    if evidence is None or evidence.table is None or start.given is not None or how.target()[0] not in TIMES:
        return None
    table, setting = evidence.table, evidence.table.setting
    if setting.precision.exact or work.spelling is not None or how.even:
        return None
    if table.beside is not None:
        fp32 = table.beside.table
    else:
        known = known_in_fp32(replace(work.dense_timing, setting=setting), how, empties(how, work.plan))
        if known is None:
            start.note("times in fp32 were not measured here, so the plan is not compared with one for fp32")
            return None
        fp32 = known
    given = (work.writer, work.plan, work.goal, table, fp32, evidence.curves, evidence.milliseconds(how))
    return differences(*given, mixed=evidence.mixed, objective=how.objective)


def mixture(goal: Plan) -> tuple[str, ...]:
    """Which weights of a plan stay fp32, in a sentence; none where the selection did not choose."""
    if goal.precision is None:
        return ()
    kept = goal.precision.exceptions
    more = f" and {len(kept) - SHOWN} more" if len(kept) > SHOWN else ""
    said = f": {', '.join(kept[:SHOWN])}{more}" if kept else ""
    return (f"precision: {goal.precision}{said}",)


def in_numbers(goal: Plan, beside: Differences | None) -> dict[str, Any]:
    """Both for `forecast.json`."""
    found: dict[str, Any] = {}
    if goal.precision is not None:
        found["precision"] = {"name": goal.precision.name, "exceptions": list(goal.precision.exceptions)}
    return found if beside is None else {**found, "beside_fp32": beside.as_dict()}
