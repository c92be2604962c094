"""Views: structures on tensors of a model, each with what it does for its groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from torch import Tensor

from tprune.core.structure import Shape, Structure
from tprune.support.errors import InputError


class Role(StrEnum):
    """What a view does for its group: make the values, read them, or shift them (cut, but not counted in the norm)."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    BIAS = "bias"


@dataclass(frozen=True)
class View:
    """A structure on one named tensor of the model, or on the rows `part` of it (fused projections).

    Attributes:
        param: the name of the tensor.
        structure: how the tensor, or its part, falls into groups.
        role: what it does with the values of a group.
        part: the rows that are viewed, `slice(start, stop)`; all if None.

    Raises:
        InputError: a part that is no range of rows.
    """

    param: str
    structure: Structure
    role: Role
    part: slice | None = field(default=None, hash=False)  # slices cannot be hashed before Python 3.12

    def __post_init__(self) -> None:
        if self.part is not None:
            start, stop = self.part.start or 0, self.part.stop
            if stop is None or not 0 <= start < stop or self.part.step not in (None, 1):
                raise InputError(
                    f"view of {self.param}: a part is slice(start, stop) with 0 ≤ start < stop, got {self.part}"
                )
            object.__setattr__(self, "part", slice(start, stop))

    def of(self, tensor: Tensor) -> Tensor:
        """The viewed rows of the tensor."""
        return tensor if self.part is None else tensor[self.part]

    def shape(self, tensor: Tensor) -> Shape:
        """The shape of the viewed rows; nothing of the tensor is touched."""
        shape = tuple(tensor.shape)
        return shape if self.part is None else (len(range(*self.part.indices(shape[0]))), *shape[1:])

    @property
    def rows(self) -> tuple[int, int] | None:
        """The viewed rows as a pair, or None for all."""
        return None if self.part is None else (self.part.start or 0, self.part.stop)


def producer(param: str, pattern: str, part: slice | None = None, **sizes: int) -> View:
    """A view that makes the group's values.

    Args:
        param: the name of the tensor.
        pattern: see `Structure`.
        part: the rows that are viewed; all if None.
        sizes: of factors in the pattern, by name.

    Example:
        >>> producer("k_proj.weight", "(h d) i -> h", h=8).role
        <Role.PRODUCER: 'producer'>
    """
    return View(param, Structure(pattern, sizes), Role.PRODUCER, part)


def consumer(param: str, pattern: str, part: slice | None = None, **sizes: int) -> View:
    """A view that reads the group's values.

    Args:
        param: the name of the tensor.
        pattern: see `Structure`.
        part: the rows that are viewed; all if None.
        sizes: of factors in the pattern, by name.
    """
    return View(param, Structure(pattern, sizes), Role.CONSUMER, part)


def bias(param: str, pattern: str, part: slice | None = None, **sizes: int) -> View:
    """A view that shifts or rescales the group's values: cut with it, not counted in its norm.

    Args:
        param: the name of the tensor.
        pattern: see `Structure`.
        part: the rows that are viewed; all if None.
        sizes: of factors in the pattern, by name.
    """
    return View(param, Structure(pattern, sizes), Role.BIAS, part)
