"""What a precision may take of a task's metric."""

from __future__ import annotations

import pytest

from tprune.core.score import Difference, Metric
from tprune.runtimes.certificate import MetricBound, bounded

BLEU, ERROR = Metric("BLEU"), Metric("error", larger_is_better=False)


def change(metric: Metric, low: float, high: float) -> Difference:
    return Difference(metric, (low + high) / 2, low, high, 0.5, 1000, 0)


@pytest.mark.parametrize(
    ("low", "high", "within"),
    [
        (-0.5, 0.5, True),
        (0.5, 3.0, True),  # better, however much
        (-1.0, 0.0, True),  # on the edge: 2 % of 50
        (-1.001, 0.0, False),
        (-3.0, -2.0, False),
        (-1.5, 1.5, False),  # no worse on average, but it is not known to be within
        (float("nan"), 0.0, False),
    ],
)
def test_the_far_end_of_the_interval_is_held_against_two_percent(low: float, high: float, within: bool) -> None:
    found = bounded(change(BLEU, low, high), 50.0)
    assert (found.bound, found.within) == (1.0, within)
    worse_is_larger = bounded(change(ERROR, -high, -low), 50.0)
    assert (worse_is_larger.bound, worse_is_larger.within) == (1.0, within)


def test_what_was_compared_is_kept() -> None:
    found = bounded(change(BLEU, -0.75, 0.25), -50.0)  # of a metric that may be negative, its size
    assert found == MetricBound("BLEU", -0.25, -0.75, 0.25, 1.0, True)
