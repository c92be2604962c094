"""What a run found is put together from what its stages left."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from small_models import small_model
from small_pairs import PAIRS
from small_results import MEASURES, small_results
from tprune.bench.harness import Workload
from tprune.counting.size import size
from tprune.data.parallel import Corpus
from tprune.realise.checkpoint import save
from tprune.recipe.reader import check_recipe
from tprune.report.results import PseudoTargets, RunResults, TrainedWith
from tprune.run.folder import Run
from tprune.run.outputs import markers
from tprune.run.results import results_of
from tprune.support.files import write_json
from tprune.support.reporting import Progress

MADE = small_results()


def stages() -> dict[str, Any]:
    """Markers as the stages write them, of results that are made up."""
    written, sides = MADE.to_dict(), ("dense", "pruned")
    weighs = {key: {side: written[side][key] for side in sides} for key in ("peak_memory", "tokens_per_sentence")}
    return {
        "shrink": {"certificate": written["certificate"], "asked": {"macs": 10.0}, "reached": {"macs": 9.0}},
        "export": written["export"],
        "evaluate": {
            "metric": "BLEU",
            "scores": {side: written[side]["scores"] for side in sides},
            "facts": {side: {} for side in sides},
            "difference": written["difference"],
            "baselines": {},
            "beams": 4,
        },
        "bench": {
            "latency_ms": {side: written[side]["latency_ms"] for side in sides},
            "speedup": written["speedup"],
            "speedup_interval": written["speedup_interval"],
            "noise": written["noise"],
            **weighs,
            "threads": 1,
            "batch": 1,
            "rounds": 4,
            "protocol": "in turns",
            "work": asdict(Workload(measures=MEASURES)),
        },
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    recipe = check_recipe(
        {
            "data": {},
            "train": {"steps": 1},
            "prune": {"steps": 0, "macs": 0.5},
            "recover": {"steps": 1},
        }
    )
    for side in ("dense", "pruned"):
        save(small_model("marian"), tmp_path / side)
    for name, left in stages().items():
        markers(tmp_path).put(name, left)
    write_json(tmp_path / "run.json", {"training": {"precision": "fp32", "threads": 1}})
    return Run(tmp_path, recipe, Corpus(PAIRS, PAIRS, {"test": PAIRS}), None, "tprune run", Progress({}))


def test_results_are_what_the_stages_left(run: Run) -> None:
    got, weighs = results_of(run), size(small_model("marian"))
    assert (got.dense.parameters, got.dense.macs, got.dense.bytes) == (weighs.parameters, weighs.macs, 9)
    assert got.speedup_interval == MADE.speedup_interval and got.difference == MADE.difference
    assert got.export == MADE.export and got.bench == MADE.bench and got.certificate == MADE.certificate
    assert got.target.to_dict() == {"asked": {"macs": 10.0}, "reached": {"macs": 9.0}, "macs": 0.5}
    assert got.training == TrainedWith(precision="fp32", threads=1) and got.command == "tprune run"
    assert (got.taught, got.spelling, got.dense.at_limit, got.model) == (None,) * 4


def test_the_content_of_the_file_ends_with_the_model_and_the_warnings(run: Run) -> None:
    content = replace(results_of(run), model="m", warnings=("odd",)).to_dict()
    assert list(content)[:3] == ["dense", "pruned", "speedup"] and list(content)[-8:] == [
        "machine",
        "model",
        "warnings",
        "task",
        "baselines",
        "precision",
        "rows",
        "refused",
    ]
    assert RunResults.from_dict(content).warnings == ("odd",)
    assert list(RunResults.from_dict(content).to_dict()) == list(content)


def test_translations_that_end_at_the_limit_are_told_of_where_they_were_counted(run: Run) -> None:
    markers(run.out).put("distill-data", {"sentences": 9, "at_limit": 0.25, "limit": 20})
    left = stages()["evaluate"]
    left["facts"]["dense"].update(at_limit=0.5, limit=30)
    markers(run.out).put("evaluate", left)
    got = results_of(run)
    assert got.taught == PseudoTargets(9, 0.25, 20) and (got.dense.at_limit, got.dense.limit) == (0.5, 30)
    markers(run.out).put("distill-data", {"sentences": 9})  # a run of before they were counted
    assert results_of(run).taught is None


def test_scores_of_a_run_of_before_it_named_its_metric_are_taken_over(run: Run) -> None:
    side = {
        "bleu": 30.0,
        "chrf": 50.0,
        "bleu_signature": "b",
        "chrf_signature": "c",
        "sentences": 32,
        "at_limit": 0.5,
        "limit": 9,
    }
    paired = {"delta": -0.2, "low": -0.5, "high": 0.1, "p_value": 0.5, "samples": 1000, "seed": 12345}
    markers(run.out).put("evaluate", {"dense": side, "pruned": {**side, "bleu": 29.8}, "paired": paired, "beams": 4})
    got = results_of(run)
    assert (got.metric, got.beams, got.difference) == ("BLEU", 4, MADE.difference)
    assert [each.scores["BLEU"].value for each in (got.dense, got.pruned)] == [30.0, 29.8]
    assert got.dense.scores["chrF"].signature == "c" and got.dense.scores["chrF"].count == 32
    assert (got.dense.at_limit, got.dense.limit) == (0.5, 9) and RunResults.from_dict(got.to_dict()) == got
