"""Token ids of texts with a class for the first token of each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tprune.core.labels import IGNORED
from tprune.data.tagged import TaggedTexts
from tprune.support.errors import InputError


@dataclass(frozen=True)
class EncodedWords:
    """Token ids of texts, and the class of each word at its first token.

    Attributes:
        texts: the ids of each.
        classes: for each token the number of its word's class; `IGNORED` for special and further tokens.
        names: of the classes, by their numbers.
        inputs: the words of each text, for pages.
        notes: how many were cut off, where any were.
    """

    texts: tuple[list[int], ...]
    classes: tuple[list[int], ...]
    names: Mapping[int, str] = field(default_factory=dict)
    inputs: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.texts[index], "labels": self.classes[index]}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.array([len(text) for text in self.texts])

    def tags(self, index: int) -> list[int]:
        """The classes of a text's words, as far as it is read."""
        return [each for each in self.classes[index] if each != IGNORED]


def aligned(
    data: TaggedTexts, processor: Any, classes: Sequence[int], names: Mapping[int, str], most: int
) -> EncodedWords:
    """Tokenised words, each class at the first token of its word.

    Of texts of more than `most` tokens the first ones and the end token stay; words without a token are left out.

    Args:
        data: texts in words.
        processor: a tokeniser that knows which tokens are of which word.
        classes: of all words, text after text.
        names: of the classes.
        most: tokens of a text.

    Raises:
        InputError: the tokeniser does not take words.
    """
    encoding = _split(data, processor)
    texts, found, start, cut, lost = list[list[int]](), list[list[int]](), 0, 0, 0
    for index, words in enumerate(data.tokens):
        ids, labels, before = list(encoding.input_ids[index]), list[int](), None
        for word in encoding.word_ids(index):
            labels.append(IGNORED if word is None or word == before else classes[start + word])
            before = word
        if len(ids) > most:
            ids, labels, cut = [*ids[: most - 1], ids[-1]], [*labels[: most - 1], labels[-1]], cut + 1
        lost, start = lost + len(words) - sum(label != IGNORED for label in labels), start + len(words)
        texts.append(ids)
        found.append(labels)
    notes = (f"{data.name}: {cut:,} of {len(data):,} texts are cut to {most} tokens",) * (cut > 0)
    unread = (f"{data.name}: {lost:,} of {start:,} words have no token that is read, and are not scored",) * (lost > 0)
    return EncodedWords(tuple(texts), tuple(found), names, data.tokens, notes + unread)


def _split(data: TaggedTexts, processor: Any) -> Any:
    if not getattr(processor, "is_fast", False):
        raise InputError(
            f"{data.name}: the tokeniser ({type(processor).__name__}) does not say which tokens are of which word; "
            "expected one with a tokenizer.json"
        )
    try:
        return processor([list(words) for words in data.tokens], is_split_into_words=True, verbose=False)
    except (AssertionError, ValueError, TypeError) as error:
        raise InputError(f"{data.name}: the tokeniser does not take texts in words ({error})") from None
