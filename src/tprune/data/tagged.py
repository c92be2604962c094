"""Texts in words, and a tag for each word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tprune.data.rows import Rows
from tprune.support.errors import InputError


@dataclass(frozen=True)
class TaggedTexts(Rows):
    """Texts that are split into words, and the tag of each word by its name or number, as the files have it.

    Raises:
        InputError: there are none, or a text has not as many tags as words; names file and line.

    Example:
        >>> TaggedTexts((("in", "Rome"),), (("O", "B-LOC"),))[0]
        (('in', 'Rome'), ('O', 'B-LOC'))
    """

    tokens: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    name: str = "tagged texts"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("tokens", "tags")

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, (tokens, tags) in enumerate(zip(self.tokens, self.tags, strict=True)):
            if isinstance(tokens, str) or isinstance(tags, str):
                raise InputError(f"{self.place(index)}: got a string; expected a list of words and a list of tags")
            if len(tokens) != len(tags) or not tokens:
                raise InputError(
                    f"{self.place(index)}: {len(tokens)} tokens and {len(tags)} tags; expected equally many, at least "
                    "one"
                )


@dataclass(frozen=True)
class TaggedWords:
    """All words of tagged texts one after the other, as labelled items.

    Attributes:
        texts: that the words are of.
    """

    texts: TaggedTexts

    @property
    def name(self) -> str:
        """What messages call them."""
        return self.texts.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The tag of each word."""
        return tuple(tag for tags in self.texts.tags for tag in tags)

    def place(self, index: int) -> str:
        """Where a word was read, and the word itself.

        Example:
            >>> TaggedWords(TaggedTexts((("in", "Rome"), ("Oslo",)), (("O", "B"), ("B",)), "a.conll")).place(2)
            "a.conll: item 2, word 1 ('Oslo')"
        """
        for number, tokens in enumerate(self.texts.tokens):
            if index < len(tokens):
                return f"{self.texts.place(number)}, word {index + 1} ({tokens[index]!r})"
            index -= len(tokens)
        raise IndexError(index)
