"""Accuracy: the share of predictions that are right, with Wilson's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tprune.core.score import Score
from tprune.support.errors import InputError

NORMAL = 1.959964  # two-sided, 95 %


def accuracy(predicted: Sequence[int], expected: Sequence[int]) -> Score:
    """The percentage of right predictions.

    With p the share and z = 1.96 the interval is `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`.

    Raises:
        InputError: there are none, or not equally many.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Example:
        >>> found = accuracy([1, 0, 1, 1], [1, 0, 0, 1])
        >>> found.value, round(found.low, 1), round(found.high, 1)
        (75.0, 30.1, 95.4)
    """
    if len(predicted) != len(expected) or not expected:
        raise InputError(f"accuracy of {len(predicted)} predictions for {len(expected)} labels; expected equally many")
    n = len(expected)
    share = sum(int(a) == int(b) for a, b in zip(predicted, expected, strict=True)) / n
    middle, around = share + NORMAL**2 / (2 * n), NORMAL * math.sqrt(share * (1 - share) / n + (NORMAL / (2 * n)) ** 2)
    low, high = ((middle + sign * around) / (1 + NORMAL**2 / n) for sign in (-1, 1))
    return Score("accuracy", 100 * share, max(0.0, 100 * low), min(100.0, 100 * high), n, "exact match, Wilson 95 %")
