"""How a model decodes, as an exported folder says it, and which values of that are possible."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

STEEPEST = 50.0  # of length penalties: lengths to a higher power are no floating-point numbers any more
STRONGEST = 1e6  # of repetition penalties


@dataclass(frozen=True)
class Generation:
    """How the model decodes: the values transformers' `generate` would use, defaults filled in, under its names."""

    decoder_start_token_id: int
    eos_token_id: tuple[int, ...]
    pad_token_id: int
    max_length: int  # tokens with the start token and the prefix
    num_beams: int = 1
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    renormalize_logits: bool = False
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    prefix: tuple[int, ...] = ()  # that every output begins with, after the start token: the language of a transcript
    begin_suppress_tokens: tuple[int, ...] = ()  # that no output begins with, after the prefix

    @cached_property
    def begun(self) -> tuple[int, ...]:
        """What every output begins with: the start token and the prefix; none of it is searched for."""
        return (self.decoder_start_token_id, *self.prefix)

    @cached_property
    def never(self) -> NDArray[np.int64]:
        """The tokens that are forbidden everywhere."""
        return np.array([word[0] for word in self.bad_words_ids if len(word) == 1], np.int64)

    @cached_property
    def phrases(self) -> tuple[tuple[int, ...], ...]:
        """The forbidden words of several tokens."""
        return tuple(word for word in self.bad_words_ids if len(word) > 1)

    def cut(self, tokens: Sequence[int]) -> bool:
        """Whether an output ends because `max_length` is reached: its last token is no end token, or a forced one.

        Example:
            >>> g = Generation(0, (1,), 0, max_length=4)
            >>> g.cut([5, 6, 7]), g.cut([5, 6, 1]), g.cut([5, 1])
            (True, False, False)
        """
        full = len(tokens) >= self.max_length - len(self.begun)
        return full and (bool(self.forced_eos_token_id) or not tokens or tokens[-1] not in self.eos_token_id)


def fault(g: Generation, vocabulary: int, positions: int) -> str | None:
    """The first value that decoding cannot use, as "name is value; expected ..."; None where all are possible.

    Args:
        g: the values, of whatever types a file holds.
        vocabulary: how many tokens there are.
        positions: how many tokens the decoder has positions for.

    Example:
        >>> fault(Generation(0, (1,), 0, max_length=10**6), vocabulary=20, positions=8)
        'max_length is 1000000; expected a whole number of 2 to 9'
    """
    token = f"a token of 0 to {vocabulary - 1}"
    expected: list[tuple[str, bool, str]] = [
        ("decoder_start_token_id", _token(g.decoder_start_token_id, vocabulary), token),
        ("pad_token_id", _token(g.pad_token_id, vocabulary), token),
        ("eos_token_id", _tokens(g.eos_token_id, vocabulary) and len(g.eos_token_id) > 0, f"a list, each {token}"),
        ("forced_eos_token_id", _tokens(g.forced_eos_token_id, vocabulary), f"a list, each {token}"),
        (
            "forced_bos_token_id",
            g.forced_bos_token_id is None or _token(g.forced_bos_token_id, vocabulary),
            f"none, or {token}",
        ),
        (
            "bad_words_ids",
            isinstance(g.bad_words_ids, tuple) and all(_tokens(w, vocabulary) and w for w in g.bad_words_ids),
            f"lists that are not empty, of {token} each",
        ),
        ("prefix", _tokens(g.prefix, vocabulary), f"a list, each {token}"),
        ("begin_suppress_tokens", _tokens(g.begin_suppress_tokens, vocabulary), f"a list, each {token}"),
        ("max_length", *_length(g, positions + 1)),
        ("min_length", _whole(g.min_length, 0), "a whole number, at least 0"),
        ("num_beams", _whole(g.num_beams, 1, vocabulary), f"a whole number of 1 to {vocabulary}"),
        ("no_repeat_ngram_size", _whole(g.no_repeat_ngram_size, 0), "a whole number, at least 0"),
        (
            "length_penalty",
            _number(g.length_penalty, -STEEPEST, STEEPEST),
            f"a number of {-STEEPEST:g} to {STEEPEST:g}",
        ),
        (
            "repetition_penalty",
            _number(g.repetition_penalty, 0, STRONGEST) and g.repetition_penalty > 0,
            f"a number above 0, at most {STRONGEST:,.0f}",
        ),
        ("early_stopping", type(g.early_stopping) is bool or g.early_stopping == "never", "true, false or 'never'"),
        ("renormalize_logits", type(g.renormalize_logits) is bool, "true or false"),
    ]
    return next(
        (f"{name} is {reprlib.repr(getattr(g, name))}; expected {what}" for name, right, what in expected if not right),
        None,
    )


def _length(g: Generation, most: int) -> tuple[bool, str]:
    """Whether outputs have room for a token after what they begin with, and how long they may be."""
    least = 2 + (len(g.prefix) if isinstance(g.prefix, tuple) else 0)
    return _whole(g.max_length, least, most), f"a whole number of {least} to {most}"


def plain(g: Generation) -> dict[str, Any]:
    """Plain data; what only models have that hear recordings is left out where there is none of it."""
    found = asdict(g)
    return {name: value for name, value in found.items() if value or name not in ("prefix", "begin_suppress_tokens")}


def _whole(value: Any, least: int, most: int | None = None) -> bool:
    return type(value) is int and least <= value and (most is None or value <= most)


def _number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and least <= value <= most


def _token(value: Any, vocabulary: int) -> bool:
    return _whole(value, 0, vocabulary - 1)


def _tokens(value: Any, vocabulary: int) -> bool:
    return isinstance(value, tuple) and all(_token(one, vocabulary) for one in value)
