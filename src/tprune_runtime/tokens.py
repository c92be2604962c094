"""The tokenisers of an exported folder: `tokenizer.json`, or the two SentencePiece files of an OPUS-MT model.

Beside them lies `tokens.json`: what transformers adds to these files, such as the tokens that a user added to a
SentencePiece model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from tokenizers import Tokenizer

from tprune_runtime.errors import ENDS, InputError
from tprune_runtime.language_tokens import LanguageTokens
from tprune_runtime.marian_tokens import SentencePieceTokens
from tprune_runtime.panics import quiet_panics
from tprune_runtime.piece_tokens import SOURCE
from tprune_runtime.token_settings import TokenSettings, cleaned

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
        unsaid = frozenset(self._settings.unsaid)
        said = [[number for number in row if number not in unsaid] for row in ids]
        return [cleaned(str(text), self._settings) for text in self._decode(said)]


def load_tokens(folder: Path) -> Tokens:
    """The tokeniser of an exported folder. Raises `InputError` naming the file that is missing or broken."""
    settings = TokenSettings.read(folder)
    if settings.language:
        return LanguageTokens(folder, settings)
    if (folder / SOURCE).exists():
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
