"""Intervals over seeds: what other trainings would have given, which a bootstrap over sentences does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

LEAST = 3  # seeds; fewer give no interval worth the name
# 97.5 % points of Student's t, by degrees of freedom
POINTS = {2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060, 9: 2.2622}


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the mean of a few independent values, by Student's t.

    Args:
        values: 3 to 10 of them.

    Example:
        >>> [round(x, 2) for x in t_interval([1.0, 2.0, 3.0])]
        [-0.48, 4.48]
    """
    middle, reach = fmean(values), POINTS[len(values) - 1] * stdev(values) / len(values) ** 0.5
    return middle - reach, middle + reach


def over_seeds(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The mean difference in BLEU over the seeds that both have, with its t-interval; None with fewer than three.

    Args:
        mine: rows of one method at one speed, with `seed` and `bleu`.
        theirs: rows of the other.
    """
    other = {row["seed"]: row["bleu"] for row in theirs}
    gaps = [row["bleu"] - other[row["seed"]] for row in mine if row["seed"] in other]
    if len(gaps) < LEAST:
        return None
    low, high = t_interval(gaps)
    return {"delta": fmean(gaps), "low": low, "high": high, "runs": len(gaps)}
