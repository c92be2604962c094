"""GPT-NeoX, and Pythia: the bare decoder, and decoders with any head.

One map makes the queries, keys and values of each head side by side, which code splits evenly; some of their dimensions
are rotated. Nothing is cut inside heads. Whether attention and feed-forward block read the same stream, or one reads
what the other adds, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXPreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import INTERLEAVED, FusedAttention
from tprune.families.heads import bare_of, readers_of
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_size")


def rows(model: GPTNeoXPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    layers = [f"{bare_of(model)}layers.{number}" for number in range(model.config.num_hidden_layers)]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attention", f"{layer}.mlp"
        if not gone(model, module):
            held = model.get_submodule(module)
            heads, maps = held.dense.in_features // held.head_size, (f"{module}.query_key_value", f"{module}.dense")
            yield FusedAttention(Site(DECODER, number, SELF_ATTENTION), module, *maps, heads, INTERLEAVED, READS)
        site = Site(DECODER, number, FEED_FORWARD)
        yield FeedForward(site, mlp, (f"{mlp}.dense_h_to_4h",), f"{mlp}.dense_4h_to_h")
    if (heads_on_it := readers_of(model)) is not None:
        yield width(bare_of(model), layers, heads_on_it)


def width(root: str, layers: list[str], heads: tuple[str, ...]) -> Residual:
    """The residual stream."""
    norms = ("input_layernorm", "post_attention_layernorm")
    maps = ("attention.query_key_value", "mlp.dense_h_to_4h")
    return Residual(
        embeddings=(f"{root}embed_in",),
        norms=(*(f"{layer}.{norm}" for layer in layers for norm in norms), f"{root}final_layer_norm"),
        writers=tuple(f"{layer}.{name}" for layer in layers for name in ("attention.dense", "mlp.dense_4h_to_h")),
        readers=(*(f"{layer}.{name}" for layer in layers for name in maps), *heads),
    )


GPT_NEOX = Table(
    "gpt_neox", lambda model: isinstance(model, GPTNeoXPreTrainedModel), rows, stock={DECODER: "intermediate_size"}
)
