"""Exporting a model that gives its logits in one pass, with or without a cache, and its check on the task's batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tprune.core.precision import Precision
from tprune.core.task import Batch, Task
from tprune.realise.belonging import check_tokenizer
from tprune.runtimes.export_tokens import check_tokens, same_tokens, write_tokens
from tprune.runtimes.forced import Replay
from tprune.runtimes.layout import Layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.report import ExportReport
from tprune.runtimes.verify_pass import verify_pass
from tprune.support.errors import InputError
from tprune.support.texts import check_list
from tprune_runtime.tokens import load_tokens


@dataclass(frozen=True)
class PassExport:
    """See `tprune.runtimes.export.Kind`."""

    model: Any
    task: Task
    tokenizer: PreTrainedTokenizerBase | None
    sentences: Sequence[str]
    batches: Sequence[Batch]

    def check(self) -> None:
        """Tokeniser, sentences and batches."""
        name, images = type(self.model).__name__, not self._reads_tokens
        if images and (self.tokenizer is not None or self.sentences):
            given = "a tokeniser" if self.tokenizer is not None else "sentences"
            raise InputError(f"{given} for a {name}, whose task {self.task.name} reads no text; expected none")
        if self.sentences and self.tokenizer is None:
            raise InputError(f"sentences for a {name}, but no tokeniser; expected its own")
        check_list(self.sentences, "sentences to check the export on")
        if self.tokenizer is not None:
            check_tokenizer(self.tokenizer, self.model.config, name)
        expected = list(self._example)
        for number, batch in enumerate(self.batches, start=1):
            if sorted(found := self.task.prompt(batch)) != sorted(expected):
                raise InputError(
                    f"batch {number} gives a {name} {', '.join(found) or 'nothing'}; expected {', '.join(expected)}"
                )

    def check_tokens(self) -> None:
        """Whether the exported tokeniser would do the same."""
        if self.tokenizer is not None:
            check_tokens(self.tokenizer, self.sentences)

    def write_tokens(self, folder: Path) -> None:
        """The tokeniser's files, checked; nothing where there is none."""
        if self.tokenizer is not None:
            write_tokens(self.tokenizer, folder)
            same_tokens(self.tokenizer, load_tokens(folder), self.sentences)

    @property
    def rows(self) -> tuple[int, ...]:
        """All tokens, or none at all."""
        return ()

    def inputs(self, plain: Any) -> Batch:
        """What the model is given: images of the size that it is checked on; of texts any will do."""
        given = self.batches[0] if self.batches and not self._reads_tokens else self.task.random(plain)
        return {name: single(x) for name, x in self.task.prompt(given).items()}

    def layout(self, plain: Any, layout: Layout) -> Layout:
        """The layout as it is."""
        return layout

    def verify(self, plain: Any, folder: Path, precision: Precision, replay: Replay | None) -> ExportReport:
        """Compares the logits of all batches, padded and one by one, and those of steps with a cache."""
        opened = OnePass.load(folder)
        given = [*self.batches, *self._encoded(opened.layout)] or [self.task.random(plain)]
        batches = [{name: single(x) for name, x in self.task.prompt(batch).items()} for batch in given]
        return verify_pass(plain, self.task, opened, batches, precision, replay)

    @cached_property
    def _example(self) -> Batch:
        return self.task.prompt(self.task.example(self.model))

    @property
    def _reads_tokens(self) -> bool:
        return not any(x.is_floating_point() for x in self._example.values())

    def _encoded(self, layout: Layout) -> list[Batch]:
        """The sentences as batches: one where the tokeniser can pad."""
        if not self.sentences or self.tokenizer is None:
            return []
        names, most = list(self._example), min(layout.limits.values(), default=None)
        texts = [list(self.sentences)] if self.tokenizer.pad_token is not None else [[text] for text in self.sentences]
        how = {"padding": len(texts) == 1, "truncation": most is not None, "max_length": most, "return_tensors": "pt"}
        found = [self.tokenizer(each, **how) for each in texts]
        return [{name: batch[name] for name in names} for batch in found]


def single(x: Tensor) -> Tensor:
    """A tensor on the CPU, numbers in single precision."""
    return x.detach().cpu().float() if x.is_floating_point() else x.detach().cpu()
