"""Options of a benchmark: how often what is timed, and by how many threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from tprune.cli.options.checks import even
from tprune.cli.options.single import BenchThreads


@dataclass(frozen=True)
class Rounds:
    """How models are timed."""

    PANEL: ClassVar[str] = "Timing"
    threads: BenchThreads = 1
    batch: Annotated[int, typer.Option(min=1, help="Number of inputs in a batch; of sentences in translation.")] = 1
    rounds: Annotated[
        int,
        typer.Option(
            min=4,
            callback=even,
            help="Number of rounds, an even number; with fewer than 6 the intervals are the range of the measurements.",
        ),
    ] = 16

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Threads, inputs in a batch, rounds."""
        return self.threads, self.batch, self.rounds
