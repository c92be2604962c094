"""A whole run of a text classifier: its metric is accuracy, and nothing of translation is in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tprune
from small_pairs import PAIRS
from small_texts import TEXTS, classifier, tokenizer
from tprune.core.data import evenly
from tprune.data.splits import Splits
from tprune.recipe.changes import built_in, changed, without_training
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Recipe
from tprune.report.results import finished
from tprune.report.table import notes, results_table
from tprune.run import stages
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.outputs import markers
from tprune.run.results import evaluate
from tprune.support.errors import InputError
from tprune.support.files import read_json
from tprune.support.reporting import Progress

QUICK = {"prune.search": 2, "bench.rounds": 4, "prune.multiple": {}, "train_precision": "fp32"}


def recipe(**given: Any) -> Recipe:
    how = {
        **without_training(built_in=True),
        **QUICK,
        **{key.replace("__", "."): value for key, value in given.items()},
    }
    return changed(read_recipe(built_in("text-classification")), "prune", how, {"macs": 0.5}, needed=True)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tprune.save(classifier(), tmp_path_factory.mktemp("dense") / "model", tokenizer())


def run_of(out: Path, dense: Path, how: Recipe | None = None, **given: Any) -> Run:
    how = how or recipe()
    corpus: Any = Splits(TEXTS, evenly(TEXTS, 8), {"test": evenly(TEXTS, 12)})
    return Run(out, how, corpus, str(dense), "tprune prune", Progress(planned(how)), **given)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, dense: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    stages.run(run_of(out, dense))
    return out


@pytest.mark.slow
def test_a_run_is_scored_by_its_task(done: Path) -> None:
    found = finished(done)
    assert (found.task, found.metric, found.beams, found.phase) == ("text-classification", "accuracy", None, "pass")
    assert found.pruned.macs <= 0.5 * found.dense.macs and found.target.value == 0.5
    score = found.dense.scores["accuracy"]
    assert score.value == 100.0 and score.count == 12 and score.low < 100.0 <= score.high and score.metric.unit == "%"
    assert found.difference.delta == found.pruned.scores["accuracy"].value - 100.0
    assert list(found.baselines) == ["majority class"] and found.baselines["majority class"].value < 100.0
    assert found.faster.low <= found.faster.median <= found.faster.high and found.longer == 1.0
    assert found.export.dense.inputs > 0 and found.certificate.forward <= 1e-5
    assert found.dense.at_limit is None and found.dense.tokens_per_sentence == 0
    assert read_json(done / "run.json")["recipe"]["task"] == "text-classification"


@pytest.mark.slow
def test_what_was_predicted_is_kept_in_words(done: Path) -> None:
    said, tests = read_json(done / "predictions.json"), evenly(TEXTS, 12)
    assert not (done / "translations.json").exists()
    assert said["input"] == list(tests.texts) and said["reference"] == said["dense"] == list(tests.labels)
    assert set(said["pruned"]) <= {"positive", "negative"} and len(said["pruned"]) == 12


@pytest.mark.slow
def test_page_and_table_speak_of_texts_and_of_accuracy(done: Path) -> None:
    page, table = (done / "report.html").read_text(encoding="utf-8"), results_table(finished(done))
    for words in ("accuracy", "Predictions side by side", "the same texts", "a pass", "majority class"):
        assert words in page, words
    assert "accuracy, %" in table and "100.00" in table and "onnxruntime: pass, ms" in table
    for strange in ("BLEU", "sentence", "translation", "beam"):
        assert strange not in page and strange not in table, strange
    assert "koehn2004statistical" not in page and "hassibi1993second" in page
    assert any(line.startswith("timed, 1 thread(s)") for line in notes(finished(done)))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(
    tmp_path: Path, dense: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(run: Run) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "DONE_BY", {**stages.DONE_BY, "export": killed})
        with pytest.raises(KeyboardInterrupt):
            stages.run(run_of(tmp_path / "run", dense))
    before = (tmp_path / "run" / "pruned" / "plan.json").stat().st_mtime_ns
    monkeypatch.setattr("tprune.run.sequence.gather_evidence", None)  # nothing is measured again
    stages.run(run_of(tmp_path / "run", dense, until="evaluate"))
    assert (tmp_path / "run" / "pruned" / "plan.json").stat().st_mtime_ns == before
    scored, whole = (read_json(out / "stages" / "evaluate.json") for out in (tmp_path / "run", done))
    assert scored == whole


@pytest.mark.slow
def test_recovery_learns_from_the_dense_models_outputs(tmp_path: Path, dense: Path) -> None:
    how = recipe(recover__steps=3, recover__warmup=1)
    assert how.recover.distill == 0.5 and not how.recover.translates
    stages.run(run_of(tmp_path / "run", dense, how, until="recover"))
    assert read_json(tmp_path / "run" / "stages" / "recover.json")["loss"].keys() == {"dense", "cut", "recovered"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"recover__sequence_distillation": 0.5, "recover__steps": 3},
            r"recover.sequence_distillation 0.5: text-classification has no pseudo-targets",
        ),
        (
            {"prune__output_vocabulary": 20, "recover__steps": 3, "recover__distill": 0.0},
            "output_vocabulary 20: text-classification has no output vocabulary to make smaller",
        ),
        ({"bleu_tokenize": "13a"}, "bleu_tokenize 13a: text-classification is not scored by BLEU"),
        ({"task": "image-classification"}, "is for text-classification; expected a model for image-classification"),
    ],
)
def test_what_means_nothing_for_the_task_is_refused_before_anything_is_written(
    given: dict[str, Any], says: str, tmp_path: Path, dense: Path
) -> None:
    with pytest.raises(InputError, match=says):
        stages.run(run_of(tmp_path / "run", dense, recipe(**given)))
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_task_is_refused(tmp_path: Path, dense: Path) -> None:
    pairs: Any = Splits(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})
    asked = replace(run_of(tmp_path / "run", dense, recipe(task="translation")), corpus=pairs)
    with pytest.raises(InputError, match=r"/model: .* is for text-classification; expected a model for translation"):
        stages.run(asked)
    assert not (tmp_path / "run").exists()


class Torch:
    """What an exported model does, by torch."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()

    def logits(self, batch: Any) -> Any:
        with torch.no_grad():
            return self.model(**{name: torch.from_numpy(each) for name, each in batch.items()}).logits.numpy()


