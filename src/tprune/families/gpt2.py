"""GPT-2: the bare decoder, and decoders with any head, without cross-attentions.

One map makes queries, keys and values, which code splits evenly, so that nothing is cut inside heads. Weights are held
as `Conv1D` holds them; there are no lines of single matrices to gather.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.gpt2.modeling_gpt2 import GPT2PreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import APART, FusedAttention
from tprune.families.heads import bare_of, readers_of
from tprune.families.residual import Residual
from tprune.families.rows import CONV1D, Row, gone
from tprune.families.table import Table
from tprune.support.errors import InputError

READS = Reads(dim="head_dim", heads="num_heads", total="split_size")


def rows(model: GPT2PreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known.

    Raises `InputError` for a decoder with cross-attentions.
    """
    if model.config.add_cross_attention:
        raise InputError(f"{type(model).__name__}: has cross-attentions, which the table of GPT-2 does not hold")
    layers = [f"{bare_of(model)}h.{number}" for number in range(model.config.num_hidden_layers)]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attn", f"{layer}.mlp"
        if not gone(model, module):
            heads, maps = model.get_submodule(module).num_heads, (f"{module}.c_attn", f"{module}.c_proj")
            yield FusedAttention(Site(DECODER, number, SELF_ATTENTION), module, *maps, heads, APART, READS, CONV1D)
        site = Site(DECODER, number, FEED_FORWARD)
        yield FeedForward(site, mlp, (f"{mlp}.c_fc",), f"{mlp}.c_proj", held=CONV1D)
    if (heads_on_it := readers_of(model)) is not None:
        yield width(bare_of(model), layers, heads_on_it)


def width(root: str, layers: list[str], heads: tuple[str, ...]) -> Residual:
    """The residual stream, whose positions are learned."""
    writers = tuple(f"{layer}.{block}.c_proj" for layer in layers for block in ("attn", "mlp"))
    maps = tuple(f"{layer}.{name}" for layer in layers for name in ("attn.c_attn", "mlp.c_fc"))
    return Residual(
        embeddings=(f"{root}wte", f"{root}wpe"),
        norms=(*(f"{layer}.{norm}" for layer in layers for norm in ("ln_1", "ln_2")), f"{root}ln_f"),
        writers=writers,
        readers=(*maps, *heads),
        conv1d=(*writers, *maps),
    )


GPT2 = Table("gpt2", lambda model: isinstance(model, GPT2PreTrainedModel), rows, stock={DECODER: "n_inner"})
