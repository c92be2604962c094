"""Phases: how the quoted time is made up, which phases a model has, and tables of models that do not translate."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from other_tasks import KINDS, Machine, examples, plan_of, small, time_is_multiplications
from small_models import small_model
from tprune.bench.known_phases import reported, with_composed
from tprune.core.sublayers import width_of
from tprune.costs.latency.cache import _old_key_of, key_of, measured
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.fit import fitted, weights_of
from tprune.costs.latency.phases import (
    TRANSLATION,
    Part,
    Phases,
    Times,
    composed,
    phases_from_json,
    phases_of,
)
from tprune.costs.latency.products import products_of
from tprune.costs.latency.subject import Passes, batches_of, check_inputs
from tprune.costs.latency.table import LatencyTable, TimedPlan, TimingConfig, kept_fractions
from tprune.costs.size import size_after
from tprune.families.graphs.graph import skeleton_of
from tprune.families.graphs.single_pass import SinglePass
from tprune.support.errors import InputError
from tprune.testing import random_kept

GENERATION, ONE_PASS = composed(("prefill", "step")), Phases((Part("pass"),), "pass", ("pass",))
assert GENERATION is not None
MILLISECONDS = st.floats(0.01, 100.0)


@given(first=MILLISECONDS, last=MILLISECONDS, tokens=st.floats(1.0, 50.0))
def test_what_is_split_adds_up_again(first: float, last: float, tokens: float) -> None:
    for phases in (TRANSLATION, GENERATION):
        whole = phases.times([first, last], tokens)
        assert whole.total == first + tokens * last and list(whole.parts) == list(phases.names)
        again = phases.split({name: whole.of(name) for name in phases.timed}, tokens)
        assert again.total == whole.total and again.array == pytest.approx([first, last], rel=1e-6, abs=1e-9)
        assert phases.weights(tokens) @ whole.array == pytest.approx(whole.total)
    assert ONE_PASS.times([first], 1.0) == ONE_PASS.split({"pass": first}, 1.0) == Times({"pass": first}, first)


def test_a_bench_composes_the_time_that_a_target_is_about() -> None:
    rounds = with_composed({"prefill": [2.0, 4.0], "step": [0.5, 0.25]}, 10)
    assert GENERATION.rounds(rounds) == {"prefill": (2.0, 4.0), "text": (7.0, 6.5)}
    assert rounds["text"][0] == GENERATION.total([2.0, 0.5], 10)
    assert TRANSLATION.rounds({"encoder": [1.0], "sentence": [3.0]}) == {"encoder": (1.0,), "sentence": (3.0,)}


def test_a_target_is_about_what_a_bench_quotes() -> None:
    """Of every model: whatever phases its exports are timed by."""
    for model in (small_model("marian"), *map(small, KINDS)):
        timed = with_composed(dict.fromkeys(skeleton_of(model).phases, (1.0,)), 10)
        assert phases_of(model).quoted == reported(timed)


def test_phases_go_by_what_exports_are_timed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    assert phases_of(small_model("marian")) == TRANSLATION
    assert [phases_of(small(name)) for name in KINDS] == [ONE_PASS, GENERATION, ONE_PASS]
    monkeypatch.setattr(SinglePass, "phases", ("frame",))
    assert phases_of(small("resnet")) == Phases((Part("frame"),), "frame", ("frame",))
    monkeypatch.setattr(SinglePass, "phases", ("look", "listen"))
    with pytest.raises(InputError, match=r"ResNet is timed by look, listen; expected one phase, encoder, sentence, or"):
        phases_of(small("resnet"))


def test_weights_count_where_they_are_used() -> None:
    llama, resnet = small("llama"), small("resnet")
    weights = weights_of(llama, ("ffn", "heads"), GENERATION)
    assert weights["decoder.ffn", "ffn"].tolist() == [3 * 32 * 20] * 2  # in the prompt and in every step
    kernels = weights_of(resnet, ("channels",), ONE_PASS)
    assert kernels["layer1.channels", "channels"].tolist() == [2 * 9 * 4 * 4 * 32 * 32]
    assert kernels["layer2.channels", "channels"].tolist() == [9 * (4 * 8 + 8 * 8) * 16 * 16]
    assert products_of(resnet)["linear.weight"] == 160 and products_of(llama)["lm_head.weight"] == 40 * 32


def timed_by_size(model: Any, machine: Machine, kinds: tuple[str, ...], removal: bool = True) -> LatencyTable:
    phases = phases_of(model)
    tokens = 10.0 if phases == GENERATION else 1.0

    def took(plan: Any) -> Times:
        macs = size_after(model, plan).macs
        return phases.times([machine.milliseconds(part, macs) for part in phases.names], tokens)

    dense = took(plan_of(model, *kinds))
    plans = [
        TimedPlan(kept_fractions(p), width_of(p), {name: (dense.of(name) / took(p).of(name),) for name in phases.timed})
        for p in plans_for(model, kinds, removal)
    ]
    return fitted(LatencyTable("key", TimingConfig(), dense, tokens, tuple(plans), {}, phases=phases), model)


@pytest.mark.parametrize("name", KINDS)
def test_where_time_is_multiplications_other_plans_are_predicted(name: str) -> None:
    model, machine = small(name), Machine()
    table = timed_by_size(model, machine, KINDS[name])
    assert table.predict({}) == table.dense and all(min(price.ms) >= 0 for price in table.prices)
    assert {(p.place, p.kind) for p in table.prices} >= {
        (s.place, k) for s, x in table.plans[0].shares.items() for k in x
    }
    for seed in range(6):
        plan = random_kept(model, plan_of(model, *KINDS[name]), seed=seed)
        macs, predicted = size_after(model, plan).macs, table.predict_plan(plan)
        for part, found in predicted.parts.items():
            assert found == pytest.approx(machine.milliseconds(part, macs), rel=0.06)
    again = LatencyTable.of(json.loads(json.dumps(table.to_dict())), Path("table.json"))
    assert again == table


def test_a_kind_that_nothing_can_time_is_named() -> None:
    with pytest.raises(InputError, match="couplings of kind 'lines' cannot share a budget"):
        list(plans_for(small_model("marian"), ("lines",)))
    bert = small("bert-classifier")
    heads = plan_of(bert, "heads")
    half = heads.with_kept({e.coupling.name: torch.arange(4) < 2 for e in heads.entries}, {}, {})
    with pytest.raises(InputError, match=r"no encoder\.self_attn heads; measured are encoder\.ffn ffn"):
        timed_by_size(bert, Machine(), ("ffn",), removal=False).predict_plan(half)
    with pytest.raises(InputError, match="no couplings of kind 'heads' in ResNet"):
        list(plans_for(small("resnet"), ("heads",)))


def test_passes_are_timed_on_examples_of_the_median_length() -> None:
    bert = small("bert-classifier")
    batches = batches_of(bert, examples("bert-classifier"), 2)
    lengths = [batch["input_ids"].shape[1] for batch in batches]
    assert lengths[:2] == [8, 8] and max(lengths) <= 9 and {len(batch["input_ids"]) for batch in batches} == {2}
    one = examples("bert-classifier", 1)
    assert [len(batch["input_ids"]) for batch in batches_of(bert, one, 3)] == [3] * 4  # the same again
    typical = Passes.of(bert, None, TimingConfig(batch=2))
    assert typical.inputs[0]["input_ids"].shape == (2, 25) and typical.tokens == 1 and not typical.sentences
    assert typical.work.measures == ("pass",)


def test_a_language_model_writes_no_more_than_it_has_positions_for() -> None:
    llama = small("llama")  # 30 positions
    found = Passes.of(llama, None, TimingConfig())
    assert (found.tokens, found.prompt, found.work.source, found.work.past) == (15, 15, 15, 22)
    few = Passes.of(llama, examples("llama"), TimingConfig(new_tokens=4))
    assert (few.tokens, few.prompt, few.work.past) == (4, 8, 10)
    with pytest.raises(InputError, match="30 new tokens; LlamaForCausalLM has 30 positions, one of them for a prompt"):
        Passes.of(llama, None, TimingConfig(new_tokens=30))
    with pytest.raises(InputError, match="0 new tokens; expected at least 1"):
        TimingConfig(new_tokens=0)


def test_inputs_of_another_task_are_refused() -> None:
    with pytest.raises(InputError, match=r"timed on examples of its task; expected what `encode` of text-class.* list"):
        check_inputs(small("bert-classifier"), ["a sentence"])
    with pytest.raises(InputError, match="sentences"):
        check_inputs(small_model("marian"), None)
    check_inputs(small("resnet"), None)
    check_inputs(small("resnet"), examples("resnet"))


def test_a_key_knows_the_sizes_of_inputs() -> None:
    bert, setting = small("bert-classifier"), TimingConfig()
    keys = [
        key_of(bert, setting, inputs) for inputs in (None, examples("bert-classifier"), examples("bert-classifier"))
    ]
    assert keys[1] == keys[2] != keys[0] and key_of(bert, replace(setting, batch=2)) != keys[0]
    llama = small("llama")
    assert key_of(llama, setting) != key_of(llama, replace(setting, new_tokens=4))


def test_a_table_of_the_format_before_is_read_where_it_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is timed again for a new key."""
    model, setting = small_model("marian"), TimingConfig()
    old = _old_key_of(model, setting)
    table = {
        "key": old,
        "setting": {k: v for k, v in asdict(setting).items() if k != "new_tokens"},
        "machine": {},
        "format": 5,
        "dense": {"encoder": 2.0, "token": 0.5, "sentence": 12.0},
        "tokens": 20.0,
        "plans": [],
        "peak_memory": 5,
        "dense_spread": 0.0,
        "prices": [{"place": "encoder.ffn", "kind": "ffn", "encoder": 0.5, "token": 0.0}],
        "curve": {"encoder": [[1.0, 1.5], [2.0, 2.0]], "token": [[0.5, 0.5]]},
    }
    (tmp_path / f"{old}.json").write_text(json.dumps(table))
    monkeypatch.setattr("tprune.costs.latency.cache.Timer", None)  # nothing is timed
    found = measured(model, None, ["a"], setting, tmp_path, kinds=())
    assert found.key == key_of(model, setting) and found.dense == Times({"encoder": 2.0, "token": 0.5}, 12.0)
    assert found.prices[0].ms == (0.5, 0.0) and found.curve.parts == (((1.0, 1.5), (2.0, 2.0)), ((0.5, 0.5),))
    unknown = {**table, "dense": None, "dense_spread": None}
    (tmp_path / f"{old}.json").write_text(json.dumps(unknown))
    with pytest.raises(TypeError, match="not callable"):  # this one has no dense time, and is timed
        measured(model, None, ["a"], setting, tmp_path, kinds=())


