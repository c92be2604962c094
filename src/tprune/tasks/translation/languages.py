"""Tokenisers that mark languages: those of mBART, M2M100 and NLLB put a token of the language beside each text."""

from __future__ import annotations

from typing import Any


def marks_languages(tokenizer: Any) -> bool:
    """Whether a tokeniser marks languages; those of transformers that do have `tgt_lang`, which may be unset."""
    return hasattr(tokenizer, "tgt_lang")


def written_language(tokenizer: Any) -> str | None:
    """The language of references, as the tokeniser calls it; None where it marks none, or does not know which."""
    found: str | None = getattr(tokenizer, "tgt_lang", None)
    return found


def written_language_token(tokenizer: Any) -> int | None:
    """The token that marks the language of references; None where `written_language` is.

    A model writes this language where its outputs begin with the token: `forced_bos_token_id` of M2M100 and NLLB, or
    the start token of mBART.
    """
    if written_language(tokenizer) is None:
        return None
    marks: list[int] = tokenizer(text_target="").input_ids
    return next((token for token in marks if token != tokenizer.eos_token_id), None)
