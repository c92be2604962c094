"""Texts of two classes, a tokeniser of their words, and a small BERT that tells the classes apart after a few steps."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tprune.data.texts import LabeledTexts

GOOD, BAD = ("fine", "great", "lovely", "warm"), ("dull", "poor", "weak", "cold")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
TEXTS = LabeledTexts(
    tuple(f"a {word} film" + " it is" * (i % 3) for i, word in enumerate((*GOOD, *BAD) * 4)),
    tuple("positive" if word in GOOD else "negative" for word in (*GOOD, *BAD) * 4),
    "reviews",
)


def tokenizer() -> PreTrainedTokenizerFast:
    words = sorted({word for text in TEXTS.texts for word in text.split()})
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*SPECIAL, *words))}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=None, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=30,
    )


@cache
def _weights() -> dict[str, torch.Tensor]:
    """After a few steps."""
    torch.manual_seed(0)
    model, encode = _model(), tokenizer()
    batch: Any = encode(list(TEXTS.texts), padding=True, return_tensors="pt")
    labels = torch.tensor([int(label == "positive") for label in TEXTS.labels])
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(30):
        out: Any = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels)
        torch.autograd.backward(out.loss)
        optimiser.step()
        optimiser.zero_grad()
    return model.state_dict()


def _model() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=30,
        num_labels=2,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    return BertForSequenceClassification(config)


def classifier() -> BertForSequenceClassification:
    model = _model()
    model.load_state_dict(_weights())
    return model.eval()
