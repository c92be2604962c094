"""The two graphs of an exported Whisper: features of a recording to cross keys and values, and one step of the decoder.

They are those of other encoder-decoders, but for how the encoder begins: two convolutions over frames, and a position
for each. A recording fills its whole length, so nothing is masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tprune.core.caches import speech_signatures
from tprune.core.graph import Dialect
from tprune.core.task import Batch, Task
from tprune.families.graphs.encoder_decoder import (
    Biases,
    DecoderStep,
    EncoderLayers,
    Tensors,
    layer_caches,
    past_of,
    stacks_of,
)
from tprune.families.graphs.graph import Graph, weights
from tprune.families.graphs.stacks import cross_attentions, self_attentions
from tprune.families.graphs.whisper_stacks import LIKE_WHISPER
from tprune.support.errors import InputError


class SoundEncoder(EncoderLayers):
    """Features of recordings, `input_features` `[B, bands, frames]`, to cross keys and values."""

    def forward(self, input_features: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        encoder, positions = self.model.get_encoder(), self.stack.positions
        assert positions is not None
        heard = nn.functional.gelu(encoder.conv1(input_features))
        heard = nn.functional.gelu(encoder.conv2(heard)).permute(0, 2, 1)
        return self.crossed(self.stack.embedded(heard, positions.of_texts(heard[..., 0])), Biases(None))


class SoundDecoderStep(DecoderStep):
    """As `DecoderStep`, of recordings that all have the same length, so that there is no mask."""

    def forward(  # type: ignore[override]  # a graph of other inputs
        self, input_ids: Tensor, position: Tensor, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """See the class."""
        return self.stepped(input_ids, position, None, cross, past)


@dataclass(frozen=True)
class SpeechSkeleton:
    """Whisper: `encoder`, and `decoder`, one step of it. It is run as encoder-decoders of text are."""

    name: ClassVar[str] = "encoder-decoder"
    searched: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("encoder", "decoder_step", "recording")

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, LIKE_WHISPER.classes)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` where nothing of the recording reaches the decoder."""
        if not any(True for _ in cross_attentions(stacks_of(model).decoder)):
            raise InputError("every cross attention is removed, so it does not hear its recording")

    def limits(self, model: nn.Module) -> Mapping[str, int]:
        """Target tokens with those that every transcript begins with."""
        return {"past": stacks_of(model).decoder.tokens}

    def features(self, model: Any) -> tuple[int, int]:
        """See `tprune.families.graphs.graph.Listening`."""
        return int(model.config.num_mel_bins), 2 * stacks_of(model).encoder.tokens

    def graphs(
        self, model: Any, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """Both graphs; the decoder knows the tokens `rows` only, or all. See `Skeleton.graphs`."""
        encoder, decoder = SoundEncoder(model, dialect).eval(), SoundDecoderStep(model, rows, dialect).eval()
        # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
        batch, target, stack = 2, 3, decoder.stack
        features = torch.zeros(batch, *self.features(model))
        one, position = torch.zeros(batch, 1, dtype=torch.long), torch.tensor([target])
        with torch.no_grad():
            cross_tensors = tuple(x.contiguous() for x in encoder(features))
            past_tensors = past_of(stack, batch, target)
        cross = layer_caches(list(cross_attentions(stack)), cross_tensors)
        past = layer_caches(list(self_attentions(stack)), past_tensors)
        signatures = speech_signatures(self.features(model), stacks_of(model).encoder.tokens, cross, past)
        sizes = (weights(model.get_encoder()), weights(model.get_decoder()))
        examples = (features,), (one, position, cross_tensors, past_tensors)
        parts = zip((encoder, decoder), examples, signatures, sizes, strict=True)
        return tuple(Graph(*each, self.limits(model)) for each in parts)


SPEECH = SpeechSkeleton()
