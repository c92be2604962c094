"""A time that is asked for of models that do not translate: evidence, selection, verification and forecast, and what is
refused.
"""

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from other_tasks import KINDS, examples, material, plan_of, small, time_is_multiplications
from tprune.budget.dense_timing import DenseTiming
from tprune.budget.evidence import gather_evidence, search_allocation, select_plan, verify_latency
from tprune.budget.forecast import forecast
from tprune.budget.latency import unit_of
from tprune.core.task import Examples
from tprune.costs.latency import cache as latency_cache
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.table import TimingConfig
from tprune.costs.size import size_after
from tprune.recipe.schema import Prune
from tprune.support.errors import InputError, NoisyMachineError, UnreachableError

QUOTED = {"bert-classifier": "pass", "llama": "text", "resnet": "pass"}
SETTING = TimingConfig(rounds=4)


def asked(name: str, **target: Any) -> Prune:
    return Prune.model_validate({"kinds": list(KINDS[name]), "steps": 0, "search": 0, **target})


@pytest.mark.parametrize("name", KINDS)
def test_a_speedup_is_reached(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where what is cut turns out slower than the table says: it is corrected."""
    machine = time_is_multiplications(monkeypatch, tmp_path)
    model, how, data = small(name), asked(name, speedup=1.25), examples(name)
    plan, evidence_of = plan_of(model, *KINDS[name]), material(name, model)
    evidence = gather_evidence(DenseTiming(model, None, data, SETTING, evidence_of.task), plan, evidence_of, how)
    assert evidence.table is not None and evidence.table.phases.quoted == QUOTED[name]
    budget, unit = evidence.table.dense.total / 1.25, unit_of(evidence.table)
    assert unit == f"{QUOTED[name]}_ms" and any(max(curve.losses) > 0 for curve in evidence.curves)
    chosen = select_plan(model, plan, how, None, evidence)
    assert chosen.asked == {unit: budget} and 0 < chosen.reached[unit] <= budget
    machine.slower = 1.15
    found = verify_latency(model, None, plan, how, evidence, data)
    assert found.tried > 1 and found.plan.asked == {unit: budget}
    assert found.measured.total <= 1.06 * budget and found.off < 0.3
    macs = size_after(model, found.plan).macs
    phases = found.table.phases
    took = phases.times([1.15 * machine.milliseconds(part, macs) for part in phases.names], found.table.tokens)
    assert found.measured.total == pytest.approx(took.total)
    said = forecast(model, found.plan, found.table)
    assert said.quoted == QUOTED[name] and said.speedup is not None and said.speedup >= 1.2
    lines = [line.split(":")[0] for line in str(said).splitlines()]
    assert {*phases.names, phases.quoted, unit} <= set(lines) and "sentence" not in str(said)


@pytest.mark.parametrize("name", KINDS)
def test_what_cannot_be_reached_says_what_can_be(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_is_multiplications(monkeypatch, tmp_path)
    model, data = small(name), examples(name)
    plan, quoted, learnt = plan_of(model, *KINDS[name]), QUOTED[name], material(name, model)
    with pytest.raises(UnreachableError, match=rf"asked for \S+ ms a {quoted} \(30x\); with .* it takes \S+ ms \(\d"):
        gather_evidence(DenseTiming(model, None, data, SETTING, learnt.task), plan, learnt, asked(name, speedup=30.0))
    with pytest.raises(InputError, match=rf"asked for 900 ms a {quoted}, but the dense model takes \S+ ms already"):
        gather_evidence(
            DenseTiming(model, None, data, SETTING, learnt.task), plan, learnt, asked(name, latency_ms=900.0)
        )


def test_whole_selections_are_measured_of_any_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_is_multiplications(monkeypatch, tmp_path)
    name = "resnet"
    model, how, data = small(name), asked(name, speedup=1.25, search=3), examples(name)
    plan, learnt = plan_of(model, *KINDS[name]), material(name, model)
    evidence = gather_evidence(DenseTiming(model, None, data, SETTING, learnt.task), plan, learnt, how)
    said: list[str] = []
    found = search_allocation(model, plan, how, evidence, learnt, said.append)
    assert select_plan(model, plan, how, None, found).selected
    assert re.search(r"\d selections? measured", said[-1])  # how many differ from the first depends on the machine


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_small_bert_is_really_made_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all of its time is in hidden units; four plans make the table, to save time."""
    monkeypatch.setattr(latency_cache, "plans_for", lambda *how: islice(plans_for(*how), 4))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=4096,
        max_position_embeddings=64,
        num_labels=5,
    )
    model: Any = BertForSequenceClassification(config).eval()
    data = examples("bert-classifier")
    longer = replace(data, texts=tuple(row * 5 for row in data.texts))
    assert isinstance(longer, Examples)
    learnt = replace(material("bert-classifier", model), train=data, valid=data)
    how = Prune(kinds=["ffn"], steps=0, search=0, speedup=1.2)
    plan = plan_of(model, "ffn")
    try:
        evidence = gather_evidence(DenseTiming(model, None, longer, SETTING, learnt.task), plan, learnt, how)
        found = verify_latency(model, None, plan, how, evidence, longer)
    except NoisyMachineError as error:
        pytest.skip(str(error))
    assert evidence.table is not None
    assert evidence.table.dense.total / found.measured.total > 1.15
