"""What tasks share whose models write what is said in recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tprune.core.data import Sources
from tprune.core.score import Measure
from tprune.core.task import Predictions, Shown
from tprune.data.read_sounds import read_recordings
from tprune.data.sounds import Recordings
from tprune.tasks.metrics.word_errors import word_errors


class OfRecordings:
    """Recordings with transcripts, scored by word errors. Examples have `recordings`."""

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> Recordings:
        """Recordings and transcripts from tables with paths, or from folders."""
        return read_recordings(sources, columns)

    def measures(self, predictions: Predictions, examples: Any) -> Sequence[Measure]:
        """The word error rate."""
        return (word_errors(predictions.rows.tolist(), examples.recordings.texts),)

    def baselines(self, train: Any, test: Any) -> Mapping[str, Predictions]:
        """None: frequencies transcribe nothing."""
        return {}

    def shown(self, predictions: Predictions, examples: Any, index: int) -> Shown:
        """Where a recording lies, its transcript and what was made of it."""
        return Shown(examples.recordings.place(index), examples.recordings.texts[index], predictions.rows[index])
