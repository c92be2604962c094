"""Token classification: one class for each word of a text, such as the entity that it is part of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tprune.core.data import Sources
from tprune.core.labels import IGNORED
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown
from tprune.core.words import Words
from tprune.data.read_tagged import read_tagged
from tprune.data.tagged import TaggedTexts, TaggedWords
from tprune.support.errors import InputError
from tprune.support.papers import Papers, papers_of
from tprune.tasks.class_names import classes_of
from tprune.tasks.encoded_words import EncodedWords as EncodedWords
from tprune.tasks.encoded_words import aligned
from tprune.tasks.metrics.entities import OUTSIDE, are_entities, entity_f1, token_accuracy
from tprune.tasks.one_pass import OnePass
from tprune.tasks.one_stack import OneStack, check_data, is_for, settings
from tprune.tasks.padding import padded

NONE = -1  # behind the last word of a row of predictions


@dataclass(frozen=True)
class TokenClassification(OneStack, OnePass):
    """Each word of a text to one of several classes; the first token of a word says its class.

    Attributes:
        tokens: of the example whose operations are counted.
        longest: tokens of a text that are read, at most; no more than the model has positions for.
    """

    tokens: int = 25
    longest: int = 512
    name: ClassVar[str] = "token-classification"
    words: ClassVar[Words] = Words("a text", "texts", "predictions", "Text", "25 tokens", "word")
    papers: ClassVar[Papers] = papers_of([entity_f1])

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return is_for(model, "ForTokenClassification")

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, int(settings(model).max_position_embeddings))
        ids = torch.zeros(1, tokens, dtype=torch.long, device=next(model.parameters()).device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, config = torch.Generator().manual_seed(0), settings(model)
        sizes, limits = (8, 6, 4), (int(config.vocab_size), int(config.num_labels))
        ids, labels = ([torch.randint(most, (n,), generator=chance).tolist() for n in sizes] for most in limits)
        return self.collate([{"input_ids": a, "labels": b} for a, b in zip(ids, labels, strict=True)], 0)

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> TaggedTexts:
        """Words with their tags, from JSON lines or from text files with a word and its tag on each line."""
        return read_tagged(sources, columns)

    def encode(self, data: TaggedTexts, processor: Any, model: nn.Module) -> EncodedWords:
        """Tokenises words; of longer texts than the model takes the first tokens and the end token stay.

        Raises:
            InputError: a tag that the model does not know, by file and line; a tokeniser that does not take words; or
                other data.
        """
        check_data(data, TaggedTexts, self.name)
        classes = classes_of(TaggedWords(data), model)
        most = min(self.longest, int(settings(model).max_position_embeddings))
        return aligned(data, processor, classes.numbers, classes.names, most)

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded texts; nothing is expected of padding."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(ids, pad),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        """The classes of each text's words in their order, then -1; not a number where the logits are none."""
        expected, found = batch["labels"] != IGNORED, logits.argmax(-1).float()
        found[~logits.isfinite().all(-1)] = torch.nan
        rows = np.full((len(found), self.longest), float(NONE), np.float32)
        for row, classes, words in zip(rows, found, expected, strict=True):
            row[: int(words.sum())] = classes[words].numpy()
        return rows

    def measures(self, predictions: Predictions, examples: EncodedWords) -> Sequence[Measure]:
        """F1 of entities where tags mark any, and the accuracy of tags.

        Raises `InputError` for predictions that are no classes.
        """
        predicted, expected = list[list[str]](), list[list[str]]()
        for index, row in enumerate(predictions.rows):
            tags = examples.tags(index)
            classes = row[: len(tags)]
            if not np.isfinite(classes).all():
                raise InputError(f"token accuracy: what is predicted for example {index + 1} is not finite")
            predicted.append(_named(examples, classes.astype(int).tolist()))
            expected.append(_named(examples, tags))
        accuracy = token_accuracy(predicted, expected)
        return (entity_f1(predicted, expected), accuracy) if _mark(examples) else (accuracy,)

    def baselines(self, train: EncodedWords, test: EncodedWords) -> Mapping[str, Predictions]:
        """The tag that most words of the training set have."""
        counts = np.bincount([tag for index in range(len(train)) for tag in train.tags(index)])
        return {"majority tag": Predictions(np.full((len(test), self.longest), float(counts.argmax()), np.float32))}

    def shown(self, predictions: Predictions, examples: EncodedWords, index: int) -> Shown:
        """The words of a text, and those with a tag, which are all but O."""
        tags = examples.tags(index)
        words = examples.inputs[index] if examples.inputs else tuple(f"word {i + 1}" for i in range(len(tags)))
        predicted = predictions.rows[index][: len(tags)].astype(int).tolist()
        return Shown(" ".join(words), *(_tagged(words, _named(examples, each)) for each in (tags, predicted)))


def _mark(examples: EncodedWords) -> bool:
    """Whether classes mark entities; numbers without names do not."""
    return are_entities(list(examples.names.values()))


def _named(examples: EncodedWords, classes: Sequence[int]) -> list[str]:
    return [examples.names.get(each, str(each)) for each in classes]


def _tagged(words: Sequence[str], tags: Sequence[str]) -> str:
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=False) if tag != OUTSIDE) or "no tags"


TOKEN_CLASSIFICATION = TokenClassification()
