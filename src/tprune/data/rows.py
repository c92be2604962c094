"""What all sets of raw items share: they are named, can be thinned out, and have a digest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, ClassVar, Self

from tprune.core.data import sampled, spread
from tprune.support.errors import InputError
from tprune.support.texts import not_a_list

SHORT = 12  # characters of a digest


class Rows:
    """Items that are the rows of some columns, which are fields of a frozen dataclass.

    A subclass names these fields in `COLUMNS`; it also has a `name`, and `places`, where its items were read.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ()
    name: str
    places: tuple[str, ...]

    def __post_init__(self) -> None:
        first, *others = self.columns
        for column, other in zip(self.COLUMNS[1:], others, strict=True):
            if len(other) != len(first):
                raise InputError(
                    f"{self.name}: {len(first)} {self.COLUMNS[0]} and {len(other)} {column}; expected equally many"
                )
        if not first:
            raise InputError(f"{self.name}: no {self.COLUMNS[0]}; expected at least one")

    @property
    def columns(self) -> tuple[tuple[Any, ...], ...]:
        """The values of all columns."""
        return tuple(getattr(self, column) for column in self.COLUMNS)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Any:
        return tuple(column[index] for column in self.columns)

    def place(self, index: int) -> str:
        """Where an item was read, for messages; by its number where that is not known."""
        return self.places[index] if self.places else f"{self.name}: item {index + 1}"

    def picked(self, places: Sequence[int]) -> Self:
        """The items at these places, in this order; they keep where they were read."""
        if list(places) == list(range(len(self))):
            return self
        values: dict[str, Any] = {
            name: tuple(column[i] for i in places) for name, column in zip(self.COLUMNS, self.columns, strict=True)
        }
        where = tuple(self.place(i) for i in places)
        return dataclasses.replace(self, **values, places=where)  # type: ignore[type-var]  # a dataclass below

    def head(self, n: int) -> Self:
        """The first `n` items."""
        return self.picked(range(min(n, len(self))))

    def sample(self, n: int, seed: int = 0) -> Self:
        """`n` items drawn at random without replacement, in the order of the set; all of them where there are no more.

        Files are often sorted, by length or by class: their first lines are no sample of the rest.
        """
        return self.picked(sampled(len(self), n, seed))

    def spread(self, n: int) -> Self:
        """At most `n` items, evenly spaced over the set."""
        return self.picked(spread(len(self), n))

    def digest(self) -> str:
        """A hash of the columns, the same in every process."""
        return sha256(repr(self.columns).encode("utf-8", "surrogatepass")).hexdigest()[:SHORT]

    def __add__(self, other: Self) -> Self:
        values: dict[str, Any] = {
            name: mine + theirs for name, mine, theirs in zip(self.COLUMNS, self.columns, other.columns, strict=True)
        }
        where = tuple(each.place(i) for each in (self, other) for i in range(len(each)))
        name = f"{self.name}+{other.name}"
        return dataclasses.replace(self, **values, places=where, name=name)  # type: ignore[type-var]  # a dataclass below


def check_texts(given: object, name: str) -> None:
    """Raises `InputError` where an argument is no list of texts."""
    if slip := not_a_list(given):
        raise InputError(f"{name}: {slip}")
