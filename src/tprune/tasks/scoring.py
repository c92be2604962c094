"""Scores of predictions, comparisons of models and samples for a page, of whatever task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tprune.core.data import spread
from tprune.core.score import Difference, Measure, Score
from tprune.core.task import Examples, Predictions, Task
from tprune.support.errors import InputError
from tprune.tasks.metrics.bootstrap import SAMPLES, SEED, interval, paired

DIGITS = 4  # of what results record


def scores(task: Task, predictions: Predictions, examples: Examples) -> tuple[Score, ...]:
    """What predictions are worth; the first score is the one that models are compared by.

    Raises:
        InputError: there are not as many predictions as examples, or one is not finite.
    """
    return tuple(score_of(measure) for measure in _measures(task, predictions, examples))


def score_of(measure: Measure) -> Score:
    """The value of a measure, with its 95 % interval."""
    terms = measure.rows.sum(0)
    low, high = interval(measure.rows, measure.value) if measure.interval is None else measure.interval(terms)
    value, low, high = (round(float(each), DIGITS) for each in (measure.value(terms), low, high))
    return Score(measure.metric, value, low, high, len(measure.rows), measure.signature, measure.doubts)


def compare(
    task: Task,
    first: Predictions,
    second: Predictions,
    examples: Examples,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> Difference:
    """The difference of two models in the task's first metric, second minus first, by paired bootstrap.

    Args:
        task: of both.
        first: predictions of one model for the examples, such as the dense one.
        second: of the other.
        examples: the same for both.
        samples: the number of resamples.
        seed: of the draws.

    Raises:
        InputError: there are not as many predictions as examples, or one is not finite.
    """
    old, new = (_measures(task, each, examples)[0] for each in (first, second))
    delta, low, high, p = (round(each, DIGITS) for each in paired([old.rows], [new.rows], new.value, samples, seed))
    return Difference(new.metric, delta, low, high, p, samples, seed)


def _measures(task: Task, predictions: Predictions, examples: Examples) -> Sequence[Measure]:
    if len(predictions) != len(examples) or not len(examples):
        raise InputError(f"{len(predictions)} predictions for {len(examples)} examples; expected equally many")
    found = task.measures(predictions, examples)
    for measure in found:
        if len(odd := np.flatnonzero(~np.isfinite(measure.rows).all(1))):
            raise InputError(f"{measure.metric.name}: what is predicted for example {odd[0] + 1} is not finite")
    return found


def poor(found: Sequence[Score], baselines: Mapping[str, Score]) -> list[str]:
    """Warnings of a model that hardly does its task: by all metrics that say so, or no better than a baseline.

    Args:
        found: its scores.
        baselines: by name the first score of what knows the frequencies of the training set alone.
    """
    telling = [score for score in found if score.metric.poor is not None]
    if telling and not any(score.metric.better(score.value, score.metric.poor or 0.0) for score in telling):
        return [
            f"{' and '.join(map(str, telling))}: the model hardly does its task, and a pruned one will do no better"
        ]
    return [
        f"{found[0]}: no better than the {name}, {found[0].metric.shown(score.value)}"
        for name, score in baselines.items()
        if not found[0].metric.better(found[0].value, score.value)
    ]


class Sample(NamedTuple):
    """An example, and what several models predict for it."""

    input: str
    reference: str
    predictions: Mapping[str, str]


def sampled_predictions(
    task: Task, examples: Examples, predictions: Mapping[str, Predictions], count: int
) -> list[Sample]:
    """A few examples, evenly spaced, with the predictions of several models by name."""
    found = []
    for index in spread(len(examples), count):
        shown = {name: task.shown(each, examples, index) for name, each in predictions.items()}
        first = next(iter(shown.values()))
        found.append(Sample(first.input, first.reference, {name: each.prediction for name, each in shown.items()}))
    return found
