"""Text classification: one class for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from tprune.core.data import Sources
from tprune.core.model import Tokenizer
from tprune.core.positions import most_tokens
from tprune.core.task import Batch
from tprune.core.words import Words
from tprune.data.read_texts import read_labeled_texts
from tprune.data.texts import LabeledTexts
from tprune.support.errors import InputError
from tprune.tasks.class_names import classes_of
from tprune.tasks.classification import Classification
from tprune.tasks.one_stack import OneStack, check_data, is_for, settings
from tprune.tasks.padding import padded


@dataclass(frozen=True)
class EncodedTexts:
    """Token ids of texts, and their classes.

    Attributes:
        texts: the ids of each.
        classes: the number of each one's class.
        names: of the classes, by their numbers.
        inputs: the texts themselves, for pages.
        notes: how many were cut off, where any were.
    """

    texts: tuple[list[int], ...]
    classes: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
        longest: tokens of a text that are read, at most; no more than the model has positions for.
    """

    tokens: int = 25
    longest: int = 512
    name: ClassVar[str] = "text-classification"
    words: ClassVar[Words] = Words("a text", "texts", "predictions", "Text", "25 tokens", "text")

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return is_for(model, "ForSequenceClassification")

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, most_tokens(model) or self.tokens)
        ids = torch.tensor([_ended([0] * tokens, model)], device=next(model.parameters()).device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros_like(ids[:, 0])}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, config = torch.Generator().manual_seed(0), settings(model)
        drawn = [torch.randint(int(config.vocab_size), (n,), generator=chance).tolist() for n in (8, 6, 4)]
        rows = [_ended(row, model) for row in drawn]
        labels = torch.randint(int(config.num_labels), (3,), generator=chance).tolist()
        return self.collate([{"input_ids": row, "labels": label} for row, label in zip(rows, labels, strict=True)], 0)

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> LabeledTexts:
        """Texts and classes from tables (CSV, TSV, JSONL, `.gz` too).

        See `tprune.data.read_texts.read_labeled_texts`.
        """
        return read_labeled_texts(sources, columns)

    def encode(self, data: LabeledTexts, processor: Tokenizer, model: nn.Module) -> EncodedTexts:
        """Tokenises texts; of longer ones than the model takes the first tokens and the end token stay.

        Raises:
            InputError: a label that the model does not know, by file and line; or other data.
        """
        check_data(data, LabeledTexts, self.name)
        classes = classes_of(data, model)
        ids = processor(list(data.texts), verbose=False).input_ids
        most = min(self.longest, most_tokens(model) or self.longest)
        cut = sum(len(row) > most for row in ids)
        notes = (f"{data.name}: {cut:,} of {len(ids):,} texts are cut to {most} tokens",) if cut else ()
        rows = tuple(row if len(row) <= most else [*row[: most - 1], row[-1]] for row in ids)
        return EncodedTexts(rows, classes.numbers, classes.names, data.texts, notes)

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded texts."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(ids, pad),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }


def _ended(row: list[int], model: nn.Module) -> list[int]:
    """The tokens of a text, the last of them the end token where the class reads its state there, as BART's does."""
    config = settings(model)
    if not config.is_encoder_decoder:
        return row
    end = config.eos_token_id
    if type(end) is not int:
        raise InputError(
            f"a {type(model).__name__} reads its state at the end token, and eos_token_id of its configuration is "
            f"{end!r}; expected the id of a token"
        )
    other = int(end == 0)
    return [*(other if token == end else token for token in row[:-1]), end]


TEXT_CLASSIFICATION = TextClassification()
