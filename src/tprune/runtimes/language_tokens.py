"""The tokeniser of an M2M100: one SentencePiece model, pieces looked up in `vocab.json`, and a language before them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tprune.runtimes.added_tokens import Splitter
from tprune.runtimes.token_settings import TokenSettings, cleaned
from tprune.support.errors import InputError

MODEL, VOCABULARY = "source.spm", "vocab.json"


class LanguageTokens:
    """What transformers' M2M100Tokenizer does, as it reads the source; see `tprune.runtimes.tokens.Tokens`.

    Args:
        folder: of an export.
        settings: of the tokeniser; `language` is the token before each text.

    Raises:
        InputError: sentencepiece is not installed, or a file cannot be read.
    """

    def __init__(self, folder: Path, settings: TokenSettings) -> None:
        try:
            import sentencepiece
        except ImportError:
            raise InputError(f"{folder / MODEL} needs sentencepiece; pip install sentencepiece") from None
        self._settings, added = settings, settings.added or ()
        try:
            self._model: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / MODEL))
            ids: dict[str, int] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            self._ids = ids | {one.content: one.id for one in added}
            self._pieces = {index: piece for piece, index in ids.items()} | {one.id: one.content for one in added}
            # of a language that was added once more, the tokeniser begins with the id that it had before
            self._first, self._last = ids[settings.language], self._ids[settings.eos]
            self._unknown = self._ids[settings.unknown]
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder}: {MODEL} or {VOCABULARY} cannot be read ({error})") from None
        self._splitter = Splitter(() if settings.split_special else added, settings.special)
        self._skipped = {self._ids.get(name, self._unknown) for name in settings.special}

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`."""
        rows = ([self._ids.get(piece, self._unknown) for piece in self._split(text)] for text in sentences)
        return [[self._first, *row, self._last] for row in rows]

    def _split(self, text: str) -> Iterator[str]:
        for part, whole in self._splitter.split(text):
            if whole:
                yield part
            else:
                yield from self._model.encode(part, out_type=str)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        rows = ([index for index in row if index not in self._skipped] for row in ids)
        return [cleaned(self._joined(row), self._settings) for row in rows]

    def _joined(self, row: Sequence[int]) -> str:
        """Special tokens, where their text has another id too, stand between what the model joins."""
        parts: list[str] = []
        text = ""
        for index in row:
            piece = self._pieces.get(index, self._settings.unknown)
            if piece in self._settings.special:
                text, parts = text + str(self._model.decode(parts)) + piece, []
            else:
                parts.append(piece)
        return (text + str(self._model.decode(parts))).strip()
