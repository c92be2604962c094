"""Prices from the times of plans: right where times add up, near where they vary, bent where they do not add up."""

import dataclasses
import random
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from sentence_times import sentence_times
from small_models import small_model
from text_writers import T5, writer
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best, lines_of
from tprune.core.sublayers import width_of
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.fit import fitted, weights_of
from tprune.costs.latency.phases import TRANSLATION, Floats
from tprune.costs.latency.table import (
    LatencyCurve,
    LatencyTable,
    TimedPlan,
    TimingConfig,
    kept_fractions,
)
from tprune.families.registry import couplings, family_of

KINDS = ("ffn", "heads", "qk", "vo", "width")
FIXED, WEIGHT, SUBLAYER = np.array([0.2, 0.1]), np.array([2e-4, 3e-4]), np.array([0.05, 0.03])  # ms; for one each
TimeOf = Callable[[Plan], Floats]


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model("marian")


def milliseconds(model: Any, plan: Plan) -> Floats:
    """What a machine takes on which times add up: weights that are left, sublayers, and something fixed."""
    sizes, width = weights_of(model, ("ffn", "qk", "vo"), TRANSLATION), width_of(plan)
    output = model.get_output_embeddings().weight.numel()
    total = FIXED + WEIGHT * np.array([0, width * output])
    for site, shares in kept_fractions(plan).items():
        place = site.place
        if 0 not in (shares.get("sublayer"), shares.get("heads"), shares.get("ffn")):
            side = np.array([not place.startswith("decoder") or "encoder" in place[7:], place.startswith("decoder")])
            inner = {kind: shares.get(kind, 1.0) * shares.get("heads", 1.0) for kind in ("qk", "vo", "ffn")}
            weights = sum(inner[kind] * sizes[place, kind] for kind in inner if (place, kind) in sizes)
            total = total + SUBLAYER * side + WEIGHT * width * weights
    return total


def table_of(model: Any, time_of: TimeOf, noise: float = 0.0, seed: int = 0) -> LatencyTable:
    varies = np.random.default_rng(seed)
    whole = time_of(make_plan(model, family_of(model).name, couplings(model, ("ffn", "heads"))))
    plans = []
    for plan in plans_for(model, KINDS):
        plans.append(timed(plan, whole, time_of(plan) * np.exp(varies.normal(0, noise, 2))))
    encoder, token = map(float, whole)
    return LatencyTable(
        "key", TimingConfig(), sentence_times(encoder, token, encoder + 10 * token), 10.0, tuple(plans), {}
    )


def timed(plan: Plan, dense: Floats, taken: Floats) -> TimedPlan:
    """Of one round."""
    sentence = float((dense[0] + 10 * dense[1]) / (taken[0] + 10 * taken[1]))
    return TimedPlan(
        kept_fractions(plan), width_of(plan), {"encoder": (float(dense[0] / taken[0]),), "sentence": (sentence,)}
    )


def others(model: Any, count: int = 30) -> list[Plan]:
    """Plans that the table has not: every coupling of every layer cut on its own."""
    plan = make_plan(model, family_of(model).name, couplings(model, KINDS))
    found = []
    for seed in range(count):
        rng = random.Random(f"other {seed}")
        masks = {}
        for groups, entry in zip(plan.bind(model), plan.entries, strict=True):
            lines = lines_of(groups.norms)
            share = rng.choice((0.5, 0.75, 1.0)) if entry.coupling.kind == "width" else rng.uniform(0.2, 1.0)
            masks[entry.coupling.name] = keep_best(torch.ones(entry.groups), max(1, round(share * lines)))
        found.append(plan.with_kept(masks, {}, {}))
    return found


def errors(table: LatencyTable, model: Any, time_of: TimeOf) -> list[float]:
    found = []
    for plan in others(model):
        encoder, token = map(float, time_of(plan))
        found.append(table.predict_plan(plan).total / table.phases.total((encoder, token), table.tokens) - 1)
    return found


def test_a_weight_is_where_it_is_used(model: Any) -> None:
    d, config = model.config.d_model, model.config
    weights = weights_of(model, ("ffn", "heads", "qk", "vo"), TRANSLATION)
    assert weights["encoder.ffn", "ffn"].tolist() == [2 * d * config.encoder_ffn_dim, 0]
    assert weights["decoder.ffn", "ffn"].tolist() == [0, 2 * d * config.decoder_ffn_dim]
    assert weights["decoder.self_attn", "heads"].tolist() == [0, 4 * d * d]
    assert weights["decoder.encoder_attn", "heads"].tolist() == [2 * d * d, 2 * d * d]  # keys and values: once
    assert weights["decoder.encoder_attn", "vo"].tolist() == [d * d, d * d]


