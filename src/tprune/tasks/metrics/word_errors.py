"""Word error rate of transcripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError
from tprune.support.texts import check_list

WER = Metric("WER", larger_is_better=False, unit="%", poor=100.0)
SIGNATURE = "of words, case and punctuation left out, bootstrap 95 %"


def words_of(text: str) -> list[str]:
    """The words of a transcript: lower case, without punctuation but apostrophes.

    Example:
        >>> words_of("Don't ask - 3 dogs, here.")
        ["don't", 'ask', '3', 'dogs', 'here']
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(sign if unicodedata.category(sign)[0] in "LMN" or sign == "'" else " " for sign in plain)
    return [word for word in kept.split() if word.strip("'")]


def errors(said: Sequence[str], expected: Sequence[str]) -> int:
    """The least number of words that are put in, left out or replaced (Levenshtein).

    Example:
        >>> errors("a cat sat".split(), "the cat sat down".split())
        2
    """
    before = list(range(len(expected) + 1))
    for place, word in enumerate(said, start=1):
        row = [place]
        for index, other in enumerate(expected, start=1):
            row.append(min(before[index] + 1, row[-1] + 1, before[index - 1] + (word != other)))
        before = row
    return before[-1]


def word_errors(transcripts: Sequence[str], references: Sequence[str]) -> Measure:
    """Errors in all transcripts over the words of all references, in percent; above 100 where too much is written.

    Args:
        transcripts: what a model wrote.
        references: what is said, as many.

    Raises:
        InputError: the two differ in length or are empty, or no reference has a word.

    Example:
        >>> found = word_errors(["a cat sat", "Yes!"], ["the cat sat down", "yes"])
        >>> found.value(found.rows.sum(0))
        40.0
    """
    check_list(transcripts, "transcripts")
    check_list(references, "references")
    if len(transcripts) != len(references) or not references:
        raise InputError(
            f"{len(transcripts)} transcripts for {len(references)} references; expected equally many, at least one"
        )
    pairs = [(words_of(mine), words_of(theirs)) for mine, theirs in zip(transcripts, references, strict=True)]
    rows = np.array([[errors(mine, theirs), len(theirs)] for mine, theirs in pairs], float)
    if not rows[:, 1].any():
        raise InputError("no reference has a word; expected transcripts")
    return Measure(WER, rows, _rate, SIGNATURE)


def _rate(terms: NDArray[Any]) -> float:
    return 100 * float(terms[0]) / max(1.0, float(terms[1]))
