"""RoBERTa, XLM-RoBERTa and CamemBERT: BERT's blocks under other heads; positions are counted after the padding's id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.models.camembert.modeling_camembert import CamembertPreTrainedModel
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaPreTrainedModel

from tprune.families import encoder_only
from tprune.families.encoder_heads import Head, vocabulary_head
from tprune.families.rows import Row
from tprune.families.table import Table

WORDS = vocabulary_head("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder")
BY_HEAD: Mapping[str, Head] = {
    "Model": Head(),
    "ForSequenceClassification": Head(readers=("classifier.dense",)),
    "ForMultipleChoice": Head(),
    "ForTokenClassification": Head(readers=("classifier",)),
    "ForQuestionAnswering": Head(readers=("qa_outputs",)),
    "ForMaskedLM": WORDS,
    "ForCausalLM": WORDS,
}
NAMES = ("Roberta", "XLMRoberta", "Camembert")  # as transformers' classes begin
HEADS: Mapping[type[nn.Module], Head] = {
    getattr(transformers, f"{name}{end}"): head for name in NAMES for end, head in BY_HEAD.items()
}


def rows(model: PreTrainedModel) -> Iterator[Row]:
    """See `encoder_only.rows`."""
    return encoder_only.rows(model, HEADS)


ROBERTA = Table("roberta", lambda model: isinstance(model, RobertaPreTrainedModel), rows)
XLM_ROBERTA = Table("xlm-roberta", lambda model: isinstance(model, XLMRobertaPreTrainedModel), rows)
CAMEMBERT = Table("camembert", lambda model: isinstance(model, CamembertPreTrainedModel), rows)
