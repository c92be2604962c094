"""CTranslate2: translation models as a whole, numpy and its own kernels, no torch to run them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tprune.core.precision import Precision
from tprune.runtimes.layout import Layout
from tprune.runtimes.products import Product
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.errors import InputError
from tprune.support.machine import version_of
from tprune_runtime.decoding import Floats, Ints

TYPES = {"fp32": "float32", "int8": "int8_float32"}  # by precision, what it calls them
PATIENCE: Mapping[bool | str, float] = {True: 1.0, False: 1.5, "never": 3.0}  # by `early_stopping`
BUILD = "encoder-decoder"
REFUSED: Mapping[str, str] = {  # by feature; see `tprune.runtimes.ctranslate2.refusals`
    "uneven heads": "all attentions of a stack have one number of heads",
    "uneven head widths": "a head has one width",
    "removed blocks": "all attentions of a stack have heads",
    "narrow residual": "its norms are over the whole residual",
    "single lines": "its matrices are whole",
}


@dataclass(frozen=True)
class CTranslate2:
    """See `tprune.runtimes.runtime.ModelRuntime`."""

    name: str = "ctranslate2"
    package: str = "ctranslate2"
    install: str = "pip install ctranslate2"
    phases: tuple[str, ...] = ("sentence",)
    kinds: tuple[str, ...] = ("ffn", "heads")
    even: tuple[str, ...] = ("heads",)

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """Models that translate, in single precision and int8."""
        if skeleton != BUILD:
            return f"it runs translation models here; expected the build {BUILD}"
        if precision.name not in TYPES:
            return f"it has no {precision.name} on every processor; expected {' or '.join(TYPES)}"
        if precision.exceptions:
            return f"it leaves no single weights in fp32, such as {precision.exceptions[0]}; expected no exceptions"
        return None

    def refuses(self, feature: str) -> str | None:
        """What `check_model` refuses, by feature."""
        return REFUSED.get(feature)

    def multiple(self, precision: Precision) -> int:
        """No sizes are known to be faster than those beside them."""
        return 1

    def toolchain(self) -> Mapping[str, str]:
        """The package writes its own files."""
        found = {name: version_of(name) for name in ("torch", "ctranslate2")}
        return {name: version for name, version in found.items() if version is not None}

    def check_model(self, model: Any, layout: Layout) -> None:
        """Raises `InputError` for what it cannot run, with the nearest that it can."""
        from tprune.runtimes.ctranslate2.refusals import faults  # torch, which running them does not need

        if found := list(faults(model, translation(layout).generation)):
            raise InputError(f"cannot export this {type(model).__name__} for {self.name}: {'; '.join(found)}")

    def write_model(self, model: Any, layout: Layout, folder: Path, precision: Precision) -> Sequence[Product]:
        """A folder that CTranslate2 opens as it is; its tokens are ids. Raises `InputError` where it is missing."""
        self._package()
        from tprune.runtimes.ctranslate2.lower import write

        return write(model, translation(layout), folder, precision.name)

    def open_model(self, folder: Path, layout: Layout, threads: int) -> Opened:
        """Opens the folder. Raises `InputError` for a missing package or a broken file."""
        package = self._package()
        try:
            translator = package.Translator(
                str(folder),
                device="cpu",
                compute_type=TYPES[layout.precision.name],
                inter_threads=1,
                intra_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{folder}: CTranslate2 cannot load it ({str(error).splitlines()[0][:200]})") from None
        return Opened(translator, translation(layout))

    def _package(self) -> Any:
        try:
            return importlib.import_module("ctranslate2")
        except ImportError as error:
            raise InputError(f"runtime {self.name} is not installed here ({error}); {self.install}") from None


CTRANSLATE2 = CTranslate2()


def translation(layout: Layout) -> TranslationLayout:
    """The layout of a translation model. Raises `InputError` for another one."""
    if not isinstance(layout, TranslationLayout):
        raise InputError(f"a model for {layout.task}; expected one that translates")
    return layout


@dataclass(frozen=True)
class Opened:
    """See `tprune.runtimes.runtime.Searching`."""

    translator: Any
    layout: TranslationLayout

    def search(self, ids: Sequence[Sequence[int]], beams: int) -> list[list[int]]:
        """Its own greedy or beam search."""
        return [self._ended(tokens_of(one)) for one in self._translated(ids, beams)]

    def scored(self, ids: Sequence[Sequence[int]], beams: int) -> list[tuple[list[int], float]]:
        """With scores, before an end is forced."""
        return [(tokens_of(one), float(one.scores[0])) for one in self._translated(ids, beams, return_scores=True)]

    def _translated(self, ids: Sequence[Sequence[int]], beams: int, **more: bool) -> list[Any]:
        g = self.layout.generation
        longest = g.max_length - 1 - bool(g.forced_eos_token_id)
        known = set(self.layout.rows)
        words = [word for word in g.bad_words_ids if not known or known.issuperset(word)]
        found: list[Any] = self.translator.translate_batch(
            names_of(ids),
            beam_size=beams,
            patience=PATIENCE[g.early_stopping] if beams > 1 else 1.0,
            length_penalty=g.length_penalty,
            no_repeat_ngram_size=g.no_repeat_ngram_size,
            suppress_sequences=names_of(words) or None,
            end_token=[str(end) for end in g.eos_token_id],
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=longest,
            min_decoding_length=min(max(0, g.min_length - 1), longest),
            **more,
        )
        return found

    def _ended(self, row: list[int]) -> list[int]:
        """With the end that is forced at the limit."""
        g = self.layout.generation
        forced = g.forced_eos_token_id and row[-1:] and row[-1] not in g.eos_token_id
        return [*row, g.forced_eos_token_id[0]] if forced else row

    def forced(self, ids: Sequence[Sequence[int]], fed: Ints) -> Floats:
        """Greedy search with a prefix that says every token: it takes one step after the other all the same."""
        tokens = self.layout.tokens(fed)
        prefix = [[str(token) for token in (*row[1:], row[0])] for row in tokens.tolist()]  # the last is not fed
        found = self.translator.translate_batch(
            names_of(ids),
            target_prefix=prefix,
            beam_size=1,
            max_input_length=0,
            max_decoding_length=fed.shape[1],
            min_decoding_length=0,
            return_logits_vocab=True,
        )
        return np.stack([np.stack([np.array(step) for step in one.logits[0]]) for one in found])


def names_of(rows: Sequence[Sequence[int]]) -> list[list[str]]:
    """What it calls tokens."""
    return [[str(token) for token in row] for row in rows]


def tokens_of(result: Any) -> list[int]:
    """The tokens of the best hypothesis."""
    return [int(token) for token in result.hypotheses[0]]
