"""What is given as text: lists of strings that tokenisers can read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tprune_runtime.errors import InputError

HALF = re.compile("[\ud800-\udfff]")  # of a pair of UTF-16: no character, and no tokeniser reads it


def check_texts(texts: Sequence[str], name: str = "texts") -> None:
    """Raises `InputError` where a string is given instead of a list of them, or a text is none.

    Args:
        texts: what was given.
        name: what the message calls them.

    Example:
        >>> check_texts(["Two dogs."])
    """
    if isinstance(texts, str | bytes):
        raise InputError(f"{name}: one string was given; expected a list of strings")
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise InputError(f"{name}: number {number} is a {type(text).__name__}; expected a string")
        if HALF.search(text):
            raise InputError(f"{name}: number {number} has half of a pair of UTF-16; expected whole characters")
