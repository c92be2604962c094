"""Translating with an exported folder, whatever runtime it is for: numpy and tokenizers, no torch of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tprune.data.tables import broken_pair, half_a_pair
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.runtime import Searching, opened
from tprune.runtimes.steps import EncoderDecoderEngine, Engine, State
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.errors import InputError
from tprune.support.texts import check_list
from tprune_runtime.batches import by_length, padded
from tprune_runtime.decoding import Floats, Ints, beam, forced_steps, greedy
from tprune_runtime.tokens import Tokens, load_tokens

OFTEN = 0.05  # of the translations


@dataclass(frozen=True)
class Translated:
    """Translations in the order of their sentences, and which of them end at the limit.

    The others end where the model ends them.
    """

    texts: list[str]
    cut: list[bool]
    limit: int  # tokens

    @property
    def share(self) -> float:
        """Which part of the translations ends at the limit.

        Example:
            >>> Translated(["a", "b"], [True, False], 20).share
            0.5
        """
        return sum(self.cut) / max(1, len(self.cut))


def cut_often(who: str, share: float, limit: int) -> list[str]:
    """A warning where more than 5 % of translations end at the limit.

    Example:
        >>> cut_often("model", 0.05, 20)
        []
        >>> cut_often("model", 0.5, 20)[0]
        'model: 50 % of the translations end at the limit of 20 tokens, most of them unfinished; where the model does
        not repeat itself and has more positions, set max_length in its generation_config.json higher'
    """
    if share <= OFTEN:
        return []
    return [
        f"{who}: {100 * share:.3g} % of the translations end at the limit of {limit} tokens, most of them unfinished; "
        "where the model does not repeat itself and has more positions, set max_length in its generation_config.json "
        "higher"
    ]


@dataclass(frozen=True)
class Translator:
    """An exported model, ready to run.

    Example:
        ```python
        Translator.load("small").translate(["Two dogs play in the snow."])  # ["Zwei Hunde spielen im Schnee."]
        ```
    """

    layout: TranslationLayout
    tokens: Tokens
    engine: Engine | Searching

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> Translator:
        """Opens an exported folder; `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing, truncated or changed (naming it), there are not as many cores as `threads`,
                or the folder is for a runtime that is not known here, or holds a model for another task.
        """
        folder = Path(folder)
        layout = read_translation(folder)
        tokens, found = load_tokens(folder), opened(folder, layout, threads)
        return Translator(
            layout, tokens, found if isinstance(found, Searching) else EncoderDecoderEngine(layout, found)
        )

    def translate(self, sentences: Sequence[str], beams: int | None = None, batch: int = 8) -> list[str]:
        """Translates the sentences, `batch` of like length at a time; `beams` as exported unless given (1 is greedy).

        A blank sentence stays blank. A translation is what the tokeniser makes of the model's tokens: it may hold line
        ends, which `tprune translate` writes as spaces.

        Raises:
            InputError: a sentence has more tokens than the model has positions, naming its number; or a string instead
                of a list of them.
        """
        return self.translated(sentences, beams, batch).texts

    def translated(self, sentences: Sequence[str], beams: int | None = None, batch: int = 8) -> Translated:
        """As `translate`, and which translations end because `max_length` is reached. Raises as `translate`."""
        ids = self.encode(sentences)
        filled = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        found = self.generate([ids[i] for i in filled], beams, batch)
        texts, cut, g = [""] * len(ids), [False] * len(ids), self.layout.generation
        for i, row, text in zip(filled, found, self.tokens.decode(found), strict=True):
            texts[i], cut[i] = text, g.cut(row)
        return Translated(texts, cut, g.max_length - 1)

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids with the end token.

        Raises `InputError` for a sentence that is too long, or a string instead of a list.
        """
        check_list(sentences, "sentences")
        for number, text in enumerate(sentences, start=1):
            if (half := half_a_pair(text)) is not None:
                raise InputError(f"sentence {number} {broken_pair(half)}")
        ids = self.tokens.encode(sentences)
        for number, row in enumerate(ids, start=1):
            if len(row) > self.layout.source_positions:
                raise InputError(
                    f"sentence {number} has {len(row)} tokens; the model takes at most {self.layout.source_positions}"
                )
        return ids

    def generate(self, ids: Sequence[Sequence[int]], beams: int | None = None, batch: int = 8) -> list[list[int]]:
        """Budget ids for source ids, in the order given. Raises `InputError` when `beams` or `batch` is below 1."""
        beams = self.layout.generation.num_beams if beams is None else beams
        out: list[list[int]] = [[] for _ in ids]
        for group in by_length(ids, batch):
            rows = [ids[i] for i in group]
            for i, row in zip(group, self.greedy(rows) if beams == 1 else self.beam(rows, beams), strict=True):
                out[i] = row
        return out

    def greedy(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """One batch, the likeliest token each time; ids without the start token."""
        if isinstance(self.engine, Searching):
            return self.engine.search(ids, 1) if ids else []
        return self._said(greedy(self.start(ids), len(ids), self.layout.decoding)) if ids else []

    def beam(self, ids: Sequence[Sequence[int]], beams: int) -> list[list[int]]:
        """One batch, beam search as transformers' `generate(num_beams=beams)`. Raises `InputError` below 1 beam."""
        kept = max(2, 1 + len(self.layout.generation.eos_token_id)) * beams
        if not 0 < kept <= self.layout.writable:
            raise InputError(
                f"beams {beams}; expected at least 1, and few for the vocabulary of {self.layout.writable}"
            )
        if isinstance(self.engine, Searching):
            return self.engine.search(ids, beams) if ids else []
        return self._said(beam(self.start(ids), len(ids), beams, self.layout.decoding)) if ids else []

    def forced(self, ids: Sequence[Sequence[int]], fed: Ints) -> Floats:
        """The logits `[B, T, V]` of one batch whose decoder is fed `[B, T]`, in the decoder's numbers of tokens."""
        if isinstance(self.engine, Searching):
            return self.engine.forced(ids, fed)
        return forced_steps(self.start(ids), fed)

    def _said(self, rows: list[list[int]]) -> list[list[int]]:
        """Token ids, for what the decoder calls them."""
        return [self.layout.tokens(row).tolist() for row in rows] if self.layout.rows else rows

    def start(self, ids: Sequence[Sequence[int]]) -> State:
        """Pads one batch, runs the encoder and gives the decoder's first state.

        Raises `InputError` where the runtime has a search of its own, which takes no single steps.
        """
        if isinstance(self.engine, Searching):
            raise InputError(f"runtime {self.layout.runtime} has a search of its own and takes no single steps")
        return self.engine.start(*padded(ids, self.layout.generation.pad_token_id))
