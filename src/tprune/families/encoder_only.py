"""The blocks of post-norm encoders with the module names of BERT: RoBERTa and ELECTRA have them too.

Each family has a table of its own, which says what its heads read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.encoder_heads import Head, head_of, root_of
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.support.errors import InputError

READS = Reads(dim="attention_head_size", heads="num_attention_heads", total="all_head_size")
MAPS = ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense")


def rows(model: PreTrainedModel, heads: Mapping[type[nn.Module], Head]) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the head is known.

    Args:
        model: of the family.
        heads: by class, what reads the stream beside the pooler. A class that is not there keeps its stream whole.

    Raises:
        InputError: it is a decoder with cross-attentions.
    """
    yield from blocks(model)
    head = head_of(model, heads)
    if head is not None:
        yield stream(model, head)


def blocks(model: PreTrainedModel) -> Iterator[Row]:
    """Two rows a layer. Raises `InputError` for a decoder with cross-attentions."""
    if getattr(model.config, "add_cross_attention", False):
        kind = model.config.model_type.removeprefix("tprune_")
        raise InputError(f"{type(model).__name__}: has cross-attentions, which the table of {kind} does not hold")
    for number, layer in enumerate(layers_of(model)):
        module = f"{layer}.attention.self"
        if not gone(model, module):
            heads = int(model.get_submodule(module).num_attention_heads)
            output = f"{layer}.attention.output.dense"
            maps = Projections(f"{module}.query", f"{module}.key", f"{module}.value", output)
            yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS)
        up = f"{layer}.intermediate"
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), up, (f"{up}.dense",), f"{layer}.output.dense")


def stream(model: PreTrainedModel, head: Head) -> Residual:
    """The residual stream, into which the embeddings are added."""
    return inside(model, head, embeddings_of(model), (f"{root_of(model)}embeddings.LayerNorm",))


def inside(
    model: PreTrainedModel,
    head: Head,
    embeddings: Sequence[str] = (),
    norms: Sequence[str] = (),
    writers: Sequence[str] = (),
) -> Residual:
    """The residual stream of the layers, their head, and what comes before them.

    Args:
        model: of the family.
        head: what lies after the base model.
        embeddings: that are added into the stream.
        norms: of the embeddings.
        writers: that come before the layers.
    """
    layers, pooler = layers_of(model), f"{root_of(model)}pooler.dense"
    pooled = (pooler,) if getattr(model.base_model, "pooler", None) is not None else ()
    after = ("attention.output", "output")
    return Residual(
        tuple(embeddings),
        (*norms, *(f"{layer}.{part}.LayerNorm" for layer in layers for part in after), *head.norms),
        (*writers, *(f"{layer}.{part}.dense" for layer in layers for part in after), *head.writers),
        (*(f"{layer}.{name}" for layer in layers for name in MAPS), *pooled, *head.readers),
    )


def embeddings_of(model: PreTrainedModel) -> tuple[str, ...]:
    """The tables of words, positions and segments."""
    return tuple(f"{root_of(model)}embeddings.{what}_embeddings" for what in ("word", "position", "token_type"))


def layers_of(model: PreTrainedModel) -> list[str]:
    """The names of the layers."""
    return [f"{root_of(model)}encoder.layer.{number}" for number in range(model.config.num_hidden_layers)]