def test_both_exports_are_scored_and_compared(tmp_path: Path, dense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worse = classifier()
    with torch.no_grad():
        worse.classifier.bias[:] = torch.tensor([100.0, 0.0])  # everything is negative
    sides = {"dense": classifier(), "pruned": worse}
    tprune.save(sides["dense"], tmp_path / "dense", tokenizer())
    monkeypatch.setattr("tprune.run.results.open_exported", lambda folder, threads: Torch(sides[folder.name]))
    markers(tmp_path).put("export", {"dense": {}, "pruned": {}})
    found = evaluate(run_of(tmp_path, dense, recipe(task="text-classification")))
    assert found["metric"] == "accuracy" and found["facts"] == {"dense": {}, "pruned": {}} and found["beams"] is None
    values = {side: each["accuracy"]["value"] for side, each in found["scores"].items()}
    labels = evenly(TEXTS, 12).labels
    negative = round(100 * labels.count("negative") / len(labels), 4)
    assert (
        values == {"dense": 100.0, "pruned": negative} == {"dense": 100.0, "pruned": 100 + found["difference"]["delta"]}
    )
    assert found["difference"]["high"] < 0 < found["scores"]["pruned"]["accuracy"]["low"]
    assert set(found["baselines"]) == {"majority class"}
    said = read_json(tmp_path / "predictions.json")
    assert set(said["pruned"]) == {"negative"} and said["dense"] == said["reference"]


def test_vocabularies_and_training_from_nothing_are_for_translation(tmp_path: Path, dense: Path) -> None:
    with pytest.raises(InputError, match="--trim-vocab: text-classification"):
        stages.run(run_of(tmp_path / "run", dense, vocabulary=TEXTS))
    untrained = replace(run_of(tmp_path / "run", dense, recipe(task="text-classification")), model=None)
    with pytest.raises(InputError, match="needs a trained model; a recipe trains models for translation alone"):
        stages.run(untrained)
    pairs: Any = Splits(PAIRS, PAIRS, {"test": PAIRS})
    with pytest.raises(InputError, match="text-classification: Parallel; expected LabeledTexts"):
        stages.run(replace(run_of(tmp_path / "run", dense), corpus=pairs))


@pytest.mark.slow
def test_inputs_without_labels_suffice_to_choose_by_divergence() -> None:
    """Any class that the model knows may stand for one that nobody does: only the losses that are told change."""
    how = recipe().prune.model_copy(update={"objective": "divergence", "steps": 0})
    unlabelled = replace(TEXTS, labels=("negative",) * len(TEXTS))
    plans, losses = [], []
    for texts in (TEXTS, unlabelled):
        made = tprune.compress(classifier(), tokenizer(), texts, texts, prune=how, recover=tprune.Recover(steps=0))
        plans.append(made.plan)
        losses.append(made.losses["cut"])
    assert plans[0] == plans[1] and losses[0] != losses[1]


def test_one_call_compresses_a_classifier() -> None:
    model, said = classifier(), list[str]()
    before = json.dumps({name: float(x.sum()) for name, x in model.state_dict().items()})
    small = tprune.compress(
        model,
        tokenizer(),
        TEXTS,
        evenly(TEXTS, 8),
        report=said.append,
        prune=tprune.Prune(steps=0, macs=0.5, allocation="loss", search=2, floor=0.0),
        recover=tprune.Recover(steps=0),
    )
    assert small.reached.macs <= 0.5 * small.dense.macs and small.certificate.forward <= 1e-5
    assert "nats per text" in str(small) and "over 8 texts" in str(small) and "sentence" not in str(small)
    assert before == json.dumps({name: float(x.sum()) for name, x in model.state_dict().items()})
    with pytest.raises(InputError, match="train: got a tuple; expected data for text-classification"):
        tprune.compress(model, tokenizer(), (["a"], ["b"]), TEXTS, macs=0.5, one_shot=True)
    with pytest.raises(InputError, match="has no pseudo-targets"):
        tprune.compress(
            model, tokenizer(), TEXTS, TEXTS, macs=0.5, recover=tprune.Recover(steps=2, sequence_distillation=1)
        )
