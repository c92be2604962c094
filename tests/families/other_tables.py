"""Tables of families that tprune does not bring, for what their rows have that others have not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import APART, INTERLEAVED, FusedAttention
from tprune.families.residual import Residual
from tprune.families.rows import CONV1D, Row, gone
from tprune.families.table import Table


def gpt2_rows(model: Any) -> Iterator[Row]:
    """GPT-2: one map for queries, keys and values, one after another, whose weights are held as `Conv1D` holds them."""
    layers = [f"transformer.h.{number}" for number in range(len(model.transformer.h))]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attn", f"{layer}.mlp"
        if not gone(model, module):
            heads, maps = model.get_submodule(module).num_heads, (f"{module}.c_attn", f"{module}.c_proj")
            reads = Reads(dim="head_dim", heads="num_heads", total="split_size")
            yield FusedAttention(Site(DECODER, number, SELF_ATTENTION), module, *maps, heads, APART, reads, CONV1D)
        maps = (f"{mlp}.c_fc", f"{mlp}.c_proj")
        yield FeedForward(Site(DECODER, number, FEED_FORWARD), mlp, maps[:1], maps[1], held=CONV1D)
    writers = tuple(f"{layer}.{block}.c_proj" for layer in layers for block in ("attn", "mlp"))
    maps = tuple(f"{layer}.{name}" for layer in layers for name in ("attn.c_attn", "mlp.c_fc"))
    yield Residual(
        embeddings=("transformer.wte", "transformer.wpe"),
        norms=(*(f"{layer}.{norm}" for layer in layers for norm in ("ln_1", "ln_2")), "transformer.ln_f"),
        writers=writers,
        readers=(*maps, "lm_head"),
        conv1d=(*writers, *maps),
    )


def neox_rows(model: Any) -> Iterator[Row]:
    """GPT-NeoX: one map for queries, keys and values, those of each head side by side."""
    layers = [f"gpt_neox.layers.{number}" for number in range(len(model.gpt_neox.layers))]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attention", f"{layer}.mlp"
        if not gone(model, module):
            dense, qkv = f"{module}.dense", f"{module}.query_key_value"
            heads = model.get_submodule(dense).in_features // model.get_submodule(module).head_size
            site = Site(DECODER, number, SELF_ATTENTION)
            yield FusedAttention(site, module, qkv, dense, heads, INTERLEAVED, Reads(dim="head_size"))
        ups = (f"{mlp}.dense_h_to_4h",)
        yield FeedForward(Site(DECODER, number, FEED_FORWARD), mlp, ups, f"{mlp}.dense_4h_to_h")


GPT2 = Table("gpt2", lambda model: isinstance(model, GPT2LMHeadModel), gpt2_rows)
NEOX = Table("gpt_neox", lambda model: isinstance(model, GPTNeoXForCausalLM), neox_rows)
