"""The sets of a data set: what is trained on, what is chosen by, and what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Generic

from tprune.core.data import D, Data
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Splits(Generic[D]):
    """A training, a validation and one or more test sets, of one kind of data.

    Raises:
        InputError: one of them is no data.
    """

    train: D
    valid: D
    tests: Mapping[str, D]

    def __post_init__(self) -> None:
        for name, given in (("train", self.train), ("valid", self.valid), *self.tests.items()):
            self.check(given, name)

    @staticmethod
    def check(given: object, name: str) -> None:
        """Raises `InputError` where an argument is no data."""
        if not isinstance(given, Data):
            raise InputError(f"{name}: {type(given).__name__}; expected data, as a task reads it")

    def pooled_test(self) -> D:
        """All test sets, one after the other, in the order they were given."""
        sets: list[Any] = list(self.tests.values())
        pooled: D = reduce(add, sets)
        return pooled

    def digests(self) -> dict[str, str]:
        """Hashes of the three sets, by which a run knows its data."""
        return {"train": self.train.digest(), "valid": self.valid.digest(), "test": self.pooled_test().digest()}
