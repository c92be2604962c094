"""Translates with a bundle: numpy, onnxruntime and tokenizers; sentencepiece where the tokeniser needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune_runtime.batches import by_length, padded
from tprune_runtime.decoding import Floats, Ints, beam, greedy, streamed
from tprune_runtime.errors import InputError
from tprune_runtime.generation import Generation, fault
from tprune_runtime.manifest import MANIFEST, read_manifest, whole
from tprune_runtime.replay import Decoder, Graphs
from tprune_runtime.texts import check_texts
from tprune_runtime.tokens import Tokens, load_tokens

LISTS = ("eos_token_id", "bad_words_ids", "forced_eos_token_id", "prefix", "begin_suppress_tokens")  # tuples
TEXT = {"input_ids", "attention_mask"}


class State:
    """A batch that is being decoded; see `tprune_runtime.decoding.Steps`."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def logits(self, tokens: Ints) -> Floats:
        """One token a row, `[N]`: the next token's logits `[N, V]`."""
        found: Floats = self._decoder.logits(tokens[:, None])[:, -1]
        return found

    def take(self, rows: Ints) -> None:
        """Rows of the caches and of the sources."""
        self._decoder.take(rows)

    def reorder(self, rows: Ints) -> None:
        """Rows of the caches alone."""
        self._decoder.reorder(rows)


@dataclass(frozen=True)
class Translator:
    """A bundle of a model that writes text for text.

    Attributes:
        graphs: opened.
        tokens: the tokeniser.
        generation: how it decodes, in the decoder's numbers of tokens.
        numbers: the token of each of the decoder's numbers; empty where they are the same.
        pad: the id that fills sources.
        writable: how many tokens the decoder knows.

    Example:
        ```python
        Translator.load("app/model").translate(["Two dogs play in the snow."])  # ["Zwei Hunde spielen im Schnee."]
        ```
    """

    graphs: Graphs
    tokens: Tokens
    generation: Generation
    numbers: tuple[int, ...]
    pad: int
    writable: int

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> Translator:
        """Opens a bundle.

        Args:
            folder: of the bundle.
            threads: of one operation.

        Raises:
            InputError: no bundle, one of a model that does not translate, or one with a damaged file, naming it.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        with whole(folder):
            given = {each["name"] for each in manifest["graphs"][0]["inputs"]}
            if manifest["decoding"] is None or given != TEXT:
                raise InputError(f"{folder}: a model for {manifest['task']}; expected one that writes text for text")
            said = {key: _tuple(value) if key in LISTS else value for key, value in manifest["decoding"].items()}
            generation, numbers = Generation(**said), tuple(manifest["rows"])
            known, positions = len(numbers) or int(manifest["vocabulary"]), int(manifest["source_positions"])
            if (wrong := fault(generation, known, positions)) is not None:
                raise InputError(f"{folder / MANIFEST}: {wrong}")
            found = generation, numbers, int(manifest["ids"]["pad"]), known
            return Translator(Graphs(folder, manifest, threads), load_tokens(folder), *found)

    def translate(self, sentences: Sequence[str], beams: int | None = None, batch: int = 8) -> list[str]:
        """The translations, in the order of the sentences; a blank sentence stays blank.

        Args:
            sentences: texts of the source.
            beams: of the search (1 is greedy); as exported if not given.
            batch: how many of like length are translated at once.

        Raises:
            InputError: a sentence that is no text or has too many tokens, naming its number; beams or a batch below 1.
        """
        rows, beams = self._encoded(sentences), self.generation.num_beams if beams is None else beams
        if not 0 < max(2, 1 + len(self.generation.eos_token_id)) * beams <= self.writable:
            raise InputError(f"beams {beams}; expected at least 1, and few for the vocabulary of {self.writable}")
        filled = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        texts = [""] * len(sentences)
        for group in by_length([rows[i] for i in filled], batch):
            some = [filled[i] for i in group]
            state = self._state([rows[i] for i in some])
            one = beams == 1
            said = greedy(state, len(some), self.generation) if one else beam(state, len(some), beams, self.generation)
            for i, text in zip(some, self.tokens.decode([self._ids(row) for row in said]), strict=True):
                texts[i] = text
        return texts

    def stream(self, sentence: str) -> Iterator[str]:
        """The translation so far, longer with each token, greedy; none for a blank sentence.

        The last one is what `translate(beams=1)` gives.

        Args:
            sentence: a text of the source.

        Raises:
            InputError: as `translate`.
        """
        (row,) = self._encoded([sentence])
        said: list[int] = []
        for token in streamed(self._state([row]), self.generation) if sentence.strip() else ():
            said.append(token)
            yield self.tokens.decode([self._ids(said)])[0]

    def _encoded(self, sentences: Sequence[str]) -> list[list[int]]:
        check_texts(sentences, "sentences")
        rows = self.tokens.encode(sentences)
        most = self.graphs.manifest.get("source_positions")
        for number, row in enumerate(rows, start=1):
            if most is not None and len(row) > most:
                raise InputError(f"sentence {number} has {len(row)} tokens; the model takes at most {most}")
        return rows

    def _state(self, rows: Sequence[Sequence[int]]) -> State:
        ids, mask = padded(rows, self.pad)
        return State(Decoder(self.graphs, len(rows), {"input_ids": ids, "attention_mask": mask}))

    def _ids(self, numbers: Sequence[int]) -> list[int]:
        return [self.numbers[number] for number in numbers] if self.numbers else list(numbers)


def _tuple(value: Any) -> Any:
    return tuple(_tuple(one) for one in value) if isinstance(value, list) else value
