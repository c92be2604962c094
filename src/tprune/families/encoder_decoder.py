"""The blocks of post-norm encoder-decoders with the module names of Marian and BART.

Each family has a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers import PreTrainedModel

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone

ATTENTIONS = {"self_attn": SELF_ATTENTION, "encoder_attn": CROSS_ATTENTION}  # of a layer, by attribute
READS = Reads(dim="head_dim", heads="num_heads")
UNITS = {ENCODER: "encoder_ffn_dim", DECODER: "decoder_ffn_dim"}  # by stack, what a stock configuration calls them


def rows(model: PreTrainedModel) -> Iterator[Row]:
    """All attentions, all feed-forward blocks, and the residual stream."""
    layers = _layers(model)
    for layer, stack, number in layers:
        for attribute, block in ATTENTIONS.items():
            module = f"{layer}.{attribute}"
            if hasattr(model.get_submodule(layer), attribute) and not gone(model, module):
                heads = int(model.get_submodule(module).num_heads)
                maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")))
                yield Attention(Site(stack, number, block), module, maps, heads, heads, READS)
    for layer, stack, number in layers:
        up, down = f"{layer}.fc1", f"{layer}.fc2"
        yield FeedForward(Site(stack, number, FEED_FORWARD), up, (up,), down, layer=layer)
    yield width(model, [layer for layer, _, _ in layers])


def width(model: PreTrainedModel, layers: list[str]) -> Residual:
    """The residual stream of both stacks.

    Positions are cut with it, but are no reason to keep a dimension: Marian computes them.
    """
    there = {name for name, _ in model.named_modules()}
    stacks = ("model.encoder", "model.decoder")
    tokens = ("model.shared", *(f"{stack}.embed_tokens" for stack in stacks))
    norms = ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")
    attentions = [f"{layer}.{name}" for layer in layers for name in ATTENTIONS if f"{layer}.{name}" in there]
    maps = [f"{name}.{map_}" for name in attentions for map_ in ("q_proj", "k_proj", "v_proj")]
    return Residual(
        embeddings=tuple(name for name in tokens if name in there),
        norms=tuple(
            name
            for name in (
                *(f"{stack}.layernorm_embedding" for stack in stacks),
                *(f"{layer}.{norm}" for layer in layers for norm in norms),
            )
            if name in there
        ),
        writers=(*(f"{name}.out_proj" for name in attentions), *(f"{layer}.fc2" for layer in layers)),
        readers=(*maps, *(f"{layer}.fc1" for layer in layers), "lm_head"),
        positions=tuple(f"{stack}.embed_positions" for stack in stacks),
    )


def _layers(model: PreTrainedModel) -> list[tuple[str, str, int]]:
    """Name, stack and number of every layer."""
    return [
        (f"model.{stack}.layers.{number}", stack, number)
        for stack in (ENCODER, DECODER)
        for number in range(len(model.get_submodule(f"model.{stack}.layers")))
    ]
