"""What the rounds of a benchmark say: medians, their intervals, and whether the machine was quiet enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tprune.bench.known_phases import reported

QUIET = 0.03  # how far the 95 % interval of the quoted speed may reach from its middle


FEWEST = 6  # rounds of which the order statistics are a 95 % interval


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The values that a quarter and three quarters of all lie below."""
    low, high = np.percentile(values, [25, 75])
    return float(low), float(high)


def self_ratio(values: Sequence[float]) -> float:
    """The median of the even rounds over that of the odd ones: what a machine shows for a model against itself.

    Example:
        >>> self_ratio([1.0, 2.0, 1.0, 2.0])
        0.5
    """
    return float(np.median(values[::2]) / np.median(values[1::2]))


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The order statistics that hold the median with 95 % confidence; with under 6 values the extremes.

    Example:
        >>> median_interval([5, 1, 2, 4, 3, 6, 7, 8, 9, 10])
        (2, 9)
    """
    ordered, n, below, rank = sorted(values), len(values), 0.0, 0
    while (below := below + math.comb(n, rank) * 0.5**n) <= 0.025:
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


def half_width(interval: Sequence[float]) -> float:
    """How far an interval of a ratio reaches from its middle, relative to it.

    Example:
        >>> round(half_width([1.9, 2.1]), 3)
        0.05
    """
    low, high = interval
    return (high - low) / (high + low)


def noise(interval: Mapping[str, Sequence[float]], rounds: int | None = None) -> tuple[bool, str]:
    """Whether the reported ratio is known too badly to quote it to 3 %, and a sentence that says so.

    Args:
        interval: the 95 % interval of the ratio of each measure. Only the one that is quoted is judged.
        rounds: how many they are of; enough if not given.
    """
    name = reported(interval)
    reach = half_width(interval[name])
    kind = "range" if rounds is not None and rounds < FEWEST else "95 % interval"
    what = f"the {kind} of the ratio of {name} reaches ±{reach:.1%}"
    if reach <= QUIET:
        return False, f"The machine was quiet: {what}."
    return True, f"The machine was noisy: {what}, more than {QUIET:.0%}; measure again, or with more rounds."
