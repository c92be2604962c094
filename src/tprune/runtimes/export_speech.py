"""Exporting a model that hears recordings: how it decodes, and its check on features of a few recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tprune.core.precision import Precision
from tprune.core.task import Batch, Task
from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.realise.belonging import check_tokenizer
from tprune.runtimes.export_pass import single
from tprune.runtimes.export_tokens import check_tokens, same_tokens, write_tokens
from tprune.runtimes.forced import STEPS, Replay
from tprune.runtimes.layout import Layout
from tprune.runtimes.report import ExportReport
from tprune.runtimes.sources import Sounds
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.transcription_settings import transcription_of
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.verify import verify
from tprune.support.errors import InputError
from tprune_runtime.generation import Generation
from tprune_runtime.tokens import load_tokens


@dataclass(frozen=True)
class SpeechExport:
    """See `tprune.runtimes.export.Kind`. Without a tokeniser the exported model writes tokens alone."""

    model: Any
    task: Task
    tokenizer: Any
    sentences: Sequence[str]
    batches: Sequence[Batch]

    def check(self) -> None:
        """Recordings, tokeniser and settings of `generate`."""
        name = type(self.model).__name__
        if self.sentences:
            raise InputError(f"sentences for a {name}, which hears recordings; expected batches of its task, or none")
        if self.tokenizer is not None:
            check_tokenizer(self.tokenizer, self.model.config, name)
        expected = list(self.task.prompt(self.task.example(self.model)))
        for number, batch in enumerate(self.batches, start=1):
            if list(found := self.task.prompt(batch)) != expected:
                raise InputError(
                    f"batch {number} gives a {name} {', '.join(found) or 'nothing'}; expected {', '.join(expected)}"
                )
        _ = self.generation  # raises for what decoding cannot do

    def check_tokens(self) -> None:
        """Whether the exported tokeniser would do the same."""
        if self.tokenizer is not None:
            check_tokens(self.tokenizer)

    def write_tokens(self, folder: Path) -> None:
        """The tokeniser's files, checked; nothing where there is none."""
        if self.tokenizer is not None:
            write_tokens(self.tokenizer, folder)
            same_tokens(self.tokenizer, load_tokens(folder))

    @property
    def rows(self) -> tuple[int, ...]:
        """All tokens."""
        return ()

    def inputs(self, plain: Any) -> Batch:
        """What the model is given."""
        return {name: single(x) for name, x in self.task.prompt(self.task.random(plain)).items()}

    def layout(self, plain: Any, layout: Layout) -> Layout:
        """The layout with how the model decodes."""
        stacks = stacks_of(plain)
        return TranslationLayout(
            **vars(layout),
            generation=self.generation,
            vocabulary=int(stacks.output.shape[0]),
            source_positions=stacks.encoder.tokens,
        )

    def verify(self, plain: Any, folder: Path, precision: Precision, replay: Replay | None) -> ExportReport:
        """Compares logits, greedy and beam search on transcripts of at most so many tokens as are forced."""
        opened = Transcriber.load(folder)
        g = opened.layout.generation
        short = replace(g, max_length=min(g.max_length, len(g.begun) + STEPS))
        opened = replace(opened, layout=replace(opened.layout, generation=short))
        name = opened.features.name
        batches = self.batches or [self.task.random(plain)]
        features = [row.numpy() for batch in batches for row in single(batch[name])]
        found = verify(plain, opened, features, Sounds(name, g.begun), precision, replay)
        return found.report(len(features))

    @cached_property
    def generation(self) -> Generation:
        """How the model decodes."""
        return transcription_of(self.model, self.tokenizer)
