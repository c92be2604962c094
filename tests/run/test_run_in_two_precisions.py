"""A run in which int8 and fp32 compete: what it says, keeps, goes on from, and exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_run_of_classifier import recipe, run_of

import tprune
from fake_bench import as_bench
from other_tasks import Machine
from small_texts import TEXTS, classifier, tokenizer
from tprune.budget import both
from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan
from tprune.core.precision import FP32, INT8_WEIGHTS, Precision
from tprune.costs.latency import subject as latency_subject
from tprune.costs.latency import timer as latency_timer
from tprune.counting.size import size
from tprune.recipe.changes import changed
from tprune.recipe.schema import Bench, Recipe
from tprune.run import stages
from tprune.run.numbers import check_auto, limited
from tprune.runtimes.roundable import Roundable
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.train.training_data import TrainingData

HARMED = "model.encoder.layers.0.ffn"


@dataclass
class Rounding(Machine):
    """In int8 a multiplication takes two fifths, in products that stay fp32 all of its time."""

    def export(self, model: Any, tokenizer: Any, out: Path, **how: Any) -> None:
        out.mkdir(exist_ok=True, parents=True)
        precision: Precision = how.get("precision", FP32)
        inside = [(name, p.numel()) for name, p in model.named_parameters() if "encoder.layer" in name and p.ndim > 1]
        exact = sum(count for name, count in inside if name in precision.exceptions) / sum(c for _, c in inside)
        share = 1.0 if precision.exact else 0.4 + 0.6 * exact
        write_json(out / "macs.json", share * size(model, how.get("task")).macs)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tprune.save(classifier(), tmp_path_factory.mktemp("dense") / "model", tokenizer())


def harms(model: Any, parts: Mapping[str, Sequence[Roundable]], loss: Any, task: Any) -> dict[str, float]:
    """Instead of measuring what int8 adds, which is nothing to so small a model: one block cannot bear it."""
    return {name: 5.0 if name == HARMED else 0.0 for name in parts}


def asked(precision: str, **targets: float) -> Recipe:
    how = {"bench.precision": precision, "prune.kinds": ["ffn", "heads"], "prune.floor": 0.1}
    return changed(recipe(), "prune", how, {"macs": None, **(targets or {"speedup": 2.2})}, needed=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rounding:
    made = Rounding()
    monkeypatch.setattr(latency_subject, "export", made.export)
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(made.bench))
    monkeypatch.setattr(both, "int8_losses", harms)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.mark.slow
def test_int8_and_fp32_compete(machine: Rounding, dense: Path, tmp_path: Path) -> None:
    run, said = run_of(tmp_path / "run", dense, asked("auto"), dry=True), list[str]()
    run.progress.note = said.append  # type: ignore[method-assign]
    stages.run(run)
    forecast, timed = read_json(run.out / "forecast.json"), machine.timed
    up, harmed = (f"bert.encoder.layer.0.{name}.dense.weight" for name in ("intermediate", "output"))
    assert forecast["precision"] == {"name": "int8", "exceptions": [up, harmed]}
    assert any(line.startswith("precision: int8 (") and harmed in line for line in said)
    assert any("the plan for fp32 of the same target" in line for line in said)
    assert forecast["beside_fp32"]["loss"] <= forecast["beside_fp32"]["prices"]["loss"] + 1e-6
    marker = read_json(run.out / "stages" / "profile.json")["mixed"]
    assert marker["losses"][HARMED] == 5.0 and marker["weights"][HARMED] == [up, harmed]
    stages.run(replace(run, dry=False, until="export"))
    assert machine.timed == timed  # what was measured is what goes on
    plan = Plan.load(run.out / "pruned")
    assert plan.precision is not None and list(plan.precision.exceptions) == forecast["precision"]["exceptions"]
    for side, kept in (("pruned", plan.precision.exceptions), ("dense", ())):
        layout = read_json(run.out / "onnx" / f"{side}-int8" / "layout.json")
        assert (layout["precision"], tuple(layout["exceptions"])) == ("int8", kept)


@pytest.mark.slow
def test_a_plan_for_int8_is_compared_where_times_in_fp32_are_known(
    machine: Rounding, dense: Path, tmp_path: Path
) -> None:
    found = {}
    for name, precision in (("alone", "int8"), ("fp32", "fp32"), ("both", "int8")):
        speed = 1.5 if precision == "fp32" else 2.2
        stages.run(run_of(tmp_path / name, dense, asked(precision, speedup=speed), dry=True))
        found[name] = read_json(tmp_path / name / "forecast.json")
    assert "beside_fp32" not in found["alone"] and "beside_fp32" not in found["fp32"]
    assert found["both"]["beside_fp32"]["precision"] == "int8" and "precision" not in found["both"]


@pytest.mark.slow
def test_speeds_of_a_frontier_go_on_from_its_measurements(
    machine: Rounding, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = tmp_path / "run", list[str]()
    run = run_of(out, dense, asked("int8", speedup=1.5), dry=True, speeds=(1.5, 2.0))
    run.progress.note = said.append  # type: ignore[method-assign]
    found = stages.run(run)["frontier"]
    assert read_json(out / "frontier.json") == found and not found["refused"]
    by = {(point["precision"], point["asked"]): point for point in found["points"]}
    assert list(by) == [(name, speed) for name in ("fp32", "int8") for speed in (1.5, 2.0)]
    reached = {key: point for key, point in by.items() if point["speedup"] is not None}
    assert list(reached) == [("fp32", 1.5), ("int8", 1.5), ("int8", 2.0)]  # fp32 is too slow here, and says so
    assert all(point["speedup"] >= speed for (_, speed), point in reached.items())
    assert "asked for" in by["fp32", 2.0]["why"]
    assert reached["int8", 1.5]["loss"] <= reached["fp32", 1.5]["loss"]
    table, plot = said[-1].splitlines(), (out / "frontier.svg").read_text(encoding="utf-8")
    assert [line.split()[:2] for line in table[1:5]] == [[name, f"{speed:g}x"] for name, speed in by]
    for (name, speed), point in by.items():
        assert (f"{name} {speed:g}x" in plot) == (point["speedup"] is not None)
    timed = list[str]()

    def bench(call: Any) -> dict[str, Any]:
        timed.extend(call.others)
        return machine.bench(call)

    def again(*arguments: Any) -> None:
        raise AssertionError("losses are measured again")

    monkeypatch.setattr(latency_timer, "bench_all", as_bench(bench))
    monkeypatch.setattr("tprune.budget.evidence.measure_loss_curves", again)
    stages.run(run_of(out, dense, asked("int8", speedup=2.0), dry=True))
    assert {name for name in timed if not name.startswith("dense")} == {"the plan"}  # the chosen one, to verify it
    forecast = read_json(out / "forecast.json")
    assert forecast["reached"]["pass_ms"] == pytest.approx(reached["int8", 2.0]["ms"], rel=0.03)


def test_precisions_compete_for_time_or_memory_alone() -> None:
    for target in ({"speedup": 2.0}, {"latency_ms": 1.0}, {"memory_mb": 50.0}):
        check_auto(asked("auto", **target))
    with pytest.raises(InputError, match="precision auto: macs is the same in every precision"):
        check_auto(asked("auto", macs=0.5))
    how = asked("auto", speedup=2.0)
    other = how.model_copy(update={"bench": how.bench.model_copy(update={"runtime": "openvino"})})
    with pytest.raises(InputError, match="openvino does not mix precisions by weight; expected onnxruntime"):
        check_auto(other)


def test_a_limit_is_for_int8_and_keeps_whole_products() -> None:
    model = classifier()
    task = task_of(model)
    data = TrainingData.of(task, model, tokenizer(), TEXTS, TEXTS)
    limit, weight, said = Bench(max_int8_loss=100.0), "bert.pooler.dense.weight", list[str]()
    assert limited(model, FP32, limit, data, said.append) == FP32
    assert limited(model, INT8_WEIGHTS, limit, data, said.append) == INT8_WEIGHTS and not said
    kept = Precision("int8", (weight,))
    assert limited(model, kept, Bench(), data, said.append) == kept and not said
    assert limited(model, kept, limit, data, said.append) == kept and "with 1 weight in fp32" in said[0]
    with pytest.raises(InputError, match="no parameter is called 'nothing'"):
        limited(model, Precision("int8", ("nothing",)), limit, data, said.append)
