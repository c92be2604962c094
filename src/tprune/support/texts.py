"""Lists of texts, as callers give them: a string alone would be taken letter by letter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tprune.support.errors import InputError


def check_list(given: Any, name: str) -> None:
    """Whether an argument is a list (or tuple) of texts.

    Args:
        given: the argument.
        name: what it is called.

    Raises:
        InputError: it is a string, or holds something else than strings; says what was given and what was expected.

    Example:
        >>> check_list(["the dog"], "sentences")
    """
    if slip := not_a_list(given):
        raise InputError(f"{name}: {slip}")


def not_a_list(given: Any) -> str | None:
    """What is wrong with what should be a list of strings; None where nothing is.

    Example:
        >>> not_a_list(["ffn"]), not_a_list("ffn")
        (None, "the string 'ffn'; expected a list of strings, such as ['ffn']")
    """
    if isinstance(given, str):
        shown = given if len(given) <= 40 else f"{given[:37]}..."
        return f"the string {shown!r}; expected a list of strings, such as [{shown!r}]"
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable):
        return f"{type(given).__name__}; expected a list of strings"
    if not isinstance(given, (list, tuple)):  # one that is read only once is not looked into
        return None
    wrong = next((i for i, text in enumerate(given) if not isinstance(text, str)), None)
    return None if wrong is None else f"a list with {type(given[wrong]).__name__} at {wrong}; expected strings"
