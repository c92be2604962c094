"""Tokenisers of SentencePiece models, whose pieces are looked up in `vocab.json`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tprune_runtime.added_tokens import AddedToken, Splitter
from tprune_runtime.errors import InputError
from tprune_runtime.token_settings import TokenSettings, cleaned

SOURCE, TARGET, VOCABULARY, TARGET_VOCABULARY = "source.spm", "target.spm", "vocab.json", "target_vocab.json"
SENTENCEPIECE = (SOURCE, TARGET, VOCABULARY, TARGET_VOCABULARY)
Open = Callable[[str], Any]  # a file's name to its SentencePiece model
Ids = Callable[[str], dict[str, int]]  # a file's name to its pieces with their ids


@dataclass(frozen=True)
class PieceFiles:
    """What the files of such a tokeniser hold.

    Attributes:
        splitting: the SentencePiece model that splits text.
        joining: the one that joins pieces.
        ids: of the pieces that are read, added tokens among them.
        pieces: that are written, by their ids, added tokens among them.
        added: tokens that text is split at.
        prefix: the ids before each text.
    """

    splitting: Any
    joining: Any
    ids: Mapping[str, int]
    pieces: Mapping[int, str]
    added: tuple[AddedToken, ...]
    prefix: tuple[int, ...] = ()


class PieceTokens(ABC):
    """Text to ids and back; see `tprune_runtime.tokens.Tokens`.

    Args:
        folder: of an export.
        settings: of the tokeniser.

    Raises:
        InputError: sentencepiece is not installed, or a file cannot be read.
    """

    after_special: ClassVar[str] = ""  # what stands after a special token that is written as text

    def __init__(self, folder: Path, settings: TokenSettings | None = None) -> None:
        try:
            import sentencepiece
        except ImportError:
            raise InputError(f"{folder / SOURCE} needs sentencepiece; pip install sentencepiece") from None
        self._settings = said = settings or TokenSettings()

        def opened(name: str) -> Any:
            return sentencepiece.SentencePieceProcessor(model_file=str(folder / name))

        def ids_of(name: str) -> dict[str, int]:
            found: dict[str, int] = json.loads((folder / name).read_text(encoding="utf-8"))
            return found

        try:
            self._files = self._read(opened, ids_of, (folder / TARGET_VOCABULARY).exists())
            self._last, self._unknown = self._files.ids[said.eos], self._files.ids[said.unknown]
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder}: the SentencePiece files or {VOCABULARY} cannot be read ({error}); export the model again"
            ) from None
        self._splitter = Splitter(() if said.split_special else self._files.added, said.special)
        self._skipped = {self._files.ids.get(name, self._unknown) for name in said.special}

    @abstractmethod
    def _read(self, opened: Open, ids_of: Ids, two: bool) -> PieceFiles:
        """Reads the files by their names; `two` where the target has a vocabulary of its own."""

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`."""
        ids, prefix = self._files.ids, self._files.prefix
        rows = ([ids.get(piece, self._unknown) for piece in self._split(text)] for text in sentences)
        return [[*prefix, *row, self._last] for row in rows]

    def _split(self, text: str) -> Iterator[str]:
        for part, is_token in self._splitter.split(text):
            if is_token:
                yield part
            else:
                yield from self._pieces_of(part)

    def _pieces_of(self, text: str) -> list[str]:
        """The pieces of text without added tokens."""
        return list(self._files.splitting.encode(text, out_type=str))

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        rows = ([self._piece(index) for index in row if index not in self._skipped] for row in ids)
        return [cleaned(self._joined(row), self._settings) for row in rows]

    def _piece(self, index: int) -> str:
        return self._files.pieces.get(index, self._settings.unknown)

    def _joined(self, pieces: Sequence[str]) -> str:
        """Special tokens, where their text has another id too, stand between what the SentencePiece model joins."""
        joining, parts, text = self._files.joining, list[str](), ""
        for piece in pieces:
            if piece in self._settings.special:
                text, parts = f"{text}{joining.decode_pieces(parts)}{piece}{self.after_special}", []
            else:
                parts.append(piece)
        return (text + str(joining.decode_pieces(parts))).strip()
