"""Spearman's rank correlation, as sums over pairs, so that it can be resampled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError

SPEARMAN = Metric("Spearman", digits=4)
Values = NDArray[np.floating[Any]]


def ranks(values: Values) -> NDArray[np.float64]:
    """The ranks of values, from 1; equal values share the mean of theirs.

    Example:
        >>> ranks(np.array([0.5, 0.1, 0.5])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return found


def spearman(predicted: Values, expected: Values, how: str) -> Measure:
    """The correlation of the ranks of two series: of centred ranks x and y `Σxy / √(Σx² Σy²)`.

    Resamples draw pairs with the ranks that they have among all.

    Args:
        predicted: a value for each pair.
        expected: likewise.
        how: what the signature says of them.

    Raises:
        InputError: there are fewer than two, or not equally many.

    Example:
        >>> found = spearman(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.3, 0.2]), "toy")
        >>> found.value(found.rows.sum(0))
        0.5
    """
    if len(predicted) != len(expected) or len(expected) < 2:
        raise InputError(
            f"Spearman of {len(predicted)} values and {len(expected)}; expected equally many pairs, at least two"
        )
    middle = (len(expected) + 1) / 2
    x, y = ranks(predicted) - middle, ranks(expected) - middle
    rows = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], 1)
    rows[~(np.isfinite(predicted) & np.isfinite(expected))] = np.nan
    return Measure(SPEARMAN, rows, _correlation, f"{how}, ties share ranks, ranks of all pairs, bootstrap 95 %")


def _correlation(terms: NDArray[Any]) -> float:
    n, x, y, xx, yy, xy = map(float, terms)
    spread = (xx - x * x / n) * (yy - y * y / n)
    return (xy - x * y / n) / math.sqrt(spread) if spread > 0 else 0.0
