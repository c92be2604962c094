"""What every transcript of a model begins with, before anything is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tprune.support.errors import InputError


def begun_with(model: Any, tokenizer: Any = None) -> list[int]:
    """The tokens that every transcript begins with: the start token, and such as say language and task.

    Args:
        model: that hears recordings, dense or pruned.
        tokenizer: its own, which says what transcripts begin with; `generation_config.forced_decoder_ids` does where
            it does not, or there is none.

    Raises:
        InputError: time stamps are asked for, the tokeniser begins otherwise than the model, or nothing says which
            language a model of several is to write.
    """
    config, name = model.generation_config, type(model).__name__
    if getattr(tokenizer, "predict_timestamps", False):
        raise InputError(
            f"{name}: its tokeniser has predict_timestamps; transcripts with time stamps are not made here"
        )
    start = config.decoder_start_token_id
    start = model.config.decoder_start_token_id if start is None else start
    known = list(getattr(tokenizer, "prefix_tokens", None) or ())
    if known and known[0] != start:
        raise InputError(
            f"{name}: its tokeniser begins transcripts with token {known[0]}, and decoder_start_token_id is {start}; "
            "expected the same"
        )
    found = [int(token) for token in known] or [int(start), *_forced(config, name)]
    languages = set((getattr(config, "lang_to_id", None) or {}).values())
    if getattr(config, "is_multilingual", False) and not languages.intersection(found):
        raise InputError(
            f"{name}: nothing says in which language it is to write, and that is not detected here; load its tokeniser "
            "with language=..., save it beside the model, and try again"
        )
    return found


def _forced(config: Any, name: str) -> list[int]:
    """The tokens of `forced_decoder_ids`, pairs of a place and a token from place 1 on."""
    given: Sequence[Any] = getattr(config, "forced_decoder_ids", None) or ()
    places = [place for place, _ in given]
    if places != list(range(1, len(given) + 1)) or any(token is None for _, token in given):
        raise InputError(
            f"{name}: generation_config.forced_decoder_ids is {given!r}; expected pairs of a place and a token, from "
            "place 1 on, without gaps"
        )
    return [int(token) for _, token in given]
