"""A table of a family that tprune does not bring, for what its rows have that others have not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import T5ForConditionalGeneration

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
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
