"""ModernBERT: one map for queries, keys and values, one for hidden units and their gates, positions by rotation.

Queries, keys and values are made by one map that its code splits evenly, so nothing is cut inside heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    ModernBertForMaskedLM,
    ModernBertForMultipleChoice,
    ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
)
from transformers.models.modernbert.modeling_modernbert import ModernBertPreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Reads
from tprune.families.encoder_heads import Head, head_of, root_of, vocabulary_head
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import APART, FusedAttention
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_dim")
CLASSIFIER = Head(readers=("head.dense",))
HEADS: Mapping[type[nn.Module], Head] = {
    ModernBertModel: Head(),
    ModernBertForSequenceClassification: CLASSIFIER,
    ModernBertForMultipleChoice: CLASSIFIER,
    ModernBertForTokenClassification: CLASSIFIER,
    ModernBertForQuestionAnswering: CLASSIFIER,
    ModernBertForMaskedLM: vocabulary_head("head.dense", "head.norm", "decoder"),
}


def rows(model: ModernBertPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, whether it attends to all tokens or to near ones, and the stream where the head is known."""
    layers = [f"{root_of(model)}layers.{number}" for number in range(model.config.num_hidden_layers)]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attn", f"{layer}.mlp"
        if not gone(model, module):
            attention = model.get_submodule(module)
            heads = int(attention.Wo.in_features // attention.head_dim)
            site = Site(ENCODER, number, SELF_ATTENTION)
            yield FusedAttention(site, module, f"{module}.Wqkv", f"{module}.Wo", heads, APART, READS)
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), mlp, (f"{mlp}.Wi",), f"{mlp}.Wo", parts=2)
    head = head_of(model, HEADS)
    if head is not None:
        yield stream(model, layers, head)


def stream(model: ModernBertPreTrainedModel, layers: list[str], head: Head) -> Residual:
    """The residual stream; the first attention has no norm before it."""
    root = root_of(model)
    norms = [f"{layer}.{norm}" for layer in layers for norm in ("attn_norm", "mlp_norm")][1:]
    return Residual(
        (f"{root}embeddings.tok_embeddings",),
        (f"{root}embeddings.norm", *norms, f"{root}final_norm", *head.norms),
        (*(f"{layer}.{name}" for layer in layers for name in ("attn.Wo", "mlp.Wo")), *head.writers),
        (*(f"{layer}.{name}" for layer in layers for name in ("attn.Wqkv", "mlp.Wi")), *head.readers),
    )


def belongs(model: nn.Module) -> bool:
    """Whether it is a ModernBERT."""
    return isinstance(model, ModernBertPreTrainedModel)


MODERNBERT = Table("modernbert", belongs, rows, tolerance=1e-6)  # rotations are computed in single precision
