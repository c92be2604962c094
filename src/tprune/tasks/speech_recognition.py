"""Speech recognition by an encoder-decoder over features of sound, such as Whisper: a recording to its transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationMixin

from tprune.core.labels import IGNORED
from tprune.core.model import Outputs
from tprune.core.task import Batch, Predictions, States, Transcriber
from tprune.core.words import Words
from tprune.data.sounds import Recordings
from tprune.support.errors import InputError
from tprune.tasks.beginnings import begun_with
from tprune.tasks.encoded_speech import EncodedSpeech as EncodedSpeech
from tprune.tasks.encoded_speech import checked_lengths
from tprune.tasks.of_recordings import OfRecordings
from tprune.tasks.one_pass import evaluating
from tprune.tasks.one_stack import OverTokens, check_data, settings
from tprune.tasks.padding import padded
from tprune.tasks.speech_processor import SpeechProcessor
from tprune.tasks.translation.stepping import STACKS, first_layer_apart, side_by_side

ROWS = 8  # recordings at a time
FEATURES = "input_features"


@dataclass(frozen=True)
class SpeechRecognition(OfRecordings, OverTokens):
    """A recording to its transcript. A batch has `input_features` (batch, bands, frames) and `labels`.

    Attributes:
        target: tokens of the transcript whose operations are counted.
        beams: of the transcripts that are scored.
    """

    target: int = 25
    beams: int = 1
    name: ClassVar[str] = "speech-recognition"
    words: ClassVar[Words] = Words(
        "a recording", "recordings", "transcripts", "Recording", "a recording and 25 tokens", "token"
    )

    def matches(self, model: nn.Module) -> bool:
        """Whether it is an encoder-decoder that reads features of sound."""
        config: Any = getattr(model, "config", None)
        return bool(getattr(config, "is_encoder_decoder", False)) and getattr(model, "main_input_name", "") == FEATURES

    def example(self, model: nn.Module) -> Batch:
        """One recording and a transcript."""
        one, config = next(model.parameters()), settings(model)
        target = min(self.target, int(config.max_target_positions))
        labels = torch.zeros(1, target, dtype=torch.long, device=one.device)
        return {FEATURES: torch.zeros(_shape(model, 1), dtype=one.dtype, device=one.device), "labels": labels}

    def random(self, model: nn.Module) -> Batch:
        """Two random recordings, the second with a shorter transcript."""
        chance, one = torch.Generator().manual_seed(0), next(model.parameters())
        features = torch.randn(_shape(model, 2), generator=chance).to(one.dtype)
        tokens = [torch.randint(int(settings(model).vocab_size), (n,), generator=chance).tolist() for n in (7, 5)]
        return {FEATURES: features, "labels": padded(tokens, IGNORED)}

    def processor(self, folder: str | Path) -> SpeechProcessor:
        """The feature extractor and the tokeniser beside a model."""
        return SpeechProcessor.load(folder)

    def exported_processor(self, folder: Path, tokenizer: Any) -> SpeechProcessor:
        """The feature extractor of an exported folder, and its tokeniser."""
        return SpeechProcessor.beside(folder, tokenizer)

    def encode(self, data: Recordings, processor: SpeechProcessor, model: nn.Module) -> EncodedSpeech:
        """Tokenises transcripts, and decodes all recordings once; of what is longer than the model takes the beginning
        stays.

        Raises:
            InputError: recordings that cannot be decoded, named and counted; or other data.
        """
        check_data(data, Recordings, self.name)
        config, found = settings(model), checked_lengths(data, processor)
        cut = sum(samples > processor.longest for samples in found)
        seconds = processor.longest / processor.rate
        rows, most = processor.tokens(data.texts, int(config.decoder_start_token_id)), int(config.max_target_positions)
        long = sum(len(row) > most for row in rows)
        targets = tuple(row if len(row) <= most else [*row[: most - 1], row[-1]] for row in rows)
        notes = (
            *(f"{data.name}: {cut:,} of {len(data):,} recordings are cut to {seconds:g} seconds",) * (cut > 0),
            *(f"{data.name}: {long:,} of {len(data):,} transcripts are cut to {most} tokens",) * (long > 0),
        )
        return EncodedSpeech(data, targets, int(config.max_source_positions), processor, notes)

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of recordings; nothing is expected of padding."""
        features = torch.stack([row[FEATURES] for row in rows])
        return {FEATURES: features, "labels": padded([row["labels"] for row in rows], IGNORED)}

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, target positions, tokens)."""
        callable_model: Any = model
        config, labels = callable_model.config, batch["labels"]
        told = labels.new_full(labels.shape, int(config.decoder_start_token_id))
        told[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, int(config.pad_token_id))
        features = batch[FEATURES].to(next(model.parameters()).dtype)
        asks = {"output_hidden_states": True} if hidden else {}
        found: Outputs = callable_model(**{FEATURES: features}, decoder_input_ids=told, use_cache=False, **asks)
        return found

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """All of a recording in the encoder, which reads two frames at a position; target tokens in the decoder."""
        if stack == "encoder":
            features = batch[FEATURES]
            return torch.ones(len(features), features.shape[-1] // 2, dtype=torch.bool, device=features.device)
        return batch["labels"] != IGNORED

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """Of encoder and decoder, what their layers give (without the embeddings)."""
        return [
            States(getattr(outputs, f"{stack}_hidden_states")[1:], self.positions(batch, stack)) for stack in STACKS
        ]

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """Layers of encoder and decoder."""
        return {stack: int(getattr(settings(model), f"{stack}_layers")) for stack in STACKS}

    def predict(self, model: Any, examples: EncodedSpeech, pad: int = 0) -> Predictions:
        """Transcripts by beam search.

        Raises:
            InputError: the model is neither a module nor a `Transcriber`.
        """
        if not isinstance(model, nn.Module | Transcriber):
            raise InputError(
                f"{type(model).__name__} transcribes nothing; expected a torch module, or what exports are"
            )
        texts, decode = list[str](), examples.processor.tokenizer.decode
        with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
            for start in range(0, len(examples), ROWS):
                picked = range(start, min(start + ROWS, len(examples)))
                features = torch.stack([examples[i][FEATURES] for i in picked])
                if isinstance(model, nn.Module):
                    rows = self._written(model, examples, features)
                else:
                    rows = model.transcribed(features.numpy(), self.beams)
                texts += [decode(row, skip_special_tokens=True) for row in rows]
        return Predictions(np.array(texts, object))

    def _written(self, model: Any, examples: EncodedSpeech, features: Tensor) -> list[list[int]]:
        """The tokens of the transcripts of a few recordings, with those that each begins with."""
        config, one = model.config, next(model.parameters())
        begun = torch.tensor([begun_with(model, examples.processor.tokenizer)] * len(features))
        most = int(config.max_target_positions)
        found = GenerationMixin.generate(  # Whisper's own looks for time stamps, in pieces of long recordings
            model,
            features.to(one),
            attention_mask=torch.ones(len(features), features.shape[-1], dtype=torch.long, device=one.device),
            decoder_input_ids=begun.to(one.device),
            do_sample=False,
            num_beams=self.beams,
            max_length=most,
            max_new_tokens=None,
        )
        rows: list[list[int]] = found.tolist()
        return rows

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Greedy decoding by the first model; all step through the same tokens."""
        return side_by_side(models, self.prompt(batch), min(steps, int(settings(models[0]).max_target_positions) - 1))

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The first layer whose output differs."""
        return first_layer_apart([self.run(model, batch, hidden=True) for model in models], differs)


def _shape(model: nn.Module, count: int) -> tuple[int, int, int]:
    """Of the features of so many recordings."""
    config = settings(model)
    return count, int(config.num_mel_bins), 2 * int(config.max_source_positions)


SPEECH_RECOGNITION = SpeechRecognition()
