"""DistilBERT: the bare encoder, and encoders with any head. Post-norm, without segments and without a pooler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)
from transformers.models.distilbert.modeling_distilbert import DistilBertPreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.encoder_heads import Head, head_of, root_of, vocabulary_head
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="attention_head_size", heads="n_heads")
FIRST = Head(readers=("pre_classifier",))
HEADS: Mapping[type[nn.Module], Head] = {
    DistilBertModel: Head(),
    DistilBertForSequenceClassification: FIRST,
    DistilBertForMultipleChoice: FIRST,
    DistilBertForTokenClassification: Head(readers=("classifier",)),
    DistilBertForQuestionAnswering: Head(readers=("qa_outputs",)),
    DistilBertForMaskedLM: vocabulary_head("vocab_transform", "vocab_layer_norm", "vocab_projector"),
}


def rows(model: DistilBertPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the head is known."""
    layers = [f"{root_of(model)}transformer.layer.{number}" for number in range(model.config.n_layers)]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attention", f"{layer}.ffn"
        if not gone(model, module):
            heads = int(model.get_submodule(module).n_heads)
            maps = Projections(*(f"{module}.{name}" for name in ("q_lin", "k_lin", "v_lin", "out_lin")))
            yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS)
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), mlp, (f"{mlp}.lin1",), f"{mlp}.lin2")
    head = head_of(model, HEADS)
    if head is not None:
        yield stream(model, layers, head)


def stream(model: DistilBertPreTrainedModel, layers: list[str], head: Head) -> Residual:
    """The residual stream."""
    root, maps = root_of(model), ("attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin1")
    norms = (f"{layer}.{norm}" for layer in layers for norm in ("sa_layer_norm", "output_layer_norm"))
    return Residual(
        tuple(f"{root}embeddings.{what}_embeddings" for what in ("word", "position")),
        (f"{root}embeddings.LayerNorm", *norms, *head.norms),
        (*(f"{layer}.{name}" for layer in layers for name in ("attention.out_lin", "ffn.lin2")), *head.writers),
        (*(f"{layer}.{name}" for layer in layers for name in maps), *head.readers),
    )


DISTILBERT = Table("distilbert", lambda model: isinstance(model, DistilBertPreTrainedModel), rows)
