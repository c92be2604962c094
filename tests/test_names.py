"""What couplings are called changes nothing: where they lie is their site, what they are is their kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sentence_times import sentence_times
from small_models import small_batch, small_model
from tprune.analysis import Analysis, Component, Reading, advise
from tprune.analysis.one_shot import one_shot
from tprune.analysis.sites import origin_of
from tprune.budget import reach
from tprune.budget.latency import select_within
from tprune.budget.size import Budget, norm_scores, select_size, select_to
from tprune.core.coupling import Coupling
from tprune.core.curves import Curve, sizes_to_try
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Limits, Uniform
from tprune.core.sublayers import drops_source, kept_counts, sublayers_of, width_of
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.fit import fitted
from tprune.costs.latency.table import LatencyTable, TimedPlan, TimingConfig, kept_fractions
from tprune.families.registry import couplings
from tprune.families.table import Table
from tprune.realise.shrink import shrink
from tprune.report.drawing import drawing
from tprune.run.compressed import Compressed
from tprune.support.errors import InputError

ALL = ("ffn", "heads", "qk", "vo", "sublayer", "width")
Look = Callable[[Any], Any]


def plan_of(model: Any, *kinds: str) -> Plan:
    return make_plan(model, "marian", couplings(model, kinds))


def kept(plan: Plan) -> list[tuple[int, ...] | None]:
    return [entry.kept for entry in plan.entries]


def curves_of(model: Any, plan: Plan, floor: float = 0.0) -> list[Curve]:
    """Losses by a formula that no name enters; what reads the source is cheap, so that all of it wants to go."""
    found = []
    for number, groups in enumerate(plan.bind(model)):
        site, sizes = groups.coupling.site, sizes_to_try(groups, Limits(floor=floor))
        dear = 0.01 if site is not None and site.block == "cross_attention" else 1.0
        losses = tuple(dear * (sizes[-1] - k) / sizes[-1] * (1 + number % 3) for k in sizes)
        found.append(Curve(groups.coupling.name, tuple(sizes), losses))
    return found


def table_of(model: Any) -> LatencyTable:
    """A table of the plans that would be timed, with times that go with what they keep."""
    timed = []
    for plan in plans_for(model, ALL):
        share = float(np.mean([len(e.kept or ()) / e.keep.numel() for e in plan.entries]))
        timed.append(
            TimedPlan(
                kept_fractions(plan),
                width_of(plan),
                {"encoder": (1 / (0.2 + share),), "sentence": (1 / (0.3 + share),)},
            )
        )
    return fitted(LatencyTable("key", TimingConfig(), sentence_times(1.0, 0.1, 2.0), 10.0, tuple(timed), {}), model)


def sublayers(model: Any) -> Any:
    return [(s.site, s.name, s.place, dict(s.whole), list(s.couplings)) for s in sublayers_of(plan_of(model, *ALL))]


def uniform(model: Any) -> Any:
    plan = plan_of(model, "ffn", "heads", "sublayer", "width")
    chosen = select_to(model, plan, Budget("params", 0.6), Uniform(Limits(floor=0.0)))
    return kept(chosen), chosen.reached, kept_counts(chosen), drops_source(chosen, 3)


def by_loss(model: Any) -> Any:
    plan = plan_of(model, *ALL)
    chosen: Any = select_size(model, plan, Budget("params", 0.6), curves_of(model, plan))
    nothing: Any = None
    shown = Compressed(nothing, chosen, nothing, None, ("params", 0.6), nothing, nothing, nothing, {}, {})
    return kept(chosen), chosen.reached, drawing(chosen, model.config.to_dict()), shown.kept


def timed_plans(model: Any) -> Any:
    return [kept(plan) for plan in plans_for(model, ALL)]


def prices(model: Any) -> Any:
    table = table_of(model)
    return table.prices, table.curve, table.to_dict()


def by_time(model: Any) -> Any:
    plan = plan_of(model, *ALL)
    chosen = select_within(model, plan, table_of(model), curves_of(model, plan), 1.9)
    return kept(chosen), chosen.reached


def smallest(model: Any) -> Any:
    limits = Limits({}, 0.0)
    return [keep.tolist() for keep in reach.smallest(model, plan_of(model, *ALL), limits).values()]


def shrunk(model: Any) -> Any:
    chosen = select_to(model, plan_of(model, "ffn", "heads", "qk", "vo", "width"), Budget("params", 0.6), Uniform())
    return {name: tensor.tolist() for name, tensor in shrink(model, chosen).state_dict().items()}


def gathered(model: Any) -> Any:
    plan = plan_of(model, "lines")
    return {
        name: tuple(t.shape)
        for name, t in shrink(model, select_to(model, plan, Budget("macs", 0.7), Uniform())).state_dict().items()
    }


def repaired(model: Any) -> Any:
    goal = select_to(model, plan_of(model, "ffn", "heads", "qk", "vo"), Budget("macs", 0.6), Uniform())
    twin, plan = one_shot(model, goal, [small_batch()])
    return kept(plan), {name: tensor.tolist() for name, tensor in twin.state_dict().items()}


def advised(model: Any) -> Any:
    def component(number: int, coupling: Coupling) -> Component:
        gone = (number % 7) / 10
        loss = None if coupling.kind == "lines" else 0.01 * (1 + number % 5)
        path = (Reading(gone, gone, (0.0, 1.0)),)
        return Component(coupling.name, coupling.kind, 8, gone, gone, (1.0,), path, loss, **origin_of(coupling))

    shown = couplings(model, ("ffn", "heads", "qk", "vo", "lines"))
    return advise(model, Analysis(tuple(component(*each) for each in enumerate(shown)), 1.0, 1))


LOOKS: tuple[Look, ...] = (
    sublayers,
    uniform,
    by_loss,
    timed_plans,
    prices,
    by_time,
    smallest,
    shrunk,
    gathered,
    repaired,
    advised,
)


def with_couplings(patch: pytest.MonkeyPatch, change: Callable[[int, Coupling], Coupling]) -> None:
    """Marian and BART with other couplings."""
    own = Table.couplings

    def changed(self: Table, model: nn.Module) -> tuple[Coupling, ...]:
        return tuple(change(number, coupling) for number, coupling in enumerate(own(self, model)))

    patch.setattr(Table, "couplings", changed)


LONG = (by_loss, by_time, uniform, shrunk, gathered, repaired)
MARKED = [pytest.param(look, marks=pytest.mark.slow if look in LONG else (), id=look.__name__) for look in LOOKS]


@pytest.mark.parametrize("look", MARKED)
def test_couplings_may_be_called_anything(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    model = small_model("marian")
    with torch.no_grad():
        before = look(model)
        with_couplings(monkeypatch, lambda number, coupling: replace(coupling, name=f"x{number}"))
        assert [c.name for c in couplings(model)][:2] == ["x0", "x1"]
        assert look(model) == before


@pytest.mark.slow
def test_couplings_without_sites_are_cut_by_size_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("marian")
    wanted = select_to(model, plan_of(model, "ffn", "width"), Budget("params", 0.7), Uniform())
    with_couplings(monkeypatch, lambda number, coupling: replace(coupling, site=None))
    plan = plan_of(model, "ffn", "width")
    chosen = select_to(model, plan, Budget("params", 0.7), Uniform())
    assert kept(chosen) == kept(wanted) and shrink(model, chosen).config.pruned == shrink(model, wanted).config.pruned
    assert Plan.from_json(chosen.to_json()) == chosen
    assert norm_scores(model, plan).keys() == {c.name for c in plan.couplings}


@pytest.mark.parametrize("look", [by_loss, timed_plans, repaired, shrunk], ids=lambda look: look.__name__)
def test_where_a_site_is_needed_the_coupling_without_one_is_named(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    model = small_model("marian")
    with_couplings(monkeypatch, lambda number, coupling: replace(coupling, name=f"x{number}", site=None))
    with pytest.raises(InputError, match=r"^x\d+: the coupling has no site \(stack, layer and block"):
        look(model)
