"""BERT: the bare encoder, and encoders with any head.

Post-norm; heads, dimensions inside heads, hidden units, whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import BertForSequenceClassification, BertModel
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table
from tprune.support.errors import InputError

READS = Reads(dim="attention_head_size", heads="num_attention_heads", total="all_head_size")


def rows(model: BertPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known.

    Raises `InputError` for a decoder with cross-attentions.
    """
    if model.config.add_cross_attention:
        raise InputError(f"{type(model).__name__}: has cross-attentions, which the table of BERT does not hold")
    layers = "encoder.layer" if isinstance(model, BertModel) else "bert.encoder.layer"
    for number in range(model.config.num_hidden_layers):
        layer = f"{layers}.{number}"
        module = f"{layer}.attention.self"
        if not gone(model, module):
            heads = model.get_submodule(module).num_attention_heads
            output = f"{layer}.attention.output.dense"
            maps = Projections(f"{module}.query", f"{module}.key", f"{module}.value", output)
            yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS)
        up = f"{layer}.intermediate"
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), up, (f"{up}.dense",), f"{layer}.output.dense")
    if isinstance(model, BertModel | BertForSequenceClassification):
        yield width(model)


def width(model: BertPreTrainedModel) -> Residual:
    """The residual stream of the bare encoder, or of it with a head that reads its pooled output alone."""
    root = "" if isinstance(model, BertModel) else "bert."
    layers = [f"{root}encoder.layer.{number}" for number in range(model.config.num_hidden_layers)]
    embeddings = tuple(f"{root}embeddings.{what}_embeddings" for what in ("word", "position", "token_type"))
    norms = (f"{root}embeddings", *(f"{layer}.{part}" for layer in layers for part in ("attention.output", "output")))
    writers = tuple(f"{layer}.{name}.dense" for layer in layers for name in ("attention.output", "output"))
    maps = ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense")
    pooler = (f"{root}pooler.dense",) if model.base_model.pooler is not None else ()
    readers = (*(f"{layer}.{name}" for layer in layers for name in maps), *pooler)
    return Residual(embeddings, tuple(f"{name}.LayerNorm" for name in norms), writers, readers)


def belongs(model: nn.Module) -> bool:
    """Whether it is a BERT."""
    return isinstance(model, BertPreTrainedModel)


BERT = Table("bert", belongs, rows)
