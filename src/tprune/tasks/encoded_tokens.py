"""Token ids of texts for a language model, in pieces that it can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tprune.data.texts import Texts, TokenSequences
from tprune.support.errors import InputError

LEAST = 2  # tokens; the first is predicted from nothing


@dataclass(frozen=True)
class EncodedTokens:
    """Token ids of texts; each token but the first is to be predicted from those before it.

    Attributes:
        texts: the ids of each piece.
        inputs: what each piece is of, for pages.
        notes: how many texts were split or left out, where any were.
    """

    texts: tuple[list[int], ...]
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> list[int]:
        return self.texts[index]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each piece."""
        return np.array([len(text) for text in self.texts])


def pieces(data: Texts | TokenSequences, ids: Sequence[Sequence[int]], most: int, vocabulary: int) -> EncodedTokens:
    """Texts as pieces of at most so many tokens, of which at least one is predicted.

    Args:
        data: what is encoded.
        ids: the tokens of each item.
        most: tokens of a piece.
        vocabulary: tokens that the model knows.

    Raises:
        InputError: an id that the model does not know, by file and line, or nothing is left.

    Example:
        >>> found = pieces(Texts(("abc", "d")), [[7, 8, 9, 5], [6]], most=2, vocabulary=10)
        >>> found.texts, found.notes[0]
        (([7, 8], [9, 5]), 'texts: 1 of 2 texts have more than 2 tokens and are split')
    """
    found: list[list[int]] = []
    inputs: list[str] = []
    split, short = 0, 0
    for index, row in enumerate(ids):
        if odd := next((each for each in row if not 0 <= each < vocabulary), None):
            raise InputError(f"{data.place(index)} has the token id {odd}; the model's are 0 to {vocabulary - 1}")
        kept = [part for start in range(0, len(row), most) if len(part := list(row[start : start + most])) >= LEAST]
        split, short = split + (len(row) > most), short + (not kept)
        found += kept
        inputs += [data.texts[index] if isinstance(data, Texts) else data.place(index)] * len(kept)
    if not found:
        raise InputError(f"{data.name}: no text of at least {LEAST} tokens, of which one is predicted")
    long = (f"{data.name}: {split:,} of {len(ids):,} texts have more than {most} tokens and are split",) * (split > 0)
    none = (f"{data.name}: {short:,} of {len(ids):,} texts of a single token are left out",) * (short > 0)
    return EncodedTokens(tuple(found), tuple(inputs), long + none)
