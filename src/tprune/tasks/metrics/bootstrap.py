"""Resampling of test sets: intervals, and paired comparisons.

Koehn, Statistical significance tests for machine translation evaluation, 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES, SEED = 1000, 12345
Value = Callable[[NDArray[Any]], float]  # of summed terms


def draws(examples: int, samples: int, seed: int) -> Iterator[NDArray[Any]]:
    """Resampled test sets: as many examples as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    return (rng.integers(examples, size=examples) for _ in range(samples))


def interval(rows: NDArray[Any], value: Value, samples: int = SAMPLES, seed: int = SEED) -> tuple[float, float]:
    """The 95 % interval of a metric over resampled test sets.

    Args:
        rows: (examples, terms): what each example adds.
        value: the metric of summed terms.
        samples: the number of resamples.
        seed: of the draws.

    Example:
        >>> interval(np.array([[1, 1], [0, 1], [1, 1], [0, 1]]), lambda terms: 100 * terms[0] / terms[1])
        (0.0, 100.0)
    """
    found = [value(rows[drawn].sum(0)) for drawn in draws(len(rows), samples, seed)]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def paired(
    first: Sequence[NDArray[Any]],
    second: Sequence[NDArray[Any]],
    value: Value,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> tuple[float, float, float, float]:
    """The mean over runs of a metric's differences, every resample drawing the same examples for all runs.

    Args:
        first: the rows of each run of one system.
        second: of another system, in the same order.
        value: the metric of summed terms.
        samples: the number of resamples.
        seed: of the draws.

    Returns:
        The difference on all examples, second minus first; its 95 % interval; and the two-sided p-value, the share of
        centred resamples that differ by at least as much.
    """

    def difference(drawn: Any) -> float:
        old, new = (np.mean([value(rows[drawn].sum(0)) for rows in runs]) for runs in (first, second))
        return float(new - old)

    deltas = np.array([difference(drawn) for drawn in draws(len(first[0]), samples, seed)])
    delta = difference(slice(None))
    low, high = np.percentile(deltas, [2.5, 97.5])
    p_value = (np.sum(np.abs(deltas - deltas.mean()) >= abs(delta)) + 1) / (samples + 1)
    return delta, float(low), float(high), float(p_value)
