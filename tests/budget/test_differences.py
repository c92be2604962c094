"""A plan for int8 beside those that fp32 leads to: better prices cost less loss, and the same prices the same plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_latency_policy import TABLE
from test_mixed import IN_INT8, by_share

from small_models import small_model
from tprune.budget.differences import differences
from tprune.budget.latency import select_within
from tprune.budget.mixed import Mixed, parts_of, weights_of
from tprune.core.plan import Plan, make_plan
from tprune.core.precision import INT8
from tprune.costs.latency.table import LatencyTable, Price
from tprune.families.registry import couplings

# int8 makes feed-forward blocks of the decoder as cheap as nothing, so cutting them saves nothing
FREE = replace(
    IN_INT8,
    prices=tuple(Price(p.place, p.kind, (0.0, 0.0)) if p.place == "decoder.ffn" else p for p in IN_INT8.prices),
)


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model("marian")


@pytest.fixture(scope="module")
def plan(model: Any) -> Plan:
    return make_plan(model, "marian", couplings(model, ("ffn", "heads")))


def compared(model: Any, plan: Plan, table: LatencyTable, fp32: LatencyTable, ms: float, **more: Any) -> Any:
    curves = by_share(plan)
    chosen = select_within(model, plan, table, curves, ms)
    return differences(model, plan, chosen, table, fp32, curves, ms, **more)


def test_other_prices_lead_to_a_worse_plan_of_the_same_time(model: Any, plan: Plan) -> None:
    found = compared(model, plan, FREE, TABLE, 12.2)
    other = found.prices
    assert other is not None and other.ms <= 12.2 and other.loss > found.loss
    assert any("decoder.layers" in name and "ffn" in name for name in other.differs)
    assert found.target is None and "of the same target: out of reach" in str(found)
    name, (mine, theirs) = next(iter(other.differs.items()))
    kind = next(iter(mine))
    assert f"{name}: {mine[kind]} {kind}, not {theirs[kind]} {kind}" in str(found)
    assert found.as_dict()["prices"]["differs"][name] == [dict(mine), dict(theirs)]


def test_the_same_prices_lead_to_the_same_plan(model: Any, plan: Plan) -> None:
    found = compared(model, plan, TABLE, TABLE, 20.0)
    assert found.target is not None and not found.target.differs and found.target.loss == found.loss
    assert found.prices is not None and found.prices.loss == pytest.approx(found.loss, abs=0.2)


def test_losses_of_rounding_are_added_to_all(model: Any, plan: Plan) -> None:
    parts = parts_of(model, plan, INT8)
    mixed = Mixed(INT8, dict.fromkeys(parts, 0.5), weights_of(parts))
    plain, more = (compared(model, plan, FREE, TABLE, 12.2, **each) for each in ({}, {"mixed": mixed}))
    assert more.loss - plain.loss == pytest.approx(0.5 * len(parts))
    assert more.prices.loss - plain.prices.loss == pytest.approx(0.5 * len(parts))
