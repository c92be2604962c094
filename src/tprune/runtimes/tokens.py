"""The tokenisers of an exported folder: `tokenizer.json`, or the two SentencePiece files of an OPUS-MT model.

Beside them lies `tokens.json`: what transformers adds to these files, such as the tokens that a user added to a
SentencePiece model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from tokenizers import Tokenizer

from tprune.runtimes.added_tokens import AddedToken, Splitter
from tprune.runtimes.language_tokens import LanguageTokens
from tprune.runtimes.token_settings import TokenSettings, cleaned
from tprune.support.errors import ENDS, InputError
from tprune.support.panics import quiet_panics

SENTENCEPIECE = ("source.spm", "target.spm", "vocab.json")
P = ParamSpec("P")
T = TypeVar("T")


class Tokens(Protocol):
    """Text to ids (with the end token) and back."""

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence."""

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each list of ids, special tokens left out."""


class JsonTokens:
    """A `tokenizer.json` of the tokenizers library."""

    def __init__(self, path: Path, settings: TokenSettings | None = None) -> None:
        self._settings = settings or TokenSettings()
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a tokenizer") from None
        except ValueError as error:
            raise InputError(f"{path}: not a complete tokenizer file ({error})") from None
        with quiet_panics():
            self._tokenizer: Any = blame(path, Tokenizer.from_str)(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = self._settings.split_special
        self._encode: Callable[..., Any] = blame(path, self._tokenizer.encode_batch)
        self._decode: Callable[..., Any] = blame(path, self._tokenizer.decode_batch)

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`."""
        return [encoding.ids for encoding in self._encode(list(sentences))]

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[tuple[list[int], list[int | None]]]:
        """The ids of texts that are split into words, and the word of each; None for special tokens."""
        found = self._encode([list(words) for words in texts], is_pretokenized=True)
        return [(encoding.ids, encoding.word_ids) for encoding in found]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        return [cleaned(str(text), self._settings) for text in self._decode([list(row) for row in ids])]


class SentencePieceTokens:
    """What transformers' MarianTokenizer does: SentencePiece pieces looked up in `vocab.json`."""

    def __init__(self, folder: Path, settings: TokenSettings | None = None) -> None:
        try:
            import sentencepiece
        except ImportError:
            raise InputError(f"{folder / SENTENCEPIECE[0]} needs sentencepiece; pip install sentencepiece") from None
        self._settings = said = settings or TokenSettings()
        try:
            self._source: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
            target: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "target.spm"))
            ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            # a separate target vocabulary is there only when the two sides do not share one
            apart = folder / "target_vocab.json"
            out: dict[str, int] = json.loads(apart.read_text(encoding="utf-8")) if apart.exists() else ids
            names = [name for name in said.special if name in ids] if said.added is None else []
            added = said.added or tuple(AddedToken(name, ids[name]) for name in names)
            self._pieces = {index: piece for piece, index in out.items()} | {one.id: one.content for one in added}
            self._ids = ids | {one.content: one.id for one in added}
            self._eos, self._unknown = self._ids[said.eos], self._ids[said.unknown]
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder}: the SentencePiece files or vocab.json cannot be read ({error})") from None
        self._splitter = Splitter(() if said.split_special else added, said.special)
        self._skipped = {self._ids.get(name, self._unknown) for name in said.special}
        self._decoder = target if apart.exists() else self._source

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`; a leading language code such as `>>deu<<` is one token."""
        rows = ([self._ids.get(piece, self._unknown) for piece in self._split(text)] for text in sentences)
        return [[*row, self._eos] for row in rows]

    def _split(self, text: str) -> Iterator[str]:
        for part, whole in self._splitter.split(text):
            if whole:
                yield part
            else:
                yield from self._pieces_of(part)

    def _pieces_of(self, text: str) -> list[str]:
        code: list[str] = []
        if text.startswith(">>") and (end := text.find("<<")) != -1:
            code, text = [text[: end + 2]], text[end + 2 :]
        return code + list(self._source.encode(text, out_type=str))

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        rows = ([self._piece(index) for index in row if index not in self._skipped] for row in ids)
        return [cleaned(self._joined(row), self._settings) for row in rows]

    def _joined(self, pieces: Sequence[str]) -> str:
        """Special tokens, where their text has another id too, stand between what the SentencePiece model joins."""
        parts: list[str] = []
        text = ""
        for piece in pieces:
            if piece in self._settings.special:
                text, parts = f"{text}{self._decoder.decode_pieces(parts)}{piece} ", []
            else:
                parts.append(piece)
        return (text + str(self._decoder.decode_pieces(parts))).replace("▁", " ").strip()

    def _piece(self, index: int) -> str:
        if (piece := self._pieces.get(index)) is not None:
            return piece
        return str(self._decoder.id_to_piece(index)) if 0 <= index < len(self._decoder) else self._settings.unknown


def load_tokens(folder: Path) -> Tokens:
    """The tokeniser of an exported folder. Raises `InputError` naming the file that is missing or broken."""
    settings = TokenSettings.read(folder)
    if settings.language:
        return LanguageTokens(folder, settings)
    if (folder / SENTENCEPIECE[0]).exists():
        return SentencePieceTokens(folder, settings)
    return JsonTokens(folder / "tokenizer.json", settings)


def blame(path: Path, work: Callable[P, T]) -> Callable[P, T]:
    """The same function; where the tokenizers library fails or panics, the file of the tokeniser is named.

    Raises:
        InputError: naming the file.
    """

    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except ENDS:
            raise
        except BaseException as error:  # the library raises plain Exception, and panics of Rust are not even that
            raise InputError(f"{path}: not a complete tokenizer file ({error})") from None

    return checked
