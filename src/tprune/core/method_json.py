"""Methods, and the constraints and methods inside them, as plans hold them: a name and fields, all the way down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

from tprune.core.constraint import Constraint
from tprune.core.known_constraints import CONSTRAINTS
from tprune.core.known_methods import METHODS
from tprune.core.method import Method
from tprune.support.codec import NAME, Codec
from tprune.support.errors import InputError

FIELDS = Codec(strict=True, named={Method: METHODS, Constraint: CONSTRAINTS})
HOLDS = (
    "text, numbers, true or false, None, enums, tuples, mappings from text, frozen dataclasses, Method and Constraint"
)


def name_of(method: Method) -> str:
    """The name that a method has in plans. Raises `InputError` naming the known ones."""
    name = METHODS.name_of(type(method))
    if name is None:
        raise InputError(
            f"method {method!r} has no name in plans; known are {', '.join(METHODS)}, others by METHODS.enter"
        )
    return name


def to_json(method: Method, place: str = "method") -> dict[str, object]:
    """A method's name and fields.

    Raises:
        InputError: it has no name, or a field that would not come back as it is.

    Example:
        >>> from tprune.methods.gradual_magnitude import GradualMagnitude
        >>> to_json(GradualMagnitude(share=0.75, every=10))
        {'name': 'gradual_magnitude', 'share': 0.75, 'initial': 0.0, 'begin': 0, 'over': 1000, 'every': 10}
    """
    name = name_of(method)
    try:
        found = FIELDS.encode(method, place)
        if FIELDS.decode(type(method), found, place) != method:
            raise ValueError(f"{place} {name} comes back from JSON as another; expected fields of {HOLDS}")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{place} {name} cannot be written: {error}") from None
    return {NAME: name, **found}


def from_json(data: object, place: str = "method") -> Method:
    """What `to_json` gave. Raises `InputError` naming the field, or the known methods."""
    if not isinstance(data, Mapping) or not isinstance(data.get(NAME), str):
        raise InputError(f"{place} has no name; expected one of {', '.join(METHODS)}, and its fields")
    if data[NAME] not in METHODS:
        raise InputError(f"unknown method {data[NAME]!r}; known are {', '.join(METHODS)}")
    return made(data[NAME], {key: value for key, value in data.items() if key != NAME}, place)


def made(name: str, options: Mapping[str, Any], place: str = "method") -> Method:
    """The method of a name with some of its fields; the others are as the class has them.

    Raises:
        InputError: no such method, no such field, or one of another type or out of range; says where.

    Example:
        >>> made("gradual_magnitude", {"share": 0.75}).share
        0.75
    """
    try:
        return FIELDS.decode(METHODS.named(name), dict(options), place)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None


def fault(kind: object, members: Sequence[str]) -> str | None:
    """What keeps a class from being a method or a constraint of plans; None where nothing does.

    Args:
        kind: what was entered.
        members: that it has to have.
    """
    if not isinstance(kind, type):
        return f"it is a {type(kind).__name__}; expected the class, not one of its objects"
    where = kind.__qualname__
    if missing := [name for name in members if not hasattr(kind, name)]:
        return f"{where} has no {' and no '.join(missing)}"
    if not is_dataclass(kind) or not cast(Any, kind).__dataclass_params__.frozen:
        return f"{where} is no frozen dataclass; expected @dataclass(frozen=True), so that a plan cannot change"
    if NAME in {each.name for each in fields(kind)}:
        return f"{where} has a field {NAME!r}, which is what plans call methods by"
    try:
        wrong = FIELDS.fault(kind)
    except NameError as error:
        return f"the types of {where}'s fields cannot be found ({error})"
    return f"{where}: {wrong}; expected {HOLDS}" if wrong else None
