"""All tasks pass the check, and mistakes of tasks that it has to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from small_tasks import (
    KNOWN,
    Known,
    classifier,
    image_classification,
    language_modelling,
    sentence_similarity,
    text_classification,
    token_classification,
)
from tprune.core.known_tasks import TASKS
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown
from tprune.support.errors import InputError
from tprune.tasks.classification import Classified
from tprune.tasks.encoded_tokens import EncodedTokens
from tprune.tasks.image_classification import ImageClassification
from tprune.tasks.language_modelling import LanguageModelling
from tprune.tasks.sentence_similarity import SentenceSimilarity
from tprune.tasks.text_classification import TextClassification
from tprune.tasks.token_classification import TokenClassification
from tprune.testing import check_task


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_ours_pass(make: Callable[[], Known]) -> None:
    check_task(*make())


class _PaddingIsPredicted(LanguageModelling):
    def collate(self, rows: Sequence[list[int]], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, "labels": torch.where(found["labels"] == -100, 3, found["labels"])}


class _PaddingIsRead(TextClassification):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, "attention_mask": torch.ones_like(found["attention_mask"])}


class _AnotherLoss(TextClassification):
    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return 2 * super().loss(logits, batch, smoothing)


class _DropsARow(TextClassification):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        return super().collate(rows[:-1] if len(rows) > 1 else rows, pad)


class _MixesLabels(TextClassification):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, "labels": found["labels"].flip(0)}


class _Blind(TextClassification):
    """Scores the labels against themselves."""

    def measures(self, predictions: Predictions, examples: Classified) -> Sequence[Measure]:
        return super().measures(Predictions(np.eye(9)[list(examples.classes)]), examples)


class _GoesByOrder(TextClassification):
    """The first half is all that counts."""

    def measures(self, predictions: Predictions, examples: Classified) -> Sequence[Measure]:
        (found,) = super().measures(predictions, examples)
        rows = found.rows.copy()
        rows[len(rows) // 2 :, 0] = 0
        rows[0, 0] = 1
        rows[: len(rows) // 2, 1] += np.arange(len(rows) // 2)
        return (replace(found, rows=rows * np.arange(1, len(rows) + 1)[:, None]),)


class _CountsPadding(LanguageModelling):
    """Divides by all positions, padding too."""

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        found = super().rows(logits, batch)
        found[:, 1] = logits.shape[1]
        return found


class _ReadsLabels(TextClassification):
    """Gives its session labels, which no exported model has."""

    def prompt(self, batch: Batch) -> Batch:
        return {"input_ids": batch["input_ids"]}


class _ShowsNumbers(ImageClassification):
    def shown(self, predictions: Predictions, examples: Classified, index: int) -> Shown:
        return Shown("image", "1", predictions.rows[index].argmax())


class _WrongDepth(TextClassification):
    def depth(self, model: nn.Module) -> Mapping[str, int]:
        return {"hidden": 7}


class _TagsPadding(TokenClassification):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, "labels": found["labels"].clamp_min(0)}


class _FarFromItself(SentenceSimilarity):
    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return super().loss(logits, batch) + 0.1


class _MixesTargets(SentenceSimilarity):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, **({"targets": found["targets"].flip(0)} if "targets" in found else {})}


class _PoolsPadding(SentenceSimilarity):
    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        found = dict(super().collate(rows, pad))
        return {**found, "attention_mask": torch.ones_like(found["attention_mask"])}


class _ShortBaseline(LanguageModelling):
    def baselines(self, train: EncodedTokens, test: EncodedTokens) -> Mapping[str, Predictions]:
        return {"short": Predictions(np.ones((1, 2)))}


@pytest.mark.parametrize(
    ("make", "task", "says"),
    [
        (language_modelling, _PaddingIsPredicted(), "are not those it has alone: padding counts"),
        (text_classification, _PaddingIsRead(), "padding counts|not told what is padding"),
        (text_classification, _AnotherLoss(), "off the mean cross entropy of its labels"),
        (text_classification, _DropsARow(), "`collate` makes of 6 rows"),
        (text_classification, _MixesLabels(), "rows are mixed up"),
        (text_classification, _Blind(), "the same whatever is predicted"),
        (text_classification, _GoesByOrder(), "change with the order of examples|outside its interval"),
        (language_modelling, _CountsPadding(), "is not what is predicted for it alone; padding counts"),
        (text_classification, _ReadsLabels(), "off that of its examples alone|what padding is filled with"),
        (image_classification, _ShowsNumbers(size=8), "expected three texts"),
        (text_classification, _WrongDepth(), "`depth` says"),
        (token_classification, _TagsPadding(), "are not those it has alone: padding counts"),
        (sentence_similarity, _FarFromItself(), "the loss is 0.1 at the targets"),
        (sentence_similarity, _MixesTargets(), "rows are mixed up"),
        (sentence_similarity, _PoolsPadding(), "padding counts|not told what is padding"),
        (language_modelling, _ShortBaseline(), "the baseline 'short' has 1 predictions for 6"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_mistakes_are_found(make: Callable[[], Known], task: Any, says: str) -> None:
    known = make()
    with pytest.raises(AssertionError, match=says):
        check_task(task, *known[1:])


def test_a_model_of_another_task_is_refused() -> None:
    known = language_modelling()
    with pytest.raises(AssertionError, match="does not match the BertForSequenceClassification"):
        check_task(known.task, classifier(), known.data, known.processor)


def test_what_is_entered_must_have_all_members() -> None:
    class Half:
        name = "half"

        def matches(self, model: nn.Module) -> bool:
            return False

    with pytest.raises(
        InputError,
        match=r"^task 'half' cannot be entered: Half has no example, random, collate, .*shown; expected all members",
    ):
        TASKS.enter("half", Half())  # type: ignore[arg-type]
    assert "half" not in TASKS
