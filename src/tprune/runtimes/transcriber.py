"""Transcribing with an exported folder, whatever runtime it is for: numpy alone, no torch of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tprune.core.graph import TensorSpec
from tprune.runtimes.artefact import read_writer
from tprune.runtimes.runtime import Array, Searching, opened
from tprune.runtimes.steps import EncoderDecoderEngine, Engine, State
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.errors import InputError
from tprune_runtime.decoding import Floats, Ints, beam, forced_steps, greedy


@dataclass(frozen=True)
class Transcriber:
    """An exported model that hears recordings, ready to run.

    Its inputs are features, `[bands, frames]` of each recording, as the feature extractor beside the model makes them.

    Example:
        ```python
        Transcriber.load("small").transcribed(features)  # token ids of each transcript
        ```
    """

    layout: TranslationLayout
    engine: Engine

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> Transcriber:
        """Opens an exported folder; `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing, truncated or changed (naming it), there are not as many cores as `threads`,
                or the folder is for a runtime that is not known here, or holds a model that hears nothing.
        """
        folder = Path(folder)
        layout = read_writer(folder)
        if layout.hears is None:
            raise InputError(f"{folder}: an exported model for {layout.task}; expected one that hears recordings")
        found = opened(folder, layout, threads)
        assert not isinstance(found, Searching)  # those translate
        return Transcriber(layout, EncoderDecoderEngine(layout, found))

    @property
    def features(self) -> TensorSpec:
        """What its encoder reads."""
        found = self.layout.hears
        assert found is not None
        return found

    def transcribed(self, features: Array, beams: int | None = None) -> list[list[int]]:
        """The tokens of each transcript, without those that it begins with.

        Args:
            features: `[recordings, bands, frames]` of one batch.
            beams: of the search; as exported if not given, 1 is greedy.

        Raises:
            InputError: features of another shape, or less than one beam.
        """
        width = self.layout.generation.num_beams if beams is None else beams
        return self.greedy(features) if width == 1 else self.beam(features, width)

    def greedy(self, features: Array | Sequence[Array]) -> list[list[int]]:
        """One batch, the likeliest token each time."""
        given = self._checked(features)
        return self._said(greedy(self.start(given), len(given), self.layout.decoding)) if len(given) else []

    def beam(self, features: Array | Sequence[Array], beams: int) -> list[list[int]]:
        """One batch, beam search as transformers' `generate(num_beams=beams)`. Raises `InputError` below 1 beam."""
        kept = max(2, 1 + len(self.layout.generation.eos_token_id)) * beams
        if not 0 < kept <= self.layout.writable:
            raise InputError(
                f"beams {beams}; expected at least 1, and few for the vocabulary of {self.layout.writable}"
            )
        given = self._checked(features)
        return self._said(beam(self.start(given), len(given), beams, self.layout.decoding)) if len(given) else []

    def forced(self, features: Array | Sequence[Array], fed: Ints) -> Floats:
        """The logits `[B, T, V]` of one batch whose decoder is fed `[B, T]`, in the decoder's numbers of tokens."""
        return forced_steps(self.start(features), fed)

    def start(self, features: Array | Sequence[Array]) -> State:
        """Runs the encoder on one batch and gives the decoder's first state."""
        return self.engine.begin({self.features.name: self._checked(features)})

    def _checked(self, features: Array | Sequence[Array]) -> Array:
        given, expected = np.asarray(features, np.float32), self.features.dims[1:]
        if len(given) and given.shape[1:] != expected:
            raise InputError(
                f"features of shape {given.shape}; expected (recordings, {', '.join(map(str, expected))}), as the "
                "feature extractor beside the model makes them"
            )
        return given

    def _said(self, rows: list[list[int]]) -> list[list[int]]:
        """Token ids, for what the decoder calls them."""
        return [self.layout.tokens(row).tolist() for row in rows] if self.layout.rows else rows
