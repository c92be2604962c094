"""The protocol of constraints: sets that the members of a coupling are to lie in, such as those with few groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from tprune.core.coupling import Groups


@runtime_checkable
class Constraint(Protocol):
    """A set of members of a coupling, and the way into it. Both functions leave the given tensors as they are."""

    @property
    def nearest(self) -> bool:
        """Whether `project` gives the nearest point of the set, by the l2 distance over the elements that norms count.

        Biases are not counted: they follow their groups. If False, `project` is only idempotent.
        """
        ...

    def contains(self, groups: Groups) -> bool:
        """Whether the members lie in the set."""
        ...

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        """The members after the projection onto the set: new tensors, by name, shaped as they were."""
        ...
