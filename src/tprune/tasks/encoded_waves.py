"""Recordings as signals, with the token that each frame of a model is expected to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tprune.data.sounds import Recordings, samples_of
from tprune.tasks.speech_processor import SpeechProcessor


@dataclass(frozen=True, eq=False)
class EncodedWaves:
    """Recordings with their transcripts.

    Attributes:
        recordings: that are decoded when they are asked for.
        labels: the token of each frame.
        longest: samples that are read, at most.
        processor: normalises signals, and makes text of tokens.
        notes: how many were cut off, where any were.
    """

    recordings: Recordings
    labels: tuple[list[int], ...]
    longest: int
    processor: SpeechProcessor = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_values": self.wave(index), "labels": self.labels[index]}

    def wave(self, index: int) -> torch.Tensor:
        """The signal of a recording, as a model reads it."""
        processor = self.processor
        samples = samples_of(self.recordings.sounds[index], processor.rate, self.recordings.place(index))
        return processor.signal(samples[: self.longest])

    @property
    def lengths(self) -> np.ndarray:
        """Frames."""
        return np.array([len(row) for row in self.labels])
