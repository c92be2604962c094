"""Text classification: one class for a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from tprune.core.model import Tokenizer
from tprune.core.task import Batch
from tprune.support.errors import InputError
from tprune.tasks.classification import Classification
from tprune.tasks.one_stack import OneStack, is_for, settings
from tprune.tasks.padding import padded


@dataclass(frozen=True)
class EncodedTexts:
    """Token ids of texts, and their classes."""

    texts: tuple[list[int], ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.texts[index], "labels": self.classes[index]}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.array([len(text) for text in self.texts])


@dataclass(frozen=True)
class TextClassification(Classification, OneStack):
    """A text to one of several classes.

    Attributes:
        tokens: of the example whose operations are counted.
    """

    tokens: int = 25
    name: ClassVar[str] = "text-classification"

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return is_for(model, "ForSequenceClassification")

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, int(settings(model).max_position_embeddings))
        ids = torch.zeros(1, tokens, dtype=torch.long, device=next(model.parameters()).device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0]}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, config = torch.Generator().manual_seed(0), settings(model)
        rows = [torch.randint(int(config.vocab_size), (n,), generator=chance).tolist() for n in (8, 6, 4)]
        labels = torch.randint(int(config.num_labels), (3,), generator=chance).tolist()
        return self.collate([{"input_ids": row, "labels": label} for row, label in zip(rows, labels, strict=True)], 0)

    def encode(self, texts: Sequence[str], classes: Sequence[int], tokenizer: Tokenizer, most: int) -> EncodedTexts:
        """Tokenises texts; of longer ones the first `most - 1` tokens and the end token stay. Raises `InputError` unless there are as many texts as classes."""
        if len(texts) != len(classes):
            raise InputError(f"{len(texts)} texts, but {len(classes)} classes; expected equally many")
        ids = tokenizer(list(texts), verbose=False).input_ids
        return EncodedTexts(
            tuple(row if len(row) <= most else [*row[: most - 1], row[-1]] for row in ids), tuple(map(int, classes))
        )

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded texts."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(ids, pad),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }


TEXT_CLASSIFICATION = TextClassification()
