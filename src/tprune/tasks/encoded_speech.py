"""Recordings, which become features when they are asked for, and the tokens of their transcripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tprune.data.sounds import Recordings, samples_of
from tprune.support.errors import InputError
from tprune.tasks.speech_processor import SpeechProcessor

NAMED = 5  # recordings in a message


@dataclass(frozen=True, eq=False)
class EncodedSpeech:
    """Recordings with their transcripts.

    Attributes:
        recordings: that are decoded when they are asked for: their features would fill the memory.
        targets: the tokens of each transcript.
        frames: positions of the encoder for each, all of one length.
        processor: makes features of samples.
        notes: how many were cut off, where any were.
    """

    recordings: Recordings
    targets: tuple[list[int], ...]
    frames: int
    processor: SpeechProcessor = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        samples = samples_of(self.recordings.sounds[index], self.processor.rate, self.recordings.place(index))
        features = self.processor.features(samples[: self.processor.longest])
        return {"input_features": features, "labels": self.targets[index]}

    @property
    def lengths(self) -> np.ndarray:
        """Positions of encoder and decoder together."""
        return np.array([self.frames + len(target) for target in self.targets])


def checked_lengths(data: Recordings, processor: SpeechProcessor) -> list[int]:
    """The samples of each recording; all are decoded once.

    Raises:
        InputError: some cannot be decoded; says how many, and names the first ones.
    """
    found, wrong = list[int](), list[str]()
    for index, sound in enumerate(data.sounds):
        try:
            found.append(len(samples_of(sound, processor.rate, data.place(index))))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise InputError(
            f"{data.name}: {len(wrong):,} of {len(data):,} recordings cannot be used: {'; '.join(wrong[:NAMED])}{more}"
        )
    return found
