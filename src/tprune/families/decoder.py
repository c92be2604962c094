"""The blocks of decoder-only models with the module names of Llama, which many architectures share.

Each family has a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedModel

from tprune.core.coupling import View
from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.heads import bare_of, readers_of
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(shared="num_key_value_groups")


@dataclass(frozen=True)
class Layout:
    """What differs between decoders whose modules are called as those of Llama.

    Attributes:
        norms: of a layer, on the residual stream or on what a block adds to it.
        inside: of an attention, norms of queries and keys that all heads share.
        offset: what norms add to their weight before they multiply by it.
    """

    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    inside: tuple[str, ...] = ()
    offset: int = 0


def rows(model: PreTrainedModel, layout: Layout) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    for number, layer in enumerate(layers_of(model)):
        if not gone(model, f"{layer}.self_attn"):
            yield attention(model, layer, number, layout)
        mlp = f"{layer}.mlp"
        ups = (f"{mlp}.gate_proj", f"{mlp}.up_proj")
        yield FeedForward(Site(DECODER, number, FEED_FORWARD), mlp, ups, f"{mlp}.down_proj")
    maps = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
    yield from width(model, layout, ("self_attn.o_proj", "mlp.down_proj"), maps)


def layers_of(model: PreTrainedModel) -> list[str]:
    """The names of all layers."""
    return [f"{bare_of(model)}layers.{number}" for number in range(model.config.num_hidden_layers)]


def attention(model: PreTrainedModel, layer: str, number: int, layout: Layout) -> Attention:
    """The row of an attention; query heads share key-value heads in groups."""
    module = f"{layer}.self_attn"
    held = model.get_submodule(module)
    heads, kv = (linear.out_features // held.head_dim for linear in (held.q_proj, held.k_proj))
    maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")))
    norms = tuple(f"{module}.{norm}" for norm in layout.inside)
    return Attention(Site(DECODER, number, SELF_ATTENTION), module, maps, heads, kv, READS, rotary=True, norms=norms)


def width(
    model: PreTrainedModel,
    layout: Layout,
    writers: tuple[str, ...],
    readers: tuple[str, ...],
    tensors: tuple[View, ...] = (),
) -> Iterator[Residual]:
    """The residual stream, where all heads on the bare decoder are known.

    Args:
        model: the decoder.
        layout: of its modules.
        writers: of a layer, the maps into the stream.
        readers: of a layer, the maps out of it.
        tensors: see `Residual`.
    """
    heads, root, layers = readers_of(model), bare_of(model), layers_of(model)
    if heads is None:
        return
    yield Residual(
        embeddings=(f"{root}embed_tokens",),
        norms=(*(f"{layer}.{norm}" for layer in layers for norm in layout.norms), f"{root}norm"),
        writers=tuple(f"{layer}.{name}" for layer in layers for name in writers),
        readers=(*(f"{layer}.{name}" for layer in layers for name in readers), *heads),
        rms=True,
        offset=layout.offset,
        tensors=tensors,
    )


def table(name: str, kind: type[PreTrainedModel], layout: Layout) -> Table:
    """The table of a family whose modules are called as those of Llama.

    Args:
        name: of the family, its `model_type`.
        kind: the class that all its models are made from.
        layout: what differs from Llama.

    Example:
        >>> from transformers.models.llama.modeling_llama import LlamaPreTrainedModel
        >>> table("llama", LlamaPreTrainedModel, Layout()).tolerance
        1e-06
    """
    return Table(
        name,
        lambda model: isinstance(model, kind),
        lambda model: rows(model, layout),
        tolerance=1e-6,  # norms by the root mean square are computed in single precision
        stock={DECODER: "intermediate_size"},
    )
