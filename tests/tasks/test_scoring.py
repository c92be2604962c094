"""Scores, differences and samples of whatever task: their values, and what must not change them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from small_tasks import KNOWN, Known, language_modelling, text_classification, translation
from tprune.core.score import Metric, Score
from tprune.core.task import Predictions
from tprune.support.errors import InputError
from tprune.tasks.metrics.bootstrap import interval, paired
from tprune.tasks.metrics.perplexity import perplexity
from tprune.tasks.metrics.translation import bleu_interval, paired_bootstrap, quality, translation_measures
from tprune.tasks.scoring import compare, poor, sampled_predictions, score_of, scores
from tprune.tasks.text_classification import EncodedTexts, TextClassification

TASK = TextClassification()


def classified(*classes: int) -> EncodedTexts:
    return EncodedTexts(tuple([5] for _ in classes), classes, {0: "no", 1: "yes"})


def said(*classes: int) -> Predictions:
    return Predictions(np.eye(3)[list(classes)])


def sentences(n: int, noise: float) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    words = np.array(["the", "cat", "dog", "sat", "ran", "far", "here", "and", "then", "again"])
    references = [rng.choice(words, rng.integers(4, 12)) for _ in range(n)]
    other = [[w if rng.random() > noise else "x" for w in row] for row in references]
    return [" ".join(row) for row in references], [" ".join(row) for row in other]


def test_translation_scores_are_sacrebleus_and_those_of_before() -> None:
    references, system = sentences(80, 0.3)
    bleu, chrf = map(score_of, translation_measures(system, references))
    found = quality(system, references)
    assert (bleu.value, bleu.signature) == (found.bleu, found.bleu_signature) and bleu.metric.name == "BLEU"
    assert (chrf.value, chrf.signature) == (found.chrf, found.chrf_signature) and chrf.metric.name == "chrF"
    assert (bleu.low, bleu.high) == bleu_interval(system, references) and bleu.count == 80
    assert chrf.low < chrf.value < chrf.high
    some = list(range(0, 80, 3))
    measure = translation_measures(system, references)[1]
    expected = CHRF().corpus_score([system[i] for i in some], [[references[i] for i in some]]).score
    assert measure.value(measure.rows[some].sum(0)) == pytest.approx(expected)


def test_the_difference_of_two_translators_is_the_paired_bootstrap() -> None:
    known = translation()
    examples: Any = known.task.encode(known.data, known.processor, known.model)
    references = list(examples.pairs.target)
    dense, pruned = references, [text.replace("y", "z") for text in references]
    expected = paired_bootstrap(dense, pruned, references)
    first, second = (Predictions(np.array(each, object)) for each in (dense, pruned))
    found = compare(known.task, first, second, examples)
    assert (found.delta, found.low, found.high, found.p_value) == (
        expected.delta,
        expected.low,
        expected.high,
        expected.p_value,
    )
    assert found.metric.name == "BLEU" and found.delta < 0 and str(found).startswith("BLEU -")


def test_perplexity_is_that_of_the_models_own_loss() -> None:
    known = language_modelling()
    examples = known.task.encode(known.data, known.processor, known.model)
    found, loss = scores(known.task, known.task.predict(known.model, examples), examples)
    batch = known.task.collate([examples[i] for i in range(len(examples))], 0)
    with torch.no_grad():
        mean = float(known.task.loss(known.task.run(known.model, batch).logits, batch))
    assert loss.value == pytest.approx(mean, abs=1e-4) and found.value == pytest.approx(math.exp(mean), rel=1e-4)
    assert not found.metric.larger_is_better and found.low < found.value < found.high
    assert "nats" in str(loss)


def test_perplexity_of_a_uniform_model_and_of_a_hopeless_one() -> None:
    value, _ = perplexity(np.array([[6 * math.log(17), 6], [2 * math.log(17), 2]]), "")
    assert value.value(value.rows.sum(0)) == pytest.approx(17)
    assert value.value(np.array([1e6, 1])) == math.inf


def test_a_difference_and_what_shows_it() -> None:
    rng = np.random.default_rng(0)
    truth = classified(*rng.integers(0, 2, 300).tolist())
    worse = [c if rng.random() > 0.2 else 1 - c for c in truth.classes]
    found = compare(TASK, said(*truth.classes), said(*worse), truth)
    assert found.delta == pytest.approx(100 * np.mean(np.array(worse) == truth.classes) - 100, abs=1e-3)
    assert found.low < found.delta < found.high < 0 and found.p_value < 0.01
    back = compare(TASK, said(*worse), said(*truth.classes), truth)
    assert (back.delta, back.low, back.high) == (-found.delta, -found.high, -found.low)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="2 predictions for 3 examples"):
        scores(TASK, said(0, 1), classified(0, 1, 1))
    with pytest.raises(InputError, match="accuracy: what is predicted for example 2 is not finite"):
        scores(TASK, Predictions(np.array([[0.0, 1.0], [np.nan, 0.0]])), classified(0, 1))
    with pytest.raises(InputError, match="class 2 is expected, and the model has 2 outputs"):
        scores(TASK, Predictions(np.eye(2)), classified(0, 2))
    with pytest.raises(InputError, match="dict predicts nothing; expected a torch module, or a session"):
        TASK.predict({}, classified(0, 1))


def test_a_model_no_better_than_a_baseline_is_said() -> None:
    accuracy = Metric("accuracy", unit="%")
    mine, majority = (Score(accuracy, value, value - 1, value + 1, 100, "") for value in (60.0, 60.0))
    assert poor([mine], {"majority class": majority}) == [
        "accuracy 60.00 % [59.00, 61.00] over 100 (): no better than the majority class, 60.00 %"
    ]
    assert not poor([mine], {})
    weak = [Score(Metric(name, poor=limit), 3.0, 2.0, 4.0, 9, "") for name, limit in (("BLEU", 5.0), ("chrF", 20.0))]
    assert "hardly does its task" in poor(weak, {})[0]
    strong = [weak[0], Score(weak[1].metric, 30.0, 29.0, 31.0, 9, "")]
    assert not poor(strong, {})


def test_samples_are_spread_over_the_test_set() -> None:
    truth = classified(*[0, 1] * 5)
    found = sampled_predictions(TASK, truth, {"dense": said(*truth.classes), "pruned": said(*[1] * 10)}, 4)
    assert [sample.input for sample in found] == ["input 1", "input 4", "input 7", "input 10"]
    assert found[0].reference == "no" and found[0].predictions == {"dense": "no", "pruned": "yes"}


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_every_task_shows_its_predictions(make: Callable[[], Known]) -> None:
    known = make()
    examples = known.task.encode(known.data, known.processor, known.model)
    found = known.task.predict(known.model, examples, known.pad)
    assert all(each.input and each.reference for each in sampled_predictions(known.task, examples, {"a": found}, 3))


labels = st.lists(st.integers(0, 2), min_size=1, max_size=30)


@given(train=labels, test=labels)
def test_no_other_single_class_fits_the_training_set_better_than_the_majority(
    train: list[int], test: list[int]
) -> None:
    known, own = classified(*test), classified(*train)
    fitted = scores(TASK, TASK.baselines(own, own)["majority class"], own)[0]
    for other in range(3):
        assert fitted.value >= scores(TASK, said(*[other] * len(train)), own)[0].value
    found = scores(TASK, TASK.baselines(own, known)["majority class"], known)[0]
    assert 0 <= found.low <= found.value <= found.high <= 100


@settings(deadline=None, max_examples=25)
@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20), data=st.data())
def test_scores_do_not_know_the_order(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(pairs))))
    values = []
    for rows in (range(len(pairs)), order):
        truth, predicted = zip(*(pairs[i] for i in rows), strict=True)
        values.append(scores(TASK, said(*predicted), classified(*truth)))
    assert values[0] == values[1]


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    pad=st.integers(0, 39),
)
def test_padding_changes_no_prediction(lengths: list[int], pad: int) -> None:
    """Among others and alone, whatever padding is filled with."""
    model = BERT.model
    rng = np.random.default_rng(sum(lengths))
    texts = EncodedTexts(tuple(rng.integers(5, 40, n).tolist() for n in lengths), (0,) * len(lengths))
    together = TASK.predict(model, texts, pad).rows
    for index in range(len(texts)):
        alone = TASK.predict(model, EncodedTexts((texts.texts[index],), (0,)), 0).rows
        np.testing.assert_allclose(together[index], alone[0], atol=1e-5)


BERT = text_classification()


@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_an_interval_lies_within_the_values(values: list[float]) -> None:
    rows = np.stack([values, np.ones(len(values))], 1)
    low, high = interval(rows, lambda terms: float(terms[0] / terms[1]), samples=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    delta, low, high, p = paired([rows], [rows], lambda terms: float(terms[0] / terms[1]), samples=20)
    assert (delta, low, high, p) == (0, 0, 0, 1)