@pytest.mark.parametrize(
    "data",
    [{}, {"parts": [], "quoted": "pass", "measured": []}, {"parts": [{"name": 3}], "quoted": "pass", "measured": []}],
)
def test_phases_that_no_model_has_are_refused(data: Any) -> None:
    assert phases_from_json(json.loads(json.dumps(asdict(GENERATION)))) == GENERATION
    with pytest.raises((KeyError, TypeError, ValueError)):
        phases_from_json(data)


def test_a_price_for_each_part_is_expected(tmp_path: Path) -> None:
    table = timed_by_size(small("resnet"), Machine(), ("channels",)).to_dict()
    for change, says in (
        ({"prices": [{"place": "a", "kind": "ffn", "ms": [1.0, 2.0]}]}, "a price of 2 numbers, expected pass"),
        ({"curve": {"parts": [[[1.0, 1.0]]] * 2}}, "curves of 2 parts, expected 1"),
    ):
        with pytest.raises(InputError, match=rf"t\.json: no latency table .*{says}"):
            LatencyTable.of(json.loads(json.dumps({**table, **change})), tmp_path / "t.json")


def test_plans_are_timed_by_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = time_is_multiplications(monkeypatch, tmp_path)
    llama = small("llama")
    table = measured(llama, None, examples("llama"), TimingConfig(rounds=4), tmp_path, kinds=("ffn",), removal=False)
    assert machine.timed > len(table.plans) and set(table.plans[0].ratios) == {"prefill", "text"}
    assert table.tokens == 15 and table.dense.total == table.dense.of("prefill") + 15 * table.dense.of("step")
    some = next(plans_for(llama, ("ffn",), removal=False))
    step = machine.milliseconds("step", size_after(llama, some).macs)
    assert table.predict_plan(some).of("step") == pytest.approx(step, rel=0.03)
    count = machine.timed
    assert (
        measured(llama, None, examples("llama"), TimingConfig(rounds=4), tmp_path, kinds=("ffn",), removal=False)
        == table
    )
    assert machine.timed == count
