"""Perplexity of texts: how many tokens a language model hesitates between."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric

PERPLEXITY = Metric("perplexity", larger_is_better=False)
LOSS = Metric("loss", larger_is_better=False, unit="nats", digits=4)


def perplexity(rows: NDArray[Any], how: str) -> tuple[Measure, Measure]:
    """Perplexity, `exp(Σ nats / Σ tokens)`, and its logarithm, the loss of a token.

    Args:
        rows: (sequences, 2): the nats of each, and its number of tokens that were predicted.
        how: what the signature says of the sequences.

    Example:
        >>> measure, _ = perplexity(np.array([[4 * math.log(8), 4], [0.0, 0]]), "whole texts")
        >>> round(measure.value(measure.rows.sum(0)), 6)
        8.0
    """
    return (
        Measure(PERPLEXITY, rows, lambda terms: _exp(_mean(terms)), f"of a token, {how}, bootstrap 95 %"),
        Measure(LOSS, rows, _mean, f"of a token, {how}, bootstrap 95 %"),
    )


def _mean(terms: NDArray[Any]) -> float:
    return float(terms[0]) / max(1.0, float(terms[1]))


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf


def unigram(train: NDArray[np.int64], vocabulary: int) -> NDArray[np.float64]:
    """The nats of every token by its frequency in some text, one being added to every count.

    Example:
        >>> unigram(np.array([0, 0]), 2).round(3).tolist()
        [0.288, 1.386]
    """
    counts = np.bincount(train, minlength=vocabulary) + 1.0
    nats: NDArray[np.float64] = -np.log(counts / counts.sum())
    return nats
