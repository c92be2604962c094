"""Encoder-decoders with the module names of BART: Marian, BART, mBART, M2M100 (and NLLB), Pegasus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import (
    BartForConditionalGeneration,
    M2M100ForConditionalGeneration,
    MarianMTModel,
    MBartForConditionalGeneration,
    PegasusForConditionalGeneration,
)

from tprune.families.graphs.places import AfterPadding, Table
from tprune.families.graphs.stacks import Attention, FeedForward, Layer, Maps, Stack, Stacks, left, removed

NORMS_AFTER = (MarianMTModel, BartForConditionalGeneration)  # blocks
NORMS_BEFORE = (MBartForConditionalGeneration, M2M100ForConditionalGeneration, PegasusForConditionalGeneration)
MAPS = Maps("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class LikeBart:
    """See `Anatomy`."""

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, (*NORMS_AFTER, *NORMS_BEFORE))

    def stacks(self, model: nn.Module) -> Stacks:
        """See `Anatomy`."""
        held: Any = model
        first, bias = isinstance(model, NORMS_BEFORE), getattr(model, "final_logits_bias", None)
        encoder, decoder = (_stack(stack, first) for stack in (held.model.encoder, held.model.decoder))
        return Stacks(encoder, decoder, held.lm_head.weight, None if bias is None else bias[0])


def _stack(stack: Any, first: bool) -> Stack:
    table = stack.embed_positions
    positions = Table(table) if isinstance(table, nn.Embedding) else AfterPadding(table)
    return Stack(
        words=stack.embed_tokens,
        # most embeddings multiply by their scale themselves, and their stack keeps none
        scale=float(getattr(stack, "embed_scale", 1.0)),
        positions=positions,
        norm=getattr(stack, "layernorm_embedding", None),
        last=getattr(stack, "layer_norm", None),
        first=first,
        distance=None,
        tokens=positions.tokens,
        layers=tuple(_layer(layer) for layer in stack.layers),
    )


def _layer(layer: Any) -> Layer:
    own = _attention(layer.self_attn, layer.self_attn_layer_norm)
    crosses = hasattr(layer, "encoder_attn")
    cross = _attention(layer.encoder_attn, layer.encoder_attn_layer_norm) if crosses else None
    return Layer(own, cross, FeedForward(_units(layer), layer.final_layer_norm))


def _attention(module: Any, norm: nn.Module) -> Attention:
    if removed(module):
        return Attention(module, norm, MAPS, 0, 1.0)
    return Attention(module, norm, MAPS, int(module.num_heads), float(module.scaling))


def _units(layer: Any) -> Callable[[Tensor], Tensor]:
    if removed(layer.fc1):
        return lambda x: left(layer.fc2, x)
    return lambda x: layer.fc2(layer.activation_fn(layer.fc1(x)))


LIKE_BART = LikeBart()
