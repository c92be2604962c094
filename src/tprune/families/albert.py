"""ALBERT: a layer that is applied many times is one layer here, and every cut of it is made in all its passes.

Its embeddings are narrower than the stream. Attentions are not removed: their module adds to the stream itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)
from transformers.models.albert.modeling_albert import AlbertPreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections
from tprune.families.encoder_heads import Head, head_of, root_of
from tprune.families.encoder_only import READS, embeddings_of
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual, narrow_embeddings
from tprune.families.rows import Row
from tprune.families.table import Table

NARROW = Head(readers=("predictions.dense",))  # a map into the dimensions of the embeddings
HEADS: Mapping[type[nn.Module], Head] = {
    AlbertModel: Head(),
    AlbertForSequenceClassification: Head(),  # it reads what the pooler makes
    AlbertForMultipleChoice: Head(),
    AlbertForTokenClassification: Head(readers=("classifier",)),
    AlbertForQuestionAnswering: Head(readers=("qa_outputs",)),
    AlbertForMaskedLM: NARROW,
    AlbertForPreTraining: NARROW,
}
WORDS = Head(("predictions.decoder",), NARROW.readers, ("predictions.LayerNorm",))


def rows(model: AlbertPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer that has weights of its own, and where the head is known the stream and the embeddings."""
    layers = layers_of(model)
    for number, layer in enumerate(layers):
        module = f"{layer}.attention"
        heads = int(model.get_submodule(module).num_attention_heads)
        maps = Projections(*(f"{module}.{name}" for name in ("query", "key", "value", "dense")))
        yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS, needed=True)
        up = f"{layer}.ffn"
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), up, (up,), f"{layer}.ffn_output", layer=layer)
    head = head_of(model, HEADS)
    if head is None:
        return
    root, words = root_of(model), WORDS if hasattr(model, "predictions") else Head()
    widen, norm = f"{root}encoder.embedding_hidden_mapping_in", f"{root}embeddings.LayerNorm"
    yield stream(model, layers, head, widen)
    yield narrow_embeddings(embeddings_of(model), (norm, *words.norms), words.writers, (widen, *words.readers))


def stream(model: AlbertPreTrainedModel, layers: list[str], head: Head, widen: str) -> Residual:
    """The residual stream, which the embeddings enter through a map."""
    maps = ("attention.query", "attention.key", "attention.value", "ffn")
    pooler = (f"{root_of(model)}pooler",) if model.base_model.pooler is not None else ()
    norms = ("attention.LayerNorm", "full_layer_layer_norm")
    return Residual(
        (),
        (*(f"{layer}.{norm}" for layer in layers for norm in norms), *head.norms),
        (widen, *(f"{layer}.{name}" for layer in layers for name in ("attention.dense", "ffn_output"))),
        (*(f"{layer}.{name}" for layer in layers for name in maps), *pooler, *head.readers),
    )


def layers_of(model: AlbertPreTrainedModel) -> list[str]:
    """The layers that have weights of their own: of each group, those inside it."""
    config, groups = model.config, f"{root_of(model)}encoder.albert_layer_groups"
    numbers = [(group, layer) for group in range(config.num_hidden_groups) for layer in range(config.inner_group_num)]
    return [f"{groups}.{group}.albert_layers.{layer}" for group, layer in numbers]


ALBERT = Table("albert", lambda model: isinstance(model, AlbertPreTrainedModel), rows)
