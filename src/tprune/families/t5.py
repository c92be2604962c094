"""T5, Flan-T5 and mT5: encoder-decoders and encoders with any head.

The first self-attention of a stack computes a bias by distance for each head, which all its layers share: each layer
keeps the biases of the heads that it keeps, and that attention cannot be removed. Linear maps have no biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers.models.mt5.modeling_mt5 import MT5PreTrainedModel
from transformers.models.t5.modeling_t5 import T5PreTrainedModel

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="key_value_proj_dim")
CROSS_READS = Reads(dim="key_value_proj_dim", fixed={"n_heads": 1})  # whose zeros as bias all layers share
HEADS = ("lm_head", "classification_head.dense", "classifier", "qa_outputs")  # what reads the stream after the stacks


def stacks(model: Any) -> Iterator[tuple[str, str]]:
    """Names and modules of the stacks that a model has; heads but for writing hold them one level down."""
    root = "transformer." if hasattr(model, "transformer") else ""
    names = {name for name, _ in model.named_modules()}
    return ((stack, f"{root}{stack}") for stack in (ENCODER, DECODER) if f"{root}{stack}" in names)


def layers(model: Any) -> Iterator[tuple[str, int, str]]:
    """Stack, number and module of every layer."""
    for stack, module in stacks(model):
        for number in range(len(model.get_submodule(f"{module}.block"))):
            yield stack, number, f"{module}.block.{number}.layer"


def attentions(model: Any) -> Iterator[tuple[Site, str]]:
    """Every attention with its site."""
    for stack, number, layer in layers(model):
        yield Site(stack, number, SELF_ATTENTION), f"{layer}.0.SelfAttention"
        if stack == DECODER:
            yield Site(stack, number, CROSS_ATTENTION), f"{layer}.1.EncDecAttention"


def blocks(model: Any) -> Iterator[tuple[Site, str]]:
    """Every feed-forward block with its site."""
    for stack, number, layer in layers(model):
        yield Site(stack, number, FEED_FORWARD), f"{layer}.{2 if stack == DECODER else 1}.DenseReluDense"


def rows(model: Any) -> Iterator[Row]:
    """All attentions, all feed-forward blocks, and the residual stream."""
    for site, module in attentions(model):
        if not gone(model, module):
            yield attention(model, site, module)
    for site, module in blocks(model):
        yield FeedForward(site, module, tuple(f"{module}.{up}" for up in _ups(model)), f"{module}.wo")
    yield width(model)


def attention(model: Any, site: Site, module: str) -> Attention:
    """The row of one attention."""
    held, own = model.get_submodule(module), site.block == SELF_ATTENTION
    heads = held.q.out_features // (held.uneven.qk if hasattr(held, "uneven") else held.key_value_proj_dim)
    return Attention(
        site,
        module,
        Projections(*(f"{module}.{name}" for name in "qkvo")),
        heads,
        heads,
        READS if own else CROSS_READS,
        returns=3,
        shared_bias=own,
        needed=held.has_relative_attention_bias,
    )


def width(model: Any) -> Residual:
    """The residual stream of all stacks. The head divides by the root of the dense width, as its configuration says."""
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    crossing, inside = [name for _, name in attentions(model)], [name for _, name in blocks(model)]
    of_stacks = [module for _, module in stacks(model)]
    tokens = (f"{of_stacks[0].rpartition(ENCODER)[0]}shared", *(f"{stack}.embed_tokens" for stack in of_stacks))
    before = (*(f"{name.rpartition('.')[0]}.layer_norm" for name in (*crossing, *inside)),)
    return Residual(
        embeddings=tuple(name for name in tokens if name in names),
        norms=(*before, *(f"{stack}.final_layer_norm" for stack in of_stacks)),
        writers=(*(f"{name}.o" for name in crossing), *(f"{name}.wo" for name in inside)),
        readers=(
            *(f"{name}.{map_}" for name in crossing for map_ in "qkv"),
            *(f"{name}.{up}" for name in inside for up in _ups(model)),
            *(head for head in HEADS if head in names),
        ),
        rms=True,
    )


def _ups(model: Any) -> tuple[str, ...]:
    return ("wi_0", "wi_1") if model.config.is_gated_act else ("wi",)


def is_t5(model: nn.Module) -> bool:
    """Whether it is a T5 (Flan-T5 is one)."""
    return isinstance(model, T5PreTrainedModel)


def is_mt5(model: nn.Module) -> bool:
    """Whether it is an mT5."""
    return isinstance(model, MT5PreTrainedModel)


UNITS = {ENCODER: "d_ff", DECODER: "d_ff"}  # a stock configuration has one number for both stacks
# norms are computed in single precision
T5 = Table("t5", is_t5, rows, tolerance=5e-6, stock=UNITS)
MT5 = Table("mt5", is_mt5, rows, tolerance=5e-6, stock=UNITS)
