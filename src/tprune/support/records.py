"""Dataclasses to JSON and back, by the types of their fields; what is wrong with a file is named by its place in it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
PLAIN = {
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
}


def encoded(record: object) -> dict[str, Any]:
    """A dataclass as JSON has it, keys in the order of its fields. A field that is None by default is left out where it is None.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Score:
        ...     bleu: float
        ...     system: str | None = None
        >>> encoded(Score(30.0)), encoded(Score(30.0, "a"))
        ({'bleu': 30.0}, {'bleu': 30.0, 'system': 'a'})
    """
    found = {}
    for each in fields(cast(Any, record)):
        value = getattr(record, each.name)
        if value is not None or each.default is not None:
            found[each.name] = _plain(value)
    return found


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
    if not isinstance(data, dict):
        raise ValueError(_wrong(data, place, "an object"))
    hints = _hints(cast(type, kind))
    found = {}
    for each in fields(cast(Any, kind)):
        where = f"{place}.{each.name}" if place else each.name
        if each.name in data:
            found[each.name] = _typed(hints[each.name], data[each.name], where)
        elif not _has_default(each):
            if NoneType not in get_args(hints[each.name]):
                raise ValueError(f"{where} is missing")
            found[each.name] = None
    return kind(**found)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return encoded(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _typed(kind: Any, value: Any, place: str) -> Any:
    """The value as this type has it. Raises `ValueError` where it is of another."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (each for each in inner if each is not NoneType)
        return None if value is None else _typed(other, value, place)
    if is_dataclass(kind):
        return decoded(cast(type, kind), value, place)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ValueError(_wrong(value, place, "an object"))
        return {key: _typed(inner[1], each, f"{place}.{key}") for key, each in value.items()}
    if origin is tuple:
        return _items(inner, value, place)
    types, expected = PLAIN[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(_wrong(value, place, expected))
    return value


def _items(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    open_ended = kinds[-1] is Ellipsis
    if not isinstance(value, list) or not (open_ended or len(value) == len(kinds)):
        raise ValueError(_wrong(value, place, "a list" if open_ended else f"a list of {len(kinds)}"))
    each = kinds[:1] * len(value) if open_ended else kinds
    return tuple(_typed(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(each, value, strict=True)))


def _wrong(value: object, place: str, expected: str) -> str:
    return f"{place or 'all of it'} is {reprlib.repr(value)}; expected {expected}"
