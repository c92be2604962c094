"""Dataclasses to JSON and back, by the types of their fields; what is wrong with a file is named by its place in it."""

from __future__ import annotations

from typing import Any, TypeVar

from tprune.support.codec import Codec

Record = TypeVar("Record")
LENIENT = Codec()


def encoded(record: object) -> dict[str, Any]:
    """A dataclass as JSON has it, keys in the order of its fields.

    A field that is None by default is left out where it is None.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Score:
        ...     bleu: float
        ...     system: str | None = None
        >>> encoded(Score(30.0)), encoded(Score(30.0, "a"))
        ({'bleu': 30.0}, {'bleu': 30.0, 'system': 'a'})
    """
    return LENIENT.encode(record)


def decoded(kind: type[Record], data: object, place: str = "") -> Record:
    """The dataclass that `encoded` made this data of. Unknown keys are ignored; numbers stay what they are in the file.

    Args:
        kind: a dataclass whose fields are text, numbers, None, tuples, mappings from text, and such dataclasses.
        data: what JSON holds of it; a field that may be None, or has a default, may be missing.
        place: where in the file, for messages.

    Raises:
        ValueError: something is missing, or of another type; says where and what.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Score:
        ...     bleu: float
        >>> decoded(Score, {"bleu": "good"}, "dense")
        Traceback (most recent call last):
        ValueError: dense.bleu is 'good'; expected a number
    """
    return LENIENT.decode(kind, data, place)
