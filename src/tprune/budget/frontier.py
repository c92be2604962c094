"""The frontier: what several speeds would cost in loss, from one set of measurements, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tprune.budget.evidence import Evidence, select_plan
from tprune.budget.mixed import Mixed
from tprune.budget.request import Request
from tprune.core.curves import Curve
from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.core.task import Task
from tprune.costs.size import size_after
from tprune.counting.size import size
from tprune.support.errors import UnreachableError


@dataclass(frozen=True)
class Point:
    """One speed in one precision.

    Attributes:
        precision: the name of the precision.
        asked: times faster than the dense model in fp32.
        speedup: predicted; None where nothing reaches it, like what follows.
        ms: predicted, of what is quoted.
        loss: that single couplings add up to, in nats, less what training is expected to recover.
        parameters: of the model that is left.
        why: what is in the way; empty where it can be reached.
    """

    precision: str
    asked: float
    speedup: float | None = None
    ms: float | None = None
    loss: float | None = None
    parameters: int | None = None
    why: str = ""


def frontier(
    model: Model,
    plan: Plan,
    request: Callable[[float], Request],
    evidence: Mapping[str, Evidence],
    speeds: Sequence[float],
    task: Task | None = None,
) -> tuple[Point, ...]:
    """What each speed costs in each precision.

    Args:
        model: the dense model.
        plan: before selection.
        request: what is asked for, at a speed.
        evidence: by precision, with the latency table of that precision and the same losses.
        speeds: times faster than the dense model in fp32, each above 1.
        task: what the model is for; its own if not given.
    """
    asked = [(name, speed) for name in evidence for speed in sorted(set(speeds))]
    return tuple(_point(model, plan, request(speed), evidence[name], Point(name, speed), task) for name, speed in asked)


def _point(model: Model, plan: Plan, how: Request, known: Evidence, asked: Point, task: Task | None) -> Point:
    """What was asked for, with what it costs."""
    table = known.timed(how)
    if asked.asked <= known.faster:
        whole = size(model, task).parameters
        return replace(asked, speedup=known.faster, ms=table.dense.total, loss=0.0, parameters=whole)
    try:
        chosen = select_plan(model, plan, how, None, known, task)
    except UnreachableError as error:
        return replace(asked, why=str(error))
    ms = table.predict_plan(chosen).total
    left, loss = size_after(model, chosen, task).parameters, loss_of(chosen, known.curves, known.mixed)
    return replace(asked, speedup=known.faster * table.dense.total / ms, ms=ms, loss=loss, parameters=left)


def loss_of(plan: Plan, curves: Sequence[Curve], mixed: Mixed | None = None) -> float:
    """What the losses of single couplings, and of rounding where it is known, add up to for a selected plan.

    Args:
        plan: after selection.
        curves: of its couplings.
        mixed: the losses of rounding.
    """
    by_name = {curve.name: curve for curve in curves}
    total = 0.0
    for entry in plan.entries:
        lines = entry.groups[-1] if entry.groups else 1
        kept = len(entry.kept or ()) * lines // max(1, math.prod(entry.groups))
        total += by_name[entry.coupling.name].loss_at(kept) if entry.coupling.name in by_name else 0.0
    return total if mixed is None else total + mixed.loss_of(plan)
