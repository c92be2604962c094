"""Sizes and precisions in one budget: against brute force, and a sensitive sublayer stays fp32."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_latency_policy import PRICES, TABLE, by_share

from sentence_times import sentence_times
from small_models import small_batch, small_model
from tprune.budget.allocate import allocate, options_of
from tprune.budget.both import in_both, mixed_of
from tprune.budget.evidence import Evidence, select_plan, verify_latency
from tprune.budget.latency import select_memory, select_within, time_cost_models
from tprune.budget.mixed import Mixed, parts_of, weights_of
from tprune.budget.mixed_memory import MixedMemory
from tprune.core.plan import Plan, make_plan
from tprune.core.precision import FP32, INT8, Precision
from tprune.core.sublayers import emptied, sublayers_of
from tprune.costs.latency.beside import REST
from tprune.costs.latency.phases import Times
from tprune.costs.latency.table import LatencyTable, Price, TimingConfig
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.runtimes.held import InMemory
from tprune.support.errors import InputError

HALF = tuple(Price(p.place, p.kind, tuple((1.2 if p.kind == "sublayer" else 0.4) * x for x in p.ms)) for p in PRICES)
IN_INT8 = LatencyTable(
    "1" * 16, TimingConfig(precision=INT8), sentence_times(1.1, 0.6, 13.1), 20.0, (), {}, 40_000_000, HALF
)
SENSITIVE, SECOND = "model.decoder.layers.1.ffn", "model.encoder.layers.0.self_attn"


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model("marian")


@pytest.fixture(scope="module")
def plan(model: Any) -> Plan:
    return make_plan(model, "marian", couplings(model, ("ffn", "heads")))


@pytest.fixture(scope="module")
def evidence(model: Any, plan: Plan) -> Evidence:
    parts = parts_of(model, plan, INT8)
    losses = dict.fromkeys(parts, 0.01) | {SENSITIVE: 5.0, SECOND: 0.3}
    return in_both(Evidence(IN_INT8, by_share(plan)), Mixed(INT8, losses, weights_of(parts)), TABLE)


def asked(ms: float, unit: str = "latency_ms") -> Any:
    fields = {"timed": True, "by_loss": True, "stock": False, "even": (), "search": 0, "objective": "loss"}
    return SimpleNamespace(**fields, target=lambda: (unit, ms))


def test_each_matrix_is_in_one_part(model: Any, plan: Plan) -> None:
    weights = weights_of(parts_of(model, plan, INT8))
    assert set(weights) == {*(s.name for s in sublayers_of(plan)), REST}
    every = [name for names in weights.values() for name in names]
    assert len(every) == len(set(every)) and "model.shared.weight" in weights[REST]
    assert set(weights[SENSITIVE]) == {f"{SENSITIVE.removesuffix('ffn')}fc{i}.weight" for i in (1, 2)}
    attention = "model.decoder.layers.0.encoder_attn"
    assert set(weights[attention]) == {f"{attention}.{name}_proj.weight" for name in ("q", "k", "v", "out")}
    fewer = parts_of(model, plan, Precision("int8", ("model.shared.weight",)))
    assert "model.shared.weight" not in weights_of(fewer)[REST]


def test_the_choice_is_the_best_of_all_sizes_and_precisions(model: Any, evidence: Evidence) -> None:
    names = ("model.encoder.layers.0.self_attn", "model.decoder.layers.1.ffn")
    some = make_plan(model, "marian", [c for c in couplings(model, ("ffn", "heads")) if c.name.startswith(names)])
    curves, ones = by_share(some), np.ones(2)
    table = evidence.timed(asked(1.0))
    losses = {names[0]: 0.3, names[1]: 0.6, REST: 0.1}
    cost_model = time_cost_models(some, table, ones, ones)(None)
    sublayers, by_name = sublayers_of(some), {c.name: c for c in curves}
    for budget in (12.8, 12.9, 13.2, 17.0, 20.0, 23.0):
        found = allocate(some, curves, lambda width: cost_model, budget, rounding=losses)
        best = float("inf")
        sizes = [list(itertools.product(options_of(s, by_name), (False, True))) for s in sublayers]
        assert cost_model.exact is not None
        for rest, chosen in itertools.product((False, True), itertools.product(*sizes)):
            cost, loss = cost_model.whole + rest * cost_model.exact.more(None), 0.0 if rest else losses[REST]
            for s, (counts, exact) in zip(sublayers, chosen, strict=True):
                cost += cost_model.cost(s, counts, exact)
                loss += sum(by_name[s.couplings[kind]].loss_at(n) for kind, n in counts.items())
                loss += 0.0 if exact or emptied(counts) else losses[s.name]
            best = min(best, loss) if cost <= budget else best
        assert found.loss == pytest.approx(best)
    assert found.exact == {*names, REST}  # with as much time as fp32 takes, nothing is rounded


def test_a_model_that_is_all_fp32_takes_the_time_of_fp32(plan: Plan, evidence: Evidence) -> None:
    table, kept = evidence.timed(asked(1.0)), {e.coupling.name: e.keep for e in plan.entries}
    for entry in plan.entries[::2]:
        kept[entry.coupling.name] = entry.keep.clone()
        kept[entry.coupling.name][: len(entry.keep) // 2] = False
    chosen, mixed = plan.with_kept(kept, {}, {}), evidence.mixed
    assert mixed is not None
    all_fp32 = replace(chosen, precision=mixed.precision(mixed.weights))
    assert table.predict_plan(all_fp32).total == pytest.approx(TABLE.predict_plan(chosen).total)
    none = replace(chosen, precision=mixed.precision(()))
    assert table.predict_plan(none).total == pytest.approx(IN_INT8.predict_plan(chosen).total)
    one = replace(chosen, precision=mixed.precision([SENSITIVE]))
    assert table.predict_plan(none).total < table.predict_plan(one).total < table.predict_plan(all_fp32).total


def test_a_sensitive_sublayer_stays_fp32(model: Any, plan: Plan, evidence: Evidence) -> None:
    chosen, mixed = select_plan(model, plan, asked(12.5), None, evidence), evidence.mixed
    assert mixed is not None and chosen.precision is not None and chosen.precision.name == "int8"
    assert set(mixed.weights[SENSITIVE]) <= set(chosen.precision.exceptions)
    assert not set(mixed.weights["model.encoder.layers.1.ffn"]) & set(chosen.precision.exceptions)
    assert chosen.reached["sentence_ms"] <= 12.5
    assert chosen.reached["sentence_ms"] == pytest.approx(evidence.timed(asked(1.0)).predict_plan(chosen).total)
    assert Plan.from_json(chosen.to_json()) == chosen and "precision: int8" in str(chosen)
    wrong = chosen.to_json().replace('"name": "int8"', '"name": "int7"')
    with pytest.raises(InputError, match="precision 'int7'; expected one of fp32"):
        Plan.from_json(wrong)
    calm = replace(mixed, losses=dict.fromkeys(mixed.losses, 0.0))
    none = select_plan(model, plan, asked(12.5), None, in_both(replace(evidence, table=IN_INT8), calm, TABLE))
    assert none.precision == INT8


def test_what_is_measured_of_a_mixed_plan_corrects_the_table(model: Any, plan: Plan, evidence: Evidence) -> None:
    timed: list[Plan] = []

    def time(chosen: Plan) -> Times:
        timed.append(chosen)
        parts = 0.93 * evidence.timed(asked(1.0)).predict_plan(chosen).array
        return sentence_times(float(parts[0]), float(parts[1]), float(parts[0] + 20 * parts[1]))

    found = verify_latency(model, None, plan, asked(12.2), evidence, None, time)
    assert all(each.precision is not None for each in timed) and found.tried == 2
    assert found.table.predict_plan(found.plan).total == pytest.approx(found.measured.total, rel=0.03)
    assert found.measured.total <= 12.2 * 1.03 and found.table.beside is not None


def test_what_fp32_takes_more_beside_int8_is_learned(model: Any, plan: Plan, evidence: Evidence) -> None:
    """On a machine where a part in fp32 between others in int8 takes two and a half times as much more."""
    table, timed = evidence.timed(asked(1.0)), list[tuple[Plan, float]]()
    assert table.beside is not None
    real = replace(table, beside=replace(table.beside, factor=(2.5, 2.5)))

    def time(chosen: Plan) -> Times:
        timed.append((chosen, real.predict_plan(chosen).total))
        return real.predict_plan(chosen)

    found = verify_latency(model, None, plan, asked(15.0), evidence, None, time)
    first, last = timed[0], timed[-1]
    assert first[1] > 1.05 * 15.0 and last[1] <= 1.05 * 15.0 and len(timed) <= 4
    assert found.plan == last[0] and found.table.beside is not None
    assert 1.8 < found.table.beside.factors[1] <= 2.5
    exceptions = [0 if each.precision is None else len(each.precision.exceptions) for each in (first[0], last[0])]
    assert exceptions[1] < exceptions[0]


def test_a_plan_with_nothing_in_fp32_says_nothing_of_it(plan: Plan, evidence: Evidence) -> None:
    table, mixed = evidence.timed(asked(1.0)), evidence.mixed
    assert mixed is not None and table.beside is not None
    half = {e.coupling.name: e.keep & (torch.arange(len(e.keep)) % 2 == 0) for e in plan.entries}
    chosen = replace(plan.with_kept(half, {}, {}), precision=mixed.precision(()))
    corrected = table.corrected_by(chosen, sentence_times(0.8, 0.4, 8.8))
    assert corrected.beside is not None and list(corrected.beside.factors) == [1.0, 1.0]
    assert corrected.predict_plan(chosen).array == pytest.approx([0.8, 0.4])


@pytest.mark.slow
def test_memory_chooses_a_precision_too(model: Any, plan: Plan, evidence: Evidence) -> None:
    mixed, whole = evidence.mixed, InMemory("onnxruntime", INT8)
    assert mixed is not None
    peak, more = 60_000.0, MixedMemory("onnxruntime", mixed)
    chosen = select_memory(model, plan, peak, by_share(plan), 0.059, weigh=whole, mixed=more)
    assert chosen.precision is not None and set(mixed.weights[SENSITIVE]) <= set(chosen.precision.exceptions)
    left = (peak - (whole(model) - InMemory("onnxruntime", chosen.precision)(shrink(model, chosen)))) / 1e6
    assert chosen.reached == {"memory_mb": pytest.approx(left)} and left <= 0.059
    roomy = select_memory(model, plan, peak, by_share(plan), 0.1, weigh=whole, mixed=more)
    assert roomy.precision == mixed.precision([name for name, each in mixed.weights.items() if each])
    fp32 = InMemory("onnxruntime", FP32)(model)
    assert roomy.reached["memory_mb"] == pytest.approx((peak - whole(model) + fp32) / 1e6, abs=1e-3)


def test_losses_of_rounding_are_measured_part_by_part(plan: Plan) -> None:
    model: Any = small_model("marian").float()
    weight = model.get_parameter("model.decoder.layers.2.fc2.weight")
    weight.data[:, 0] = 300 * weight.data.abs().max()
    model.model.decoder.layers[2].fc1.weight.data[0] = 0
    model.model.decoder.layers[2].fc1.bias.data[0] = 0
    material = SimpleNamespace(task=None, valid=(), batches=lambda data, most: [small_batch()])
    found = mixed_of(model, plan, INT8, asked(1.0), material)  # type: ignore[arg-type]
    assert max(found.losses, key=lambda name: found.losses[name]) == "model.decoder.layers.2.ffn"
    assert set(found.losses) == set(found.weights) and min(found.losses.values()) >= 0


def test_even_sublayers_have_no_choice(model: Any, plan: Plan, evidence: Evidence) -> None:
    with pytest.raises(InputError, match="heads: kept even, which leaves sublayers no choice of precision"):
        select_within(
            model, plan, evidence.timed(asked(1.0)), evidence.curves, 12.0, even=["heads"], mixed=evidence.mixed
        )
