"""What encodes speech for a model: its feature extractor for recordings, its tokeniser for transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoFeatureExtractor

from tprune.data.sounds import Samples
from tprune.realise.checkpoint import load_tokenizer
from tprune.realise.model_files import existing, first_line
from tprune.support.errors import ENDS, InputError


@dataclass(frozen=True)
class SpeechProcessor:
    """From recordings to features, and from transcripts to tokens.

    Attributes:
        extractor: a feature extractor of transformers: one that pads to a fixed length, as Whisper's, or one that gives
            the signal itself, as that of wav2vec 2.0.
        tokenizer: of transcripts.
    """

    extractor: Any
    tokenizer: Any

    @staticmethod
    def load(folder: str | Path) -> SpeechProcessor:
        """The processor beside a model, or of the hub. Raises `InputError` where one of both is missing."""
        extractor = SpeechProcessor.beside(folder, None).extractor
        return SpeechProcessor(extractor, load_tokenizer(folder))

    @staticmethod
    def beside(folder: str | Path, tokenizer: Any) -> SpeechProcessor:
        """The feature extractor of a folder, with a tokeniser. Raises `InputError` where there is none.

        Args:
            folder: with a `preprocessor_config.json`.
            tokenizer: of transcripts; None where nothing is written.
        """
        try:
            extractor = AutoFeatureExtractor.from_pretrained(existing(folder))
        except ENDS:
            raise
        except Exception as error:  # of its many files, or of the hub
            raise InputError(
                f"{folder}: no feature extractor can be loaded ({first_line(error)}); expected "
                "preprocessor_config.json beside the model"
            ) from None
        return SpeechProcessor(extractor, tokenizer)

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes the files of both beside a model."""
        self.extractor.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    @property
    def exported_tokenizer(self) -> Any:
        """What an export of a model writes that searches for transcripts; None for one that reads the signal itself."""
        return self.tokenizer if hasattr(self.extractor, "n_samples") else None

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int(self.extractor.sampling_rate)

    @property
    def longest(self) -> int:
        """Samples of a recording that are read, at most."""
        return int(self.extractor.n_samples)

    def features(self, samples: Samples) -> Tensor:
        """(bands, frames) of a recording, padded to the longest one."""
        found = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        features: Tensor = found.input_features[0]
        return features

    def signal(self, samples: Samples) -> Tensor:
        """(samples,) of a recording, normalised as a model expects it that reads signals."""
        found = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        signal: Tensor = found.input_values[0].float()
        return signal

    def tokens(self, texts: Sequence[str], start: int) -> list[list[int]]:
        """The tokens of transcripts with their prefix but for the first one, which the decoder is given.

        Args:
            texts: transcripts.
            start: the token that a model's decoder begins with.
        """
        rows = self.tokenizer(list(texts), verbose=False).input_ids
        return [[int(token) for token in (row[1:] if row[:1] == [start] else row)] for row in rows]
