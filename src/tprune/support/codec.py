"""How dataclasses become JSON and come back, by the types of their fields.

They are read leniently, or strictly and with named classes.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
PLAIN = {
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
}
NAME = "name"  # the key that says which class an object is of, where its field allows several


@dataclass(frozen=True)
class Codec:
    """How dataclasses become JSON and come back.

    Attributes:
        strict: unknown keys are refused, and so are values that JSON cannot hold; whole numbers in fields of numbers
            become such. If not, unknown keys are ignored, and numbers stay what they are.
        named: classes by name, for fields that are declared as a protocol. Such an object has its name beside its
            fields.
    """

    strict: bool = False
    named: Mapping[type, Mapping[str, type]] = field(default_factory=dict)

    def encode(self, record: object, place: str = "") -> dict[str, Any]:
        """A dataclass as JSON has it; see `tprune.support.records.encoded`.

        Raises `ValueError`, where strict, for what JSON cannot hold.
        """
        hints, found = _hints(cast(type, type(record))) if self.strict else {}, {}
        for each in _given(record):
            value = getattr(record, each.name)
            if value is not None or each.default is not None:
                found[each.name] = self._plain(hints.get(each.name, Any), value, _below(place, each.name))
        return found

    def decode(self, kind: type[Record], data: object, place: str = "") -> Record:
        """The dataclass that `encode` made this data of; see `tprune.support.records.decoded`.

        Raises `ValueError` saying where and what.
        """
        if not isinstance(data, dict):
            raise ValueError(_wrong(data, place, "an object"))
        hints, found = _hints(cast(type, kind)), {}
        known = [each.name for each in _given(kind)]
        if self.strict and (odd := [key for key in data if key not in known]):
            raise ValueError(f"{_below(place, str(odd[0]))} is unknown; expected {', '.join(known) or 'nothing'}")
        for each in _given(kind):
            where = _below(place, each.name)
            if each.name in data:
                found[each.name] = self._typed(hints[each.name], data[each.name], where)
            elif not _has_default(each):
                if NoneType not in get_args(hints[each.name]):
                    raise ValueError(f"{where} is missing")
                found[each.name] = None
        if not self.strict:
            return kind(**found)
        try:
            return kind(**found)
        except ValueError as error:  # what a class itself refuses, with the place
            raise ValueError(f"{place}: {error}" if place else str(error)) from None

    def fault(self, kind: type, place: str = "") -> str | None:
        """Which field of a dataclass, or of those inside, has a type that cannot go to JSON and back.

        None where all can.

        Example:
            >>> @dataclass
            ... class Odd:
            ...     weights: set[int]
            >>> Codec().fault(Odd)
            'weights is set[int]'
        """
        found = (self._fault_of(_hints(kind)[each.name], _below(place, each.name)) for each in _given(kind))
        return next((wrong for wrong in found if wrong), None)

    def _fault_of(self, kind: Any, place: str) -> str | None:
        inner = [each for each in get_args(kind) if each not in (NoneType, Ellipsis)]
        origin = get_origin(kind)
        if origin is Literal or kind in PLAIN or kind in self.named or _is_enum(kind):
            return None
        if is_dataclass(kind):
            return self.fault(cast(type, kind), place)
        if origin in (Union, UnionType, tuple, Mapping) and (origin is not Mapping or inner[0] is str):
            return next((wrong for each in inner if (wrong := self._fault_of(each, place))), None)
        return f"{place} is {kind if origin else getattr(kind, '__name__', kind)}"

    def _plain(self, kind: Any, value: Any, place: str) -> Any:
        if is_dataclass(value):
            choices, data = self._choices(kind), self.encode(value, place)
            return data if choices is None else {NAME: _name_in(choices, value, place), **data}
        if isinstance(value, Mapping):
            (_, inner) = get_args(_without_none(kind)) or (str, Any)
            return {key: self._plain(inner, each, _below(place, key)) for key, each in value.items()}
        if isinstance(value, tuple):
            kinds = _repeated(get_args(_without_none(kind)) or (Any, ...), len(value))
            return [self._plain(k, each, f"{place}[{i}]") for i, (k, each) in enumerate(zip(kinds, value, strict=True))]
        if self.strict and isinstance(value, float) and not math.isfinite(value):
            raise ValueError(_wrong(value, place, "a finite number"))
        return value.value if isinstance(value, Enum) else value

    def _choices(self, kind: Any) -> Mapping[str, type] | None:
        """The classes by name that an object in a field of this type may have; None where there is one only."""
        bare = _without_none(kind)
        if bare in self.named:
            return self.named[bare]
        classes = [each for each in get_args(bare) if is_dataclass(each)] if _is_union(bare) else []
        return {cast(type, each).__name__: cast(type, each) for each in classes} if len(classes) > 1 else None

    def _typed(self, kind: Any, value: Any, place: str) -> Any:
        """The value as this type has it. Raises `ValueError` where it is of another."""
        if _is_union(kind) and value is None and NoneType in get_args(kind):
            return None
        kind = _without_none(kind)
        origin, inner = get_origin(kind), get_args(kind)
        if (choices := self._choices(kind)) is not None and (isinstance(value, dict) or not _is_union(kind)):
            return self._one_of(choices, value, place)
        if _is_union(kind):
            return self._first(inner, value, place)
        if is_dataclass(kind):
            return self.decode(cast(type, kind), value, place)
        if origin is Mapping:
            if not isinstance(value, dict):
                raise ValueError(_wrong(value, place, "an object"))
            return {key: self._typed(inner[1], each, f"{place}.{key}") for key, each in value.items()}
        if origin is tuple:
            return self._items(inner, value, place)
        found = _simple(kind, value, place)
        return _finite(found, place) if self.strict and kind is float else found

    def _one_of(self, choices: Mapping[str, type], value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise ValueError(_wrong(value, place, "an object"))
        rest = dict(value)
        name = rest.pop(NAME, None)
        if not isinstance(name, str) or name not in choices:
            raise ValueError(_wrong(name, _below(place, NAME), f"one of {', '.join(sorted(choices))}"))
        return self.decode(choices[name], rest, place)

    def _first(self, kinds: Sequence[Any], value: Any, place: str) -> Any:
        """The value as the first of these types that it is of."""
        for kind in kinds:
            if is_dataclass(kind) and isinstance(value, dict):
                return self.decode(cast(type, kind), value, place)
            try:
                return self._typed(kind, value, place)
            except ValueError:
                continue
        raise ValueError(_wrong(value, place, " or ".join(map(_expected, kinds))))

    def _items(self, kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
        open_ended = kinds[-1:] == (Ellipsis,)
        if not isinstance(value, list) or not (open_ended or len(value) == len(kinds)):
            raise ValueError(_wrong(value, place, "a list" if open_ended else f"a list of {len(kinds)}"))
        each = _repeated(kinds, len(value))
        return tuple(
            self._typed(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(each, value, strict=True))
        )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _given(kind: object) -> list[Field[Any]]:
    """The fields that a class is made with; others it works out."""
    return [each for each in fields(cast(Any, kind)) if each.init]


def _has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _without_none(kind: Any) -> Any:
    """The type of what an optional field holds where it holds something."""
    others = tuple(each for each in get_args(kind) if each is not NoneType) if _is_union(kind) else (kind,)
    return Union[others] if others else kind  # noqa: UP007 - made at run time


def _repeated(kinds: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return kinds[:1] * count if kinds[-1:] == (Ellipsis,) else kinds


def _name_in(choices: Mapping[str, type], value: object, place: str) -> str:
    for name in choices:
        if choices[name] is type(value):
            return name
    raise ValueError(f"{place} is a {type(value).__name__}, which has no name; expected one of {', '.join(choices)}")


def _simple(kind: Any, value: Any, place: str) -> Any:
    if get_origin(kind) is Literal or _is_enum(kind):
        allowed = get_args(kind) or [each.value for each in kind]
        if not any(value == each and type(value) is type(each) for each in allowed):
            raise ValueError(_wrong(value, place, _expected(kind)))
        return kind(value) if _is_enum(kind) else value
    types, expected = PLAIN[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(_wrong(value, place, expected))
    return value


def _finite(value: float, place: str) -> float:
    try:
        found = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(_wrong(value, place, "a finite number"))
    return found


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal or _is_enum(kind):
        return "one of " + ", ".join(str(each) for each in get_args(kind) or [each.value for each in kind])
    if kind in PLAIN:
        return PLAIN[kind][1]
    return "a list" if get_origin(kind) is tuple else "an object"


def _wrong(value: object, place: str, expected: str) -> str:
    return f"{place or 'all of it'} is {reprlib.repr(value)}; expected {expected}"
