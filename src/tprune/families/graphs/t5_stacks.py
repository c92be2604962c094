"""T5, Flan-T5 and mT5 that write: no positions but a bias by distance, which all layers of a stack share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration

from tprune.core.positions import RELATIVE
from tprune.families.graphs.norms import whole
from tprune.families.graphs.stacks import Attention, FeedForward, Layer, Maps, Stack, Stacks, left, removed

MAPS = Maps("q", "k", "v", "o")


@dataclass(frozen=True)
class LikeT5:
    """See `Anatomy`."""

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, T5ForConditionalGeneration | MT5ForConditionalGeneration)

    def stacks(self, model: nn.Module) -> Stacks:
        """See `Anatomy`."""
        held: Any = model
        tokens = _tokens(held)
        encoder, decoder = (_stack(stack, tokens) for stack in (held.encoder, held.decoder))
        # the dense width, whatever is left of it
        scale = float(held.model_dim**-0.5) if getattr(held.config, "scale_decoder_outputs", False) else 1.0
        return Stacks(encoder, decoder, held.lm_head.weight, None, scale)


def _tokens(model: Any) -> int:
    """Distances have no end: the length of training, or of the outputs that are asked for where they are longer."""
    asked, trained = model.generation_config, getattr(model.config, "n_positions", None) or RELATIVE
    given = (asked.max_new_tokens, asked.max_length)  # what is no number is named where outputs are made
    return max([trained, *(number for number in given if type(number) is int)])


def _stack(stack: Any, tokens: int) -> Stack:
    return Stack(
        words=stack.embed_tokens,
        scale=1.0,
        positions=None,
        norm=None,
        last=whole(stack.final_layer_norm),
        first=True,
        distance=stack.block[0].layer[0].SelfAttention,
        tokens=tokens,
        layers=tuple(_layer(block.layer) for block in stack.block),
    )


def _layer(parts: Any) -> Layer:
    own = _attention(parts[0].SelfAttention, whole(parts[0].layer_norm))
    cross = _attention(parts[1].EncDecAttention, whole(parts[1].layer_norm)) if len(parts) > 2 else None
    return Layer(own, cross, FeedForward(_units(parts[-1].DenseReluDense), whole(parts[-1].layer_norm)))


def _attention(module: Any, norm: nn.Module) -> Attention:
    if removed(module):
        return Attention(module, norm, MAPS, 0, 1.0)
    sizes = getattr(module, "uneven", None)
    heads = module.q.out_features // module.key_value_proj_dim if sizes is None else sizes.heads
    kept = getattr(module, "kept", None)
    return Attention(module, norm, MAPS, int(heads), 1.0, None if kept is None else tuple(kept))


def _units(block: Any) -> Callable[[Tensor], Tensor]:
    if removed(block):
        return lambda x: left(None, x)
    found: Callable[[Tensor], Tensor] = block
    return found


LIKE_T5 = LikeT5()
