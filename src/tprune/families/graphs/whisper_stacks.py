"""Whisper that writes: layers as BART's with norms before blocks; its encoder reads features of sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from transformers import WhisperForConditionalGeneration

from tprune.families.graphs.bart_stacks import layers_of
from tprune.families.graphs.positions import PositionTable
from tprune.families.graphs.stacks import StackParts, Stacks


@dataclass(frozen=True)
class LikeWhisper:
    """See `Anatomy`."""

    classes: ClassVar[tuple[type[nn.Module], ...]] = (WhisperForConditionalGeneration,)

    def stacks(self, model: nn.Module) -> Stacks:
        """See `Anatomy`."""
        held: Any = model
        encoder, decoder = held.model.encoder, held.model.decoder
        return Stacks(_stack(encoder, None), _stack(decoder, decoder.embed_tokens), held.proj_out.weight, None)


def _stack(stack: Any, words: nn.Embedding | None) -> StackParts:
    positions = PositionTable(stack.embed_positions)
    return StackParts(
        words=words,
        scale=1.0,  # its code knows `scale_embedding`, and scales nothing
        positions=positions,
        norm=None,
        last=stack.layer_norm,
        norms_first=True,
        distance=None,
        tokens=positions.tokens,
        layers=layers_of(stack),
    )


LIKE_WHISPER = LikeWhisper()
