"""Entities of tagged words: their F1 as the package seqeval counts it by default, and the share of right tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError
from tprune.support.papers import cites

CONLL = """@inproceedings{tjong2003introduction,
  title = {Introduction to the {CoNLL}-2003 Shared Task: Language-Independent Named Entity Recognition},
  author = {Tjong Kim Sang, Erik F. and De Meulder, Fien},
  booktitle = {Proceedings of CoNLL}, year = {2003}
}"""
ENTITY_F1 = Metric("entity F1", unit="%")
TOKEN_ACCURACY = Metric("token accuracy", unit="%")
OUTSIDE = "O"
PREFIXES = "BIES"  # begin, inside, end, single
SIGNATURE = "micro average, exact spans and types, IOB2 as conlleval, bootstrap 95 %"
Tags = Sequence[Sequence[str]]  # of the words of each text


class Entity(NamedTuple):
    """A run of words of one type, from `start` to the word before `end`."""

    type: str
    start: int
    end: int


def are_entities(tags: Sequence[str]) -> bool:
    """Whether names of tags mark entities: O, and B-X, I-X (E-X and S-X too).

    Example:
        >>> are_entities(["O", "B-LOC", "I-LOC"]), are_entities(["NOUN", "VERB"]), are_entities([])
        (True, False, False)
    """
    marks = [tag for tag in tags if tag != OUTSIDE]
    return bool(marks) and all(tag[0] in PREFIXES and tag[1:2] == "-" for tag in marks)


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """The entities that tags mark.

    B or S begins one, and so does any tag after O, after E or S, or of another type than the tag before it; so a lone
    I-X is an entity.

    Args:
        tags: of the words of one text.

    Example:
        >>> [tuple(found) for found in entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])]
        [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    start, before, kind = 0, OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, own = tag[:1], tag[2:]
        begins = prefix in ("B", "S") or before in ("O", "E", "S") or own != kind
        if before != OUTSIDE and (prefix == OUTSIDE or begins):
            yield Entity(kind, start, place)
        if prefix != OUTSIDE and begins:
            start = place
        before, kind = prefix, own


@cites(CONLL)
def entity_f1(predicted: Tags, expected: Tags) -> Measure:
    """F1 of entities over all texts: `2 · right / (predicted + expected)`, right by type, first and last word.

    Args:
        predicted: the tags of each text's words.
        expected: likewise.

    Raises:
        InputError: there are none, or not equally many.

    Example:
        >>> found = entity_f1([["B-A", "I-A", "O"]], [["B-A", "I-A", "B-B"]])
        >>> round(found.value(found.rows.sum(0)), 2)
        66.67
    """
    _check(predicted, expected)
    rows = []
    for mine, theirs in zip(predicted, expected, strict=True):
        found, known = set(entities(mine)), set(entities(theirs))
        rows.append([len(found & known), len(found), len(known)])
    return Measure(ENTITY_F1, np.array(rows, float), _f1, SIGNATURE)


def token_accuracy(predicted: Tags, expected: Tags) -> Measure:
    """The percentage of words with the right tag, resampled by texts, whose words are not independent.

    Raises:
        InputError: there are none, or not equally many.

    Example:
        >>> found = token_accuracy([["O", "O"]], [["O", "B-A"]])
        >>> found.value(found.rows.sum(0))
        50.0
    """
    _check(predicted, expected)
    rows = [
        [sum(a == b for a, b in zip(mine, theirs, strict=True)), len(theirs)]
        for mine, theirs in zip(predicted, expected, strict=True)
    ]
    return Measure(TOKEN_ACCURACY, np.array(rows, float), _share, "exact match of words, bootstrap 95 %")


def _f1(terms: NDArray[Any]) -> float:
    return 200 * float(terms[0]) / max(1.0, float(terms[1] + terms[2]))


def _share(terms: NDArray[Any]) -> float:
    return 100 * float(terms[0]) / max(1.0, float(terms[1]))


def _check(predicted: Tags, expected: Tags) -> None:
    if not expected or [len(each) for each in predicted] != [len(each) for each in expected]:
        raise InputError(
            f"tags of {len(predicted)} texts for {len(expected)}; expected equally many, and a tag for each word"
        )
