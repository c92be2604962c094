"""The blocks of encoder-decoders with the module names of BART, with norms after blocks or before them.

Each family has a table of its own. Decoders alone (`ForCausalLM`), whose cross-attentions read nothing, are in none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn
from transformers import PreTrainedModel

from tprune.core.coupling import View, bias, producer
from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone

ATTENTIONS = {"self_attn": SELF_ATTENTION, "encoder_attn": CROSS_ATTENTION}  # of a layer, by attribute
READS = Reads(dim="head_dim", heads="num_heads")
HEADS = ("lm_head", "proj_out", "classification_head.dense", "qa_outputs", "projector")  # what reads the stream at last
UNITS = {ENCODER: "encoder_ffn_dim", DECODER: "decoder_ffn_dim"}  # by stack, what a stock configuration calls them


def stacks_of(model: nn.Module) -> tuple[str, ...]:
    """Encoder and decoder, those that a model has."""
    body = getattr(model, "model", model)
    return tuple(stack for stack in (ENCODER, DECODER) if hasattr(body, stack))


def has_stacks(model: nn.Module) -> bool:
    """Whether a model of a family has an encoder and a decoder."""
    return len(stacks_of(model)) == 2


def rows(model: PreTrainedModel, even: bool = False) -> Iterator[Row]:
    """All attentions, all feed-forward blocks, and the residual stream.

    Args:
        model: of one of the families.
        even: whether the code gives queries, keys and values one number of heads and one width.
    """
    layers = _layers(model)
    for layer, stack, number in layers:
        for attribute, block in ATTENTIONS.items():
            module = f"{layer}.{attribute}"
            if hasattr(model.get_submodule(layer), attribute) and not gone(model, module):
                heads = int(model.get_submodule(module).num_heads)
                maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")))
                yield Attention(Site(stack, number, block), module, maps, heads, heads, READS, even=even)
    for layer, stack, number in layers:
        up, down = f"{layer}.fc1", f"{layer}.fc2"
        yield FeedForward(Site(stack, number, FEED_FORWARD), up, (up,), down, layer=layer)
    yield width(model, [layer for layer, _, _ in layers])


def width(model: PreTrainedModel, layers: list[str]) -> Residual:
    """The residual stream of both stacks.

    Positions are cut with it, but are no reason to keep a dimension: most families compute them.
    """
    there, root = {name for name, _ in model.named_modules()}, _root(model)
    stacks = [f"{root}{stack}" for stack in stacks_of(model)]
    tokens = (f"{root}shared", *(f"{stack}.embed_tokens" for stack in stacks))
    norms = ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")
    attentions = [f"{layer}.{name}" for layer in layers for name in ATTENTIONS if f"{layer}.{name}" in there]
    maps = [f"{name}.{map_}" for name in attentions for map_ in ("q_proj", "k_proj", "v_proj")]
    of_stacks = (f"{stack}.{norm}" for norm in ("layernorm_embedding", "layer_norm") for stack in stacks)
    of_layers = (f"{layer}.{norm}" for layer in layers for norm in norms)
    writers = (*(f"{name}.out_proj" for name in attentions), *(f"{layer}.fc2" for layer in layers))
    positions = [f"{stack}.embed_positions" for stack in stacks]
    learned = [name for name in positions if isinstance(model.get_submodule(name), nn.Embedding)]
    return Residual(
        embeddings=tuple(name for name in tokens if name in there),
        norms=tuple(name for name in (*of_stacks, *of_layers) if name in there),
        writers=writers,
        readers=(*maps, *(f"{layer}.fc1" for layer in layers), *(head for head in HEADS if head in there)),
        positions=tuple(learned),
        tensors=(
            *_hearing(f"{root}encoder.conv2", there),
            *(_table(name) for name in positions if name not in learned),
        ),
    )


def _hearing(convolution: str, there: Collection[str]) -> Iterator[View]:
    """The last convolution of an encoder of sound."""
    if convolution in there:
        yield producer(f"{convolution}.weight", "u i x -> u")
        yield bias(f"{convolution}.bias", "u -> u")


def _table(positions: str) -> View:
    """Positions that a module computes and holds as a buffer."""
    return bias(f"{positions}.weights", "v u -> u")


def _root(model: PreTrainedModel) -> str:
    return "model." if hasattr(model, "model") else ""


def _layers(model: PreTrainedModel) -> list[tuple[str, str, int]]:
    """Name, stack and number of every layer."""
    return [
        (f"{_root(model)}{stack}.layers.{number}", stack, number)
        for stack in stacks_of(model)
        for number in range(len(model.get_submodule(f"{_root(model)}{stack}.layers")))
    ]
