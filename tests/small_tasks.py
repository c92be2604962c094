"""A small model, raw data and a processor for each task."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.other_tasks.resnet import ResNet
from small_pairs import PAIRS, model_and_tokenizer
from table_models import BERT, table_model
from tprune.core.data import Data
from tprune.core.task import Task
from tprune.data.image_processor import ImageProcessor
from tprune.data.images import LabeledImages
from tprune.data.texts import LabeledTexts, Texts, TokenSequences
from tprune.tasks.image_classification import ImageClassification
from tprune.tasks.language_modelling import LanguageModelling
from tprune.tasks.text_classification import TextClassification
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.tasks.translation.task import Translation
from tprune.testing import randomise_

TEXTS = ("a cat sat", "a dog ran far", "the cat", "the dog sat", "a fine cat ran", "dog")
LABELS = ("good", "bad", "good", "bad", "fair", "fair")


class Known(NamedTuple):
    task: Task
    model: Any
    data: Data
    processor: Any
    pad: int = 0


def words() -> Any:
    return train_tokenizer(list(TEXTS), 40, 16)


def classifier(**changes: Any) -> Any:
    torch.manual_seed(0)
    config = {**BERT, "num_labels": 3, "hidden_dropout_prob": 0.0, **changes}
    model = BertForSequenceClassification(BertConfig(**config)).eval()
    randomise_(model)
    return model


def pictures(count: int = 6, seed: int = 0) -> LabeledImages:
    rng = np.random.default_rng(seed)
    images = tuple(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count))
    return LabeledImages(images, tuple(f"class {i % 3}" for i in range(count)), "pictures")


def translation() -> Known:
    model, tokenizer = model_and_tokenizer()
    return Known(Translation(beams=1), model.eval(), PAIRS.head(6), tokenizer)


def text_classification() -> Known:
    return Known(TextClassification(), classifier(), LabeledTexts(TEXTS, LABELS), words())


def language_modelling() -> Known:
    return Known(LanguageModelling(), table_model("llama").float(), Texts(TEXTS), words())


def token_ids() -> Known:
    rng = np.random.default_rng(0)
    rows = tuple(tuple(rng.integers(3, 40, n).tolist()) for n in (5, 9, 3, 7))
    return Known(LanguageModelling(), table_model("llama").float(), TokenSequences(rows), None)


def image_classification() -> Known:
    torch.manual_seed(0)
    model = ResNet(1, 4).eval()
    randomise_(model)
    processor = ImageProcessor((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return Known(ImageClassification(size=8), model, pictures(), processor)


KNOWN = {
    make.__name__: make
    for make in (translation, text_classification, language_modelling, token_ids, image_classification)
}
