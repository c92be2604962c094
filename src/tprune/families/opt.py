"""OPT: the bare decoder, and decoders with any head, with norms before or after the blocks.

Code views queries, keys and values as equally many heads of one width: nothing is cut inside heads.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.opt.modeling_opt import OPTPreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.heads import bare_of, readers_of
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_dim", heads="num_heads")


def rows(model: OPTPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known and its norms have weights."""
    layers = [f"{bare_of(model)}decoder.layers.{number}" for number in range(model.config.num_hidden_layers)]
    for number, layer in enumerate(layers):
        module = f"{layer}.self_attn"
        if not gone(model, module):
            heads = int(model.get_submodule(module).num_heads)
            maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")))
            yield Attention(Site(DECODER, number, SELF_ATTENTION), module, maps, heads, heads, READS, even=True)
        up, down = f"{layer}.fc1", f"{layer}.fc2"
        yield FeedForward(Site(DECODER, number, FEED_FORWARD), up, (up,), down, layer=layer)
    if readers_of(model) is not None and model.config.layer_norm_elementwise_affine:
        yield width(model, layers)


def width(model: OPTPreTrainedModel, layers: list[str]) -> Residual:
    """The residual stream.

    Where embeddings of tokens have another width, a map writes them into it, and another reads what heads read.
    """
    root = f"{bare_of(model)}decoder."
    stack = model.get_submodule(root[:-1])
    projected, last = stack.project_in is not None, stack.final_layer_norm is not None
    maps = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "fc1")
    norms = [f"{layer}.{norm}" for layer in layers for norm in ("self_attn_layer_norm", "final_layer_norm")]
    writers = [f"{layer}.{name}" for layer in layers for name in ("self_attn.out_proj", "fc2")]
    return Residual(
        embeddings=(*(() if projected else (f"{root}embed_tokens",)), f"{root}embed_positions"),
        norms=(*norms, *((f"{root}final_layer_norm",) if last else ())),
        writers=(*writers, *((f"{root}project_in",) if projected else ())),
        readers=(
            *(f"{layer}.{name}" for layer in layers for name in maps),
            *((f"{root}project_out",) if projected else readers_of(model) or ()),
        ),
    )


OPT = Table("opt", lambda model: isinstance(model, OPTPreTrainedModel), rows, stock={DECODER: "ffn_dim"})
