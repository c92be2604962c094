"""Exporting a translation model: what it says beyond its graphs, and its check on sentences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tprune.core.precision import Precision
from tprune.core.task import Batch, Task
from tprune.counting.output_rows import written_rows
from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.realise.belonging import check_tokenizer
from tprune.runtimes.export_tokens import check_tokens, same_tokens, write_tokens
from tprune.runtimes.forced import Replay
from tprune.runtimes.generation_settings import generation_of
from tprune.runtimes.layout import Layout
from tprune.runtimes.report import ExportReport
from tprune.runtimes.sources import Sentences
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator
from tprune.runtimes.verify import verify
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.texts import check_list
from tprune.tasks.translation.languages import written_language, written_language_token
from tprune_runtime.generation import Generation
from tprune_runtime.tokens import load_tokens


@dataclass(frozen=True)
class TranslationExport:
    """See `tprune.runtimes.export.Kind`."""

    model: Any
    task: Task
    tokenizer: PreTrainedTokenizerBase
    sentences: Sequence[str]
    batches: Sequence[Batch]

    def check(self) -> None:
        """Sentences, tokeniser and settings of `generate`."""
        if self.batches:
            raise InputError(f"batches for a {type(self.model).__name__}: a translation model is checked on sentences")
        check_list(self.sentences, "sentences to check the export on")
        if not self.sentences:
            raise InputError(f"sentences to check the export on: {self.sentences!r}; expected a list of at least one")
        check_tokenizer(self.tokenizer, self.model.config, type(self.model).__name__)
        self._check_language(self.generation)  # raises for what decoding cannot do

    def _check_language(self, chosen: Generation) -> None:
        token = written_language_token(self.tokenizer)
        if token in (None, chosen.forced_bos_token_id, chosen.decoder_start_token_id):
            return
        warnings.warn(
            f"{type(self.model).__name__}: its tokeniser marks references as {written_language(self.tokenizer)} (token "
            f"{token}), and generation_config.json has forced_bos_token_id {chosen.forced_bos_token_id} and "
            f"decoder_start_token_id {chosen.decoder_start_token_id}, so the model may write another language; set "
            f"forced_bos_token_id to {token}",
            TpruneWarning,
            stacklevel=5,
        )

    def check_tokens(self) -> None:
        """Whether the exported tokeniser would do the same."""
        check_tokens(self.tokenizer, self.sentences)

    def write_tokens(self, folder: Path) -> None:
        """The tokeniser's files, checked."""
        write_tokens(self.tokenizer, folder)
        same_tokens(self.tokenizer, load_tokens(folder), self.sentences)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The tokens that the decoder knows; none for all."""
        return written_rows(self.model)

    def inputs(self, plain: Any) -> Batch:
        """What the model is given."""
        return self.task.prompt(self.task.random(plain))

    def layout(self, plain: Any, layout: Layout) -> Layout:
        """The layout with how the model decodes."""
        stacks = stacks_of(plain)
        return TranslationLayout(
            **vars(layout),
            generation=self.generation,
            vocabulary=int(stacks.output.shape[0]),
            source_positions=stacks.encoder.tokens,
            rows=self.rows,
        )

    def verify(self, plain: Any, folder: Path, precision: Precision, replay: Replay | None) -> ExportReport:
        """Compares logits, greedy and beam search."""
        translator = Translator.load(folder)
        source, ids = Sentences(translator.layout.generation.pad_token_id), translator.encode(self.sentences)
        return verify(plain, translator, ids, source, precision, replay).report(len(ids))

    @cached_property
    def generation(self) -> Generation:
        """How the model decodes; a forbidden word with a token that the decoder does not know is left out."""
        generation, known = generation_of(self.model), set(self.rows)
        if known:
            words = tuple(word for word in generation.bad_words_ids if known.issuperset(word))
            generation = replace(generation, bad_words_ids=words)
        return generation
