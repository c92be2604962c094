"""Tagged words and other tasks whose data are files: scored fast, and the whole way from files to a pruned model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from small_tasks import TAGGED, TEXTS, encoder, tagger, words
from tprune.realise.checkpoint import save
from tprune.report.results import RunResults

Call = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Subject:
    model: Path
    data: Path
    task: str
    metrics: tuple[str, ...]
    baselines: tuple[str, ...]


def token_classifier(folder: Path) -> Subject:
    rows = ("\n".join(map(" ".join, zip(*row, strict=True))) + "\n" for row in list(TAGGED) * 10)
    (folder / "tags.conll").write_text("\n".join(rows))
    model = save(tagger(), folder / "model", words())
    metrics = ("entity F1", "token accuracy")
    return Subject(model, folder / "tags.conll", "token-classification", metrics, ("majority tag of the test data",))


def sentence_encoder(folder: Path) -> Subject:
    rows = (f"{a}\t{b}\t{number}" for a in TEXTS for number, b in enumerate(TEXTS))
    (folder / "pairs.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows]) + "\n")
    model = save(encoder(), folder / "model", words())
    return Subject(model, folder / "pairs.tsv", "sentence-similarity", ("Spearman",), ())


@pytest.fixture(params=[token_classifier, sentence_encoder], ids=lambda make: make.__name__)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    made: Subject = request.param(tmp_path)
    return made


def test_a_checkpoint_is_scored_beside_baselines(tprune: Call, subject: Subject) -> None:
    code, out, notes = tprune("evaluate", subject.model, "--test", subject.data, "--json")
    assert code == 0, notes
    found = json.loads(out)
    assert found["task"] == subject.task
    assert tuple(score["metric"]["name"] for score in found["scores"][str(subject.model)]) == subject.metrics
    assert tuple(found["baselines"]) == subject.baselines


@pytest.mark.slow
def test_from_files_to_a_pruned_model(tprune: Call, subject: Subject) -> None:
    sets, few = (
        ("--train", subject.data, "--valid", subject.data),
        ("--set", "bench.rounds=4", "--set", "prune.floor=0"),
    )
    code, _, notes = tprune(
        "prune", subject.model, "--macs", 0.9, "--out", "run", "--kind", "ffn", *sets, *few, "--steps", 4
    )
    assert code == 0 and Path("run/report.html").exists(), notes
    code, out, notes = tprune("evaluate", "run", "--test", subject.data)
    assert code == 0 and f"run/onnx/pruned against run/onnx/dense: {subject.metrics[0]} " in out, notes
    code, _, notes = tprune("export", "run/pruned", "--out", "exported")
    assert code == 0, notes
    code, out, notes = tprune("bench", "exported", "exported", "--rounds", 4)
    assert code == 0 and "multiplications of an input" in out, notes
    code, out, notes = tprune("inspect", "run/pruned", "--kind", "ffn", "--json")
    assert code == 0 and json.loads(out)["task"] == subject.task, notes


@pytest.mark.slow
def test_summaries_from_files_to_a_pruned_model(tprune: Call, model: Path) -> None:
    pytest.importorskip("rouge_score")
    rows = [
        {"document": a * 30, "summary": b} for a, b in zip(("a cat sat ", "the dog ran "), ("x y", "v u"), strict=True)
    ]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 8))
    sets, few = ("--train", "d.jsonl", "--valid", "d.jsonl"), ("--set", "bench.rounds=4", "--set", "prune.floor=0")
    line = ("prune", model, "--task", "summarisation", "--macs", 0.9, "--one-shot", "--out", "run", "--kind", "ffn")
    code, _, notes = tprune(*line, *sets, *few)
    assert code == 0 and Path("run/report.html").exists(), notes
    assert "are cropped to the 32 tokens that the model takes" in notes
    found = RunResults.from_dict(json.loads(Path("run/results.json").read_text()))
    assert set(found.pruned.scores) == {
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L",
    }
    code, out, notes = tprune("evaluate", "run", "--test", "d.jsonl")
    assert code == 0 and "run/onnx/pruned against run/onnx/dense: ROUGE-1 " in out, notes
    assert "beginning of the document" in out
    code, _, notes = tprune("evaluate", "run", "--test", "d.jsonl", "--bleu-tokenize", "13a")
    assert code == 2 and "--bleu-tokenize is for translation" in notes
