"""The tokenisers of an exported folder: `tokenizer.json`, or the two SentencePiece files of an OPUS-MT model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from tprune.errors import InputError

SENTENCEPIECE = ("source.spm", "target.spm", "vocab.json")


class Tokens(Protocol):
    """Text to ids (with the end token) and back."""

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence."""

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each list of ids, special tokens left out."""


class JsonTokens:
    """A `tokenizer.json` of the tokenizers library."""

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer: Any = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a tokenizer") from None
        except Exception as error:  # the library raises plain Exception
            raise InputError(f"{path}: not a complete tokenizer file ({error})") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(sentences))]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        return [str(text) for text in self._tokenizer.decode_batch([list(row) for row in ids])]


class SentencePieceTokens:
    """What transformers' MarianTokenizer does: SentencePiece pieces looked up in `vocab.json`."""

    def __init__(self, folder: Path, eos: str = "</s>", unknown: str = "<unk>", padding: str = "<pad>") -> None:
        try:
            import sentencepiece
        except ImportError:
            raise InputError(f"{folder / SENTENCEPIECE[0]} needs sentencepiece; pip install sentencepiece") from None
        try:
            self._source: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
            target: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "target.spm"))
            self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            # a separate target vocabulary is there only when the two sides do not share one
            apart = folder / "target_vocab.json"
            out: dict[str, int] = json.loads(apart.read_text(encoding="utf-8")) if apart.exists() else self._ids
            self._eos, self._unknown = self._ids[eos], self._ids[unknown]
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: the SentencePiece files or vocab.json cannot be read ({error})") from None
        self._pieces = {index: piece for piece, index in out.items()}
        self._special = {eos, unknown, padding}
        self._decoder = target if apart.exists() else self._source

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """See `Tokens`; a leading language code such as `>>deu<<` is one token."""
        rows = ([self._ids.get(piece, self._unknown) for piece in self._split(text)] for text in sentences)
        return [[*row, self._eos] for row in rows]

    def _split(self, text: str) -> list[str]:
        code: list[str] = []
        if text.startswith(">>") and (end := text.find("<<")) != -1:
            code, text = [text[: end + 2]], text[end + 2 :]
        return code + list(self._source.encode(text, out_type=str))

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokens`."""
        rows = ([self._pieces.get(index, "") for index in row] for row in ids)
        texts = (self._decoder.decode_pieces([p for p in row if p and p not in self._special]) for row in rows)
        return [text.replace("▁", " ").strip() for text in texts]


def load_tokens(folder: Path) -> Tokens:
    """The tokeniser of an exported folder. Raises `InputError` naming the file that is missing or broken."""
    if (folder / SENTENCEPIECE[0]).exists():
        return SentencePieceTokens(folder)
    return JsonTokens(folder / "tokenizer.json")
