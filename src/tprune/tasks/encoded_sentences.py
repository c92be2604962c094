"""Token ids of sentences with the dense model's embeddings, and which of the sentences are pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from tprune.data.pairs import ScoredPairs, SentencePairs
from tprune.data.texts import Texts

SentenceData = Texts | SentencePairs | ScoredPairs


@dataclass(frozen=True, eq=False)
class EncodedSentences:
    """Sentences, each an example; scores are of pairs of them.

    Attributes:
        texts: the token ids of each.
        pairs: the places of the two sentences of each pair.
        scores: how similar people find those of each pair; none where nobody was asked.
        targets: (sentences, width) the dense model's normalised embeddings; None where no model was at hand.
        inputs: the sentences themselves, for pages.
        notes: how many were cut off, where any were.
    """

    texts: tuple[list[int], ...]
    pairs: tuple[tuple[int, int], ...]
    scores: tuple[float, ...] = ()
    targets: Tensor | None = None
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        known = {} if self.targets is None else {"targets": self.targets[index]}
        return {"input_ids": self.texts[index], **known}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sentence."""
        return np.array([len(text) for text in self.texts])


def sentences_of(data: SentenceData) -> tuple[str, ...]:
    """All sentences: those of a pair one after the other.

    Example:
        >>> sentences_of(SentencePairs(("a", "b"), ("c", "d")))
        ('a', 'c', 'b', 'd')
    """
    if isinstance(data, Texts):
        return data.texts
    return tuple(text for pair in zip(data.first, data.second, strict=True) for text in pair)


def pairs_in(data: SentenceData) -> tuple[tuple[int, int], ...]:
    """The pairs among `sentences_of`; of sentences alone the first with the first of the second half, and so on.

    Example:
        >>> pairs_in(Texts(("a", "b", "c", "d", "e")))
        ((0, 2), (1, 3))
    """
    if isinstance(data, Texts):
        half = len(data) // 2
        return tuple((index, index + half) for index in range(half))
    return tuple((2 * index, 2 * index + 1) for index in range(len(data)))


def cosines(embeddings: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The cosine of each pair.

    Args:
        embeddings: (sentences, width).
        pairs: places of two sentences each.
    """
    first, second = (embeddings[[pair[side] for pair in pairs]].astype(float) for side in (0, 1))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: np.ndarray = (first * second).sum(1) / np.where(lengths > 0, lengths, 1.0)
    return found
