"""What a run found: its file, files of earlier versions, and damaged ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from small_results import ONNX, as_fast, small_results
from tprune.report.results import FILE, Outcome, PseudoTargets, RunResults, TrainedWith, WrittenTokens, finished
from tprune.support.errors import InputError

KEYS = [
    "dense",
    "pruned",
    "speedup",
    "speedup_interval",
    "noise",
    "metric",
    "difference",
    "target",
    "taught",
    "spelling",
    "certificate",
    "export",
    "beams",
    "bench",
    "seed",
    "training",
    "command",
    "commit",
    "versions",
    "machine",
    "model",
    "warnings",
    "task",
    "baselines",
    "precision",
    "rows",
    "refused",
]
SIDE = [
    "scores",
    "at_limit",
    "limit",
    "parameters",
    "macs",
    "bytes",
    "latency_ms",
    "peak_memory",
    "tokens_per_sentence",
]


def full() -> RunResults:
    found = small_results(
        taught=PseudoTargets(9, 0.25, 20),
        spelling=WrittenTokens(30, 40, 1.25),
        training=TrainedWith(precision="bf16", threads=2),
    )
    return replace(found, dense=replace(found.dense, at_limit=0.0, limit=63))


def test_the_file_has_the_keys_that_it_always_had_in_their_order() -> None:
    written = json.loads(json.dumps(full().to_dict()))
    assert list(written) == KEYS and list(written["dense"]) == SIDE
    assert list(written["pruned"]) == [key for key in SIDE if key not in ("at_limit", "limit")]
    assert written["target"] == {"asked": {"sentence_ms": 4.0}, "reached": {"sentence_ms": 3.9}, "speedup": 2.0}
    assert written["noise"] == {"noisy": False, "says": "quiet"} and written["commit"] is None
    assert written["speedup_interval"][ONNX]["sentence"] == [1.9, 2.1]
    assert written["bench"]["work"]["measures"] == ["encoder", "decoder_step", "sentence"]


@pytest.mark.parametrize("results", [full(), small_results(), small_results(target=Outcome({}, {}))])
def test_results_come_back_from_their_file(results: RunResults, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(results.to_dict()))
    assert finished(tmp_path) == results
    assert json.dumps(finished(tmp_path).to_dict()) == json.dumps(results.to_dict())


def test_a_file_of_before_something_was_noted_can_be_read() -> None:
    old: dict[str, Any] = json.loads(json.dumps(full().to_dict()))
    for key in ("taught", "spelling", "training", "model", "seed", "warnings"):
        del old[key]
    del old["dense"]["at_limit"], old["dense"]["limit"]
    found = RunResults.from_dict({**old, "later": 1})
    assert (found.taught, found.spelling, found.training, found.model, found.seed) == (None,) * 5
    assert found.warnings == () and found.dense.at_limit is None


def test_ratios() -> None:
    found = small_results(**as_fast(3.0, 2.5, 3.25))
    assert found.runtime == ONNX and found.faster == found.ratio(ONNX) and found.faster.interval == (2.5, 3.25)
    longer = replace(found, pruned=replace(found.pruned, tokens_per_sentence=12.0))
    assert found.per_token(ONNX) == 3.0 and longer.per_token(ONNX) == pytest.approx(3.6)
    assert small_results().ratio(ONNX, "encoder").median == 2.0
    assert small_results().target.speedup == 2.0 and Outcome({}, {}, "macs", 0.5).speedup is None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data["dense"].pop("scores"), "dense.scores is missing"),
        (lambda data: data["pruned"]["scores"].pop("BLEU"), "pruned.scores has no BLEU, the metric of the run"),
        (lambda data: data["dense"]["scores"]["BLEU"].update(value="good"), "dense.scores.BLEU.value is 'good'"),
        (lambda data: data["pruned"].update(macs="many"), "pruned.macs is 'many'; expected a whole number"),
        (lambda data: data.update(target=[]), "target is []; expected an object"),
        (lambda data: data["target"].pop("asked"), "target.asked is missing"),
        (lambda data: data["target"].update(speedup="2"), "target.value is '2'; expected a number"),
        (lambda data: data["speedup_interval"].clear(), "have not the same runtimes"),
        (lambda data: (data["speedup"].clear(), data["speedup_interval"].clear()), "or none"),
        (lambda data: data["warnings"].append(3), "warnings[1] is 3; expected a text"),
        (lambda data: data.clear(), "dense is missing"),
    ],
)
def test_damaged_results_name_the_file_and_what_is_wrong(spoil: Any, says: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(small_results().to_dict()))
    spoil(data)
    (tmp_path / FILE).write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        finished(tmp_path)
    said = str(error.value)
    assert said.startswith(f"{tmp_path}: its results are not what a run writes (") and says in said
    assert f"delete {tmp_path / FILE}" in said


def as_before(results: RunResults) -> dict[str, Any]:
    """The content of a file of before runs named their metric."""
    data: dict[str, Any] = json.loads(json.dumps(results.to_dict()))
    scores = {side: data[side].pop("scores") for side in ("dense", "pruned")}
    for side, found in scores.items():
        data[side] |= {"bleu": found["BLEU"]["value"], "chrf": found["chrF"]["value"]}
    signatures = {
        f"{key}_signature": scores["dense"][name]["signature"] for key, name in (("bleu", "BLEU"), ("chrf", "chrF"))
    }
    paired = {key: value for key, value in data.pop("difference").items() if key != "metric"}
    for key in ("metric", "task", "baselines"):
        del data[key]
    return {**data, "bleu_difference": paired, "signatures": signatures}


def test_a_file_of_before_runs_named_their_metric_says_the_same() -> None:
    made = full()
    found = RunResults.from_dict(as_before(made))
    assert (found.metric, found.task, found.difference) == ("BLEU", "translation", made.difference)
    assert found.dense.scores.keys() == made.dense.scores.keys() and found.beams == made.beams
    for name, score in found.pruned.scores.items():
        was = made.pruned.scores[name]
        assert (score.value, score.signature, score.metric) == (was.value, was.signature, was.metric)
        assert score.low == score.high == score.value and score.count == 0  # nothing is made up
    assert RunResults.from_dict(found.to_dict()) == found
    odd = as_before(made)
    del odd["pruned"]["bleu"]
    with pytest.raises(ValueError, match=r"pruned\.scores has no BLEU"):
        RunResults.from_dict(odd)