def test_where_times_add_up_other_plans_are_predicted(model: Any) -> None:
    def time_of(plan: Plan) -> Floats:
        return milliseconds(model, plan)

    table = fitted(table_of(model, time_of), model)
    assert max(map(abs, errors(table, model, time_of))) < 0.02
    price = {(p.place, p.kind): p.ms for p in table.prices}
    for (place, kind), weights in weights_of(model, ("ffn", "heads"), TRANSLATION).items():
        assert price[place, kind] == pytest.approx(tuple(WEIGHT * weights), rel=0.3)
    assert all(p.ms[1] == 0 for p in table.prices if p.place.startswith("encoder."))
    assert table.predict({}) == table.dense


def test_prices_of_a_gated_t5() -> None:
    model = writer("flan-t5", 40)

    def time_of(plan: Plan) -> Floats:
        return milliseconds(model, plan)

    d, units, inner = T5["d_model"], T5["d_ff"], T5["num_heads"] * T5["d_kv"]
    weights = weights_of(model, ("ffn", "heads"), TRANSLATION)
    assert weights["encoder.ffn", "ffn"].tolist() == [3 * d * units, 0]
    assert weights["decoder.self_attn", "heads"].tolist() == [0, 4 * d * inner]
    assert weights["decoder.encoder_attn", "heads"].tolist() == [2 * d * inner, 2 * d * inner]
    table = fitted(table_of(model, time_of), model)
    assert max(map(abs, errors(table, model, time_of))) < 0.02
    assert table.predict({}) == table.dense


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_other_plans_are_predicted_better_than_plans_are_timed(model: Any, seed: int) -> None:
    def time_of(plan: Plan) -> Floats:
        return milliseconds(model, plan)

    noise = 0.04
    table = fitted(table_of(model, time_of, noise, seed), model)
    assert (
        median(map(abs, errors(table, model, time_of))) < 0.6745 * noise
    )  # the median of what a normal variable varies
    assert all(min(p.ms) >= 0 for p in table.prices)
    assert table.predict({}) == table.dense


def test_fewer_plans_say_nearly_as_much(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a runtime that lowers slowly."""

    def time_of(plan: Plan) -> Floats:
        return milliseconds(model, plan)

    coarse = list(plans_for(model, ("ffn", "heads"), coarse=True))
    monkeypatch.setattr("test_latency_fit.plans_for", lambda model, kinds: coarse)
    monkeypatch.setattr("test_latency_fit.KINDS", ("ffn", "heads"))
    table = fitted(table_of(model, time_of, 0.02), model)
    assert len(table.plans) == 8 and median(map(abs, errors(table, model, time_of))) < 0.02


@pytest.mark.slow
def test_where_they_do_not_add_up_the_curve_says_so(model: Any) -> None:
    """A dense model that is slower than its prices add up to, since its weights do not stay in the cache."""

    def time_of(plan: Plan) -> Floats:
        found = milliseconds(model, plan)
        whole = milliseconds(model, make_plan(model, family_of(model).name, couplings(model, ("ffn", "heads"))))
        return found * (1 + 0.3 * (found / whole) ** 4)

    table = fitted(table_of(model, time_of), model)
    assert table.predict({}) == table.dense
    for pairs in table.curve.parts:
        assert [y for _, y in pairs] == sorted(y for _, y in pairs) and [x for x, _ in pairs] == sorted(
            x for x, _ in pairs
        )
    straight = dataclasses.replace(table, curve=LatencyCurve(tuple(pairs[-1:] for pairs in table.curve.parts)))
    off = median(map(abs, errors(table, model, time_of)))
    assert off < 0.04 and off < 0.7 * median(map(abs, errors(straight, model, time_of)))


def test_only_what_plans_cut_has_a_price(model: Any) -> None:
    table = table_of(model, lambda plan: milliseconds(model, plan))
    dense = table.dense.array
    ffn = tuple(timed(p, dense, milliseconds(model, p)) for p in plans_for(model, ("ffn",), removal=False))
    found = fitted(dataclasses.replace(table, plans=ffn), model)
    assert {(p.place, p.kind) for p in found.prices} == {("encoder.ffn", "ffn"), ("decoder.ffn", "ffn")}
    assert fitted(dataclasses.replace(table, plans=()), model).prices == ()
    assert {p.kind for p in fitted(table, model).prices} == {*KINDS, "sublayer"}
