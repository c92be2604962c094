"""Encoder-decoders with the module names of BART: Marian, BART, mBART, M2M100 (and NLLB), Pegasus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import (
    BartForConditionalGeneration,
    M2M100ForConditionalGeneration,
    MarianMTModel,
    MBartForConditionalGeneration,
    PegasusForConditionalGeneration,
)

from tprune.families.graphs.positions import AfterPadding, PositionTable
from tprune.families.graphs.removed import Removed, removed
from tprune.families.graphs.stacks import AttentionParts, FeedForwardParts, LayerParts, Maps, StackParts, Stacks

NORMS_AFTER = (MarianMTModel, BartForConditionalGeneration)  # blocks
NORMS_BEFORE = (MBartForConditionalGeneration, M2M100ForConditionalGeneration, PegasusForConditionalGeneration)
MAPS = Maps("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class LikeBart:
    """See `Anatomy`."""

    classes: ClassVar[tuple[type[nn.Module], ...]] = (*NORMS_AFTER, *NORMS_BEFORE)

    def stacks(self, model: nn.Module) -> Stacks:
        """See `Anatomy`."""
        held: Any = model
        norms_first, bias = isinstance(model, NORMS_BEFORE), getattr(model, "final_logits_bias", None)
        encoder, decoder = (_stack(stack, norms_first) for stack in (held.model.encoder, held.model.decoder))
        return Stacks(encoder, decoder, held.lm_head.weight, None if bias is None else bias[0])


def _stack(stack: Any, norms_first: bool) -> StackParts:
    table = stack.embed_positions
    positions = PositionTable(table) if isinstance(table, nn.Embedding) else AfterPadding(table)
    return StackParts(
        words=stack.embed_tokens,
        # most embeddings multiply by their scale themselves, and their stack keeps none
        scale=float(getattr(stack, "embed_scale", 1.0)),
        positions=positions,
        norm=getattr(stack, "layernorm_embedding", None),
        last=getattr(stack, "layer_norm", None),
        norms_first=norms_first,
        distance=None,
        tokens=positions.tokens,
        layers=layers_of(stack),
    )


def layers_of(stack: Any) -> tuple[LayerParts, ...]:
    """The layers of a stack whose modules are called as BART's."""
    return tuple(_layer(layer) for layer in stack.layers)


def _layer(layer: Any) -> LayerParts:
    own = _attention(layer.self_attn, layer.self_attn_layer_norm)
    crosses = hasattr(layer, "encoder_attn")
    cross = _attention(layer.encoder_attn, layer.encoder_attn_layer_norm) if crosses else None
    return LayerParts(own, cross, FeedForwardParts(_units(layer), layer.final_layer_norm))


def _attention(module: Any, norm: nn.Module) -> AttentionParts:
    if removed(module):
        return AttentionParts(module, norm, MAPS, 0, 1.0)
    return AttentionParts(module, norm, MAPS, int(module.num_heads), float(module.scaling))


@dataclass(frozen=True, eq=False)
class Units:
    """The hidden units of a layer; no closure, because graphs are written to files.

    Attributes:
        layer: that holds its two maps and the activation.
    """

    layer: Any

    def __call__(self, x: Tensor) -> Tensor:
        """What they add to the residual."""
        found: Tensor = self.layer.fc2(self.layer.activation_fn(self.layer.fc1(x)))
        return found


def _units(layer: Any) -> Callable[[Tensor], Tensor | float]:
    return Removed(layer.fc2) if removed(layer.fc1) else Units(layer)


LIKE_BART = LikeBart()
