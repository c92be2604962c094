"""T5, Flan-T5 and mT5 that write: no positions but a bias by distance, which all layers of a stack share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration

from tprune.core.positions import trained_tokens
from tprune.families.graphs.norms import graph_norm
from tprune.families.graphs.positions import ByDistance
from tprune.families.graphs.removed import Removed, removed
from tprune.families.graphs.stacks import AttentionParts, FeedForwardParts, LayerParts, Maps, StackParts, Stacks

MAPS = Maps("q", "k", "v", "o")


@dataclass(frozen=True)
class LikeT5:
    """See `Anatomy`."""

    classes: ClassVar[tuple[type[nn.Module], ...]] = (T5ForConditionalGeneration, MT5ForConditionalGeneration)

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
    asked = model.generation_config
    given = (asked.max_new_tokens, asked.max_length)  # what is no number is named where outputs are made
    return max([trained_tokens(model.config), *(number for number in given if type(number) is int)])


def _stack(stack: Any, tokens: int) -> StackParts:
    return StackParts(
        words=stack.embed_tokens,
        scale=1.0,
        positions=None,
        norm=None,
        last=graph_norm(stack.final_layer_norm),
        norms_first=True,
        distance=ByDistance(stack.block[0].layer[0].SelfAttention),
        tokens=tokens,
        layers=tuple(_layer(block.layer) for block in stack.block),
    )


def _layer(parts: Any) -> LayerParts:
    own = _attention(parts[0].SelfAttention, graph_norm(parts[0].layer_norm))
    cross = _attention(parts[1].EncDecAttention, graph_norm(parts[1].layer_norm)) if len(parts) > 2 else None
    return LayerParts(own, cross, FeedForwardParts(_units(parts[-1].DenseReluDense), graph_norm(parts[-1].layer_norm)))


def _attention(module: Any, norm: nn.Module) -> AttentionParts:
    if removed(module):
        return AttentionParts(module, norm, MAPS, 0, 1.0)
    sizes = getattr(module, "uneven", None)
    heads = module.q.out_features // module.key_value_proj_dim if sizes is None else sizes.heads
    kept = getattr(module, "kept", None)
    return AttentionParts(module, norm, MAPS, int(heads), 1.0, None if kept is None else tuple(kept))


def _units(block: Any) -> Callable[[Tensor], Tensor | float]:
    if removed(block):
        return Removed(None)  # linear maps have no biases
    found: Callable[[Tensor], Tensor | float] = block
    return found


LIKE_T5 = LikeT5()
