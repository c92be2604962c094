"""Tables of families that tprune does not bring, for what their rows have that others have not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM, T5ForConditionalGeneration

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import APART, INTERLEAVED, FusedAttention
from tprune.families.residual import Residual
from tprune.families.rows import CONV1D, Row, gone
from tprune.families.table import Table

READS = Reads(dim="key_value_proj_dim")
CROSS_READS = Reads(dim="key_value_proj_dim", fixed={"n_heads": 1})  # whose zeros as bias all layers share


def t5_attentions(model: Any) -> Iterator[tuple[Site, str]]:
    for stack in (ENCODER, DECODER):
        for number in range(len(model.get_submodule(f"{stack}.block"))):
            layer = f"{stack}.block.{number}.layer"
            yield Site(stack, number, SELF_ATTENTION), f"{layer}.0.SelfAttention"
            if stack == DECODER:
                yield Site(stack, number, CROSS_ATTENTION), f"{layer}.1.EncDecAttention"


def t5_blocks(model: Any) -> Iterator[tuple[Site, str]]:
    for stack, place in ((ENCODER, 1), (DECODER, 2)):
        for number in range(len(model.get_submodule(f"{stack}.block"))):
            yield Site(stack, number, FEED_FORWARD), f"{stack}.block.{number}.layer.{place}.DenseReluDense"


def t5_rows(model: Any) -> Iterator[Row]:
    """T5: a bias by distance for each head, which the first layer of each stack computes for all of them.

    No other biases.
    """
    for site, module in t5_attentions(model):
        if not gone(model, module):
            attention, own = model.get_submodule(module), site.block == SELF_ATTENTION
            heads = attention.q.out_features // (
                attention.uneven.qk if hasattr(attention, "uneven") else attention.key_value_proj_dim
            )
            maps = Projections(*(f"{module}.{name}" for name in "qkvo"))
            first = attention.has_relative_attention_bias
            yield Attention(
                site,
                module,
                maps,
                heads,
                heads,
                READS if own else CROSS_READS,
                returns=3,
                shared_bias=own,
                needed=first,
            )
    for site, module in t5_blocks(model):
        ups = ("wi_0", "wi_1") if model.config.is_gated_act else ("wi",)
        yield FeedForward(site, module, tuple(f"{module}.{up}" for up in ups), f"{module}.wo")
    yield t5_width(model)


def t5_width(model: Any) -> Residual:
    attentions, blocks = [name for _, name in t5_attentions(model)], [name for _, name in t5_blocks(model)]
    ups = ("wi_0", "wi_1") if model.config.is_gated_act else ("wi",)
    inside = [*attentions, *blocks]
    return Residual(
        embeddings=("shared", "encoder.embed_tokens", "decoder.embed_tokens"),
        norms=(
            *(f"{name.rpartition('.')[0]}.layer_norm" for name in inside),
            *(f"{stack}.final_layer_norm" for stack in (ENCODER, DECODER)),
        ),
        writers=(*(f"{name}.o" for name in attentions), *(f"{name}.wo" for name in blocks)),
        readers=(
            *(f"{name}.{map_}" for name in attentions for map_ in "qkv"),
            *(f"{name}.{up}" for name in blocks for up in ups),
            "lm_head",
        ),
        rms=True,
    )


T5 = Table("t5", lambda model: isinstance(model, T5ForConditionalGeneration), t5_rows, tolerance=1e-6)


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
