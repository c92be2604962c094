"""ROUGE of summaries by the package rouge-score: ROUGE-1, ROUGE-2 and ROUGE-L."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError
from tprune.support.machine import version_of
from tprune.support.papers import cites
from tprune.support.texts import check_list

ROUGE = """@inproceedings{lin2004rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew},
  booktitle = {Text Summarization Branches Out}, year = {2004}
}"""
NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
NEEDED = "ROUGE needs the package rouge-score: pip install 'tprune[summarisation]'"
LEAST = 0.5  # of the letters of references, which ROUGE is to know


@cache
def scorer() -> Any:
    """What scores one summary. Raises `InputError` where the package is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise InputError(NEEDED) from None
    return RougeScorer(list(NAMES), use_stemmer=True)


@cites(ROUGE)
def rouge(summaries: Sequence[str], references: Sequence[str]) -> tuple[Measure, ...]:
    """The mean F1 of summaries: of words, of pairs of words, and of the longest common subsequence.

    Args:
        summaries: what a model wrote.
        references: as many.

    Raises:
        InputError: the two differ in length or are empty, or the package is not installed.

    Example:
        `[measure.value(measure.rows.sum(0)) for measure in rouge(["a cat sat"], ["a cat sat"])]  # 100 each`
    """
    check_list(summaries, "summaries")
    check_list(references, "references")
    if len(summaries) != len(references) or not references:
        raise InputError(
            f"{len(summaries)} summaries for {len(references)} references; expected equally many, at least one"
        )
    score = scorer().score
    found = [score(reference, summary) for summary, reference in zip(summaries, references, strict=True)]
    how = f"rouge-score {version_of('rouge-score')}, F1, Porter stemmer, bootstrap 95 %"
    odd = doubts(references)
    return tuple(
        Measure(Metric(name), np.array([[100 * each[key].fmeasure, 1.0] for each in found]), _mean, how, doubts=odd)
        for key, name in NAMES.items()
    )


def doubts(references: Sequence[str]) -> tuple[str, ...]:
    """Why ROUGE may say little of these summaries; none where nothing speaks against it.

    Example:
        >>> doubts(["A dog sleeps."]), len(doubts(["Собака спит."]))
        ((), 1)
    """
    letters = [sign for sign in "".join(references) if sign.isalnum()]
    known = sum(sign.isascii() for sign in letters) / max(1, len(letters))
    if known >= LEAST:
        return ()
    return (
        f"ROUGE counts words of the letters a to z and digits, which are {known:.0%} of the letters of the references: "
        "it says next to nothing of this language",
    )


def _mean(terms: NDArray[Any]) -> float:
    return float(terms[0]) / max(1.0, float(terms[1]))
