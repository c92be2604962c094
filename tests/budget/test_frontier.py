"""Several speeds from one set of measurements: dearer the faster, and the precision's own gain counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from test_latency_policy import TABLE

from small_models import small_model
from tprune.budget.evidence import Evidence
from tprune.budget.frontier import frontier, loss_of
from tprune.core.curves import Curve, sizes_to_try
from tprune.core.plan import make_plan
from tprune.core.selection import Limits
from tprune.families.registry import couplings


class Asked(SimpleNamespace):
    """A request for a speed."""

    timed, by_loss, stock = True, True, False
    even: tuple[str, ...] = ()

    def target(self) -> tuple[str, float]:
        return "speedup", self.speed


@pytest.fixture(scope="module")
def points() -> Any:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("ffn", "heads")))
    tried = {groups.coupling.name: sizes_to_try(groups, Limits(floor=0.1)) for groups in plan.bind(model)}
    curves = tuple(Curve(name, tuple(kept), tuple(1 - k / kept[-1] for k in kept)) for name, kept in tried.items())
    known = {"fp32": Evidence(TABLE, curves), "int8": Evidence(TABLE, curves, faster=1.1)}
    return frontier(model, plan, lambda speed: Asked(speed=speed), known, [1.2, 1.05, 1000.0])


def test_more_speed_costs_more(points: Any) -> None:
    by = {(p.precision, p.asked): p for p in points}
    assert [(p.precision, p.asked) for p in points] == [(n, s) for n in ("fp32", "int8") for s in (1.05, 1.2, 1000.0)]
    slow, fast = by["fp32", 1.05], by["fp32", 1.2]
    assert slow.loss < fast.loss and slow.ms > fast.ms and slow.parameters > fast.parameters
    assert slow.speedup >= 1.05 and fast.speedup >= 1.2


def test_what_the_precision_gives_is_free(points: Any) -> None:
    by = {(p.precision, p.asked): p for p in points}
    assert (by["int8", 1.05].loss, by["int8", 1.05].speedup) == (0.0, 1.1)
    assert by["int8", 1.2].speedup >= 1.2 and by["int8", 1.2].loss < by["fp32", 1.2].loss


def test_what_is_out_of_reach_says_why(points: Any) -> None:
    far = [p for p in points if p.asked == 1000.0]
    assert len(far) == 2 and all(p.speedup is None and p.loss is None and "reach" in p.why for p in far)


def test_losses_of_couplings_add_up() -> None:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("ffn",)))
    name = plan.entries[0].coupling.name
    chosen = plan.with_kept(
        {e.coupling.name: (e.keep if e.coupling.name != name else e.keep & False) for e in plan.entries}, {}, {}
    )
    total = plan.entries[0].groups[-1]
    assert loss_of(chosen, [Curve(name, (0, total), (0.75, 0.0))]) == 0.75
