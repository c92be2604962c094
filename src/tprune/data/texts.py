"""Texts with labels, texts alone, and sequences of token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tprune.data.rows import Rows, check_texts


@dataclass(frozen=True)
class LabeledTexts(Rows):
    """Texts, and the class of each by its name or number, as the files have it.

    Raises:
        InputError: there are none, or not as many texts as labels.

    Example:
        >>> LabeledTexts(("a fine film", "a bore"), ("positive", "negative"))[1]
        ('a bore', 'negative')
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    name: str = "texts"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("texts", "labels")

    def __post_init__(self) -> None:
        check_texts(self.texts, self.name)
        check_texts(self.labels, f"{self.name}: labels")
        super().__post_init__()


@dataclass(frozen=True)
class Texts(Rows):
    """Texts for a language model.

    Raises:
        InputError: there are none.

    Example:
        >>> len(Texts(("Once upon a time", "The end")).spread(1))
        1
    """

    texts: tuple[str, ...]
    name: str = "texts"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("texts",)

    def __post_init__(self) -> None:
        check_texts(self.texts, self.name)
        super().__post_init__()


@dataclass(frozen=True)
class TokenSequences(Rows):
    """Token ids, for a language model whose tokeniser is not at hand.

    Raises:
        InputError: there are none.

    Example:
        >>> TokenSequences(((1, 5, 7), (1, 6)))[0]
        ((1, 5, 7),)
    """

    ids: tuple[tuple[int, ...], ...]
    name: str = "token ids"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("ids",)
