"""BERT, and what has its classes, such as MiniLM: the bare encoder, and encoders with any head.

Post-norm; heads, dimensions inside heads, hidden units, whole blocks, the residual stream of transformers' classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from tprune.families import encoder_only
from tprune.families.encoder_heads import Head, vocabulary_head
from tprune.families.rows import Row
from tprune.families.table import Table

POOLED = Head()  # which reads what the pooler makes, and nothing of the stream
WORDS = vocabulary_head(
    "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"
)
HEADS: Mapping[type[nn.Module], Head] = {
    BertModel: Head(),
    BertForSequenceClassification: POOLED,
    BertForMultipleChoice: POOLED,
    BertForNextSentencePrediction: POOLED,
    BertForTokenClassification: Head(readers=("classifier",)),
    BertForQuestionAnswering: Head(readers=("qa_outputs",)),
    BertForMaskedLM: WORDS,
    BertForPreTraining: WORDS,
    BertLMHeadModel: WORDS,
}


def rows(model: BertPreTrainedModel) -> Iterator[Row]:
    """See `encoder_only.rows`."""
    return encoder_only.rows(model, HEADS)


def belongs(model: nn.Module) -> bool:
    """Whether it is a BERT."""
    return isinstance(model, BertPreTrainedModel)


BERT = Table("bert", belongs, rows)
