"""Accuracy: the share of predictions that are right, with Wilson's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError

NORMAL = 1.959964  # two-sided, 95 %
ACCURACY = Metric("accuracy", unit="%")
SIGNATURE = "exact match, Wilson 95 %"


def accuracy(predicted: Sequence[int], expected: Sequence[int]) -> Measure:
    """The percentage of right predictions.

    With p the share and z = 1.96 the interval is `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`.

    Raises:
        InputError: there are none, or not equally many.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Example:
        >>> found = accuracy([1, 0, 1, 1], [1, 0, 0, 1])
        >>> terms = found.rows.sum(0)
        >>> found.value(terms), [round(end, 1) for end in found.interval(terms)]
        (75.0, [30.1, 95.4])
    """
    if len(predicted) != len(expected) or not len(expected):
        raise InputError(f"accuracy of {len(predicted)} predictions for {len(expected)} labels; expected equally many")
    right = np.asarray(predicted) == np.asarray(expected)
    return Measure(ACCURACY, np.stack([right, np.ones_like(right)], 1).astype(np.int64), _percent, SIGNATURE, wilson)


def _percent(terms: NDArray[Any]) -> float:
    return 100 * float(terms[0]) / float(terms[1])


def wilson(terms: NDArray[Any]) -> tuple[float, float]:
    """Wilson's 95 % interval of a percentage, of how many are right and how many there are."""
    right, n = map(float, terms)
    share = right / n
    middle, around = share + NORMAL**2 / (2 * n), NORMAL * math.sqrt(share * (1 - share) / n + (NORMAL / (2 * n)) ** 2)
    low, high = ((middle + sign * around) / (1 + NORMAL**2 / n) for sign in (-1, 1))
    return max(0.0, 100 * low), min(100.0, 100 * high)
