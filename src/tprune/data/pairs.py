"""Pairs of sentences, with or without how similar they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tprune.data.rows import Rows, check_texts
from tprune.support.errors import InputError


@dataclass(frozen=True)
class SentencePairs(Rows):
    """Pairs of sentences.

    Raises:
        InputError: there are none, or not as many first as second sentences.

    Example:
        >>> SentencePairs(("a cat",), ("a dog",))[0]
        ('a cat', 'a dog')
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    name: str = "pairs of sentences"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("first", "second")

    def __post_init__(self) -> None:
        for column in self.COLUMNS[:2]:
            check_texts(getattr(self, column), f"{self.name}: {column}")
        super().__post_init__()


@dataclass(frozen=True)
class ScoredPairs(Rows):
    """Pairs of sentences, and how similar people find those of each; only the order of these scores counts.

    Raises:
        InputError: there are none, not equally many of all three, or a score is no finite number; names file and row.

    Example:
        >>> ScoredPairs(("a cat",), ("a dog",), (2.5,))[0]
        ('a cat', 'a dog', 2.5)
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    name: str = "pairs of sentences"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("first", "second", "scores")

    def __post_init__(self) -> None:
        for column in self.COLUMNS[:2]:
            check_texts(getattr(self, column), f"{self.name}: {column}")
        super().__post_init__()
        for index, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise InputError(f"{self.place(index)}: the score is {score}; expected a finite number")
