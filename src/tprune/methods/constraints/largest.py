"""The largest groups: all but the k with the largest norms are zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tprune.core.coupling import Groups
from tprune.core.selection import number_of, per_axis, top_k
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Largest:
    """At most k groups are not zero: `argmin_v ‖v − w‖` keeps those with the largest norms, of equal ones the first.

    Groups of any pattern; the projection is the nearest point, as long as no element lies in two groups.

    Args:
        k: how many groups.
        share: their share instead, rounded to the nearest number of groups; give one of the two.
        axis: count along this axis of the groups, by number or by its name in the pattern, for every index of the
            others (dimensions inside each head); None counts over all groups.

    Raises:
        InputError: not one of `k` and `share`, or out of range; when used, there are fewer groups or no such axis.

    Example:
        >>> import torch
        >>> from tprune.core.coupling import Coupling, groups_of, producer
        >>> rows = Coupling("rows", (producer("w", "o i -> o"),))
        >>> Largest(k=1).project(groups_of(rows, {"w": torch.tensor([[1.0, 1.0], [3.0, 0.0]])}))["w"]
        tensor([[0., 0.],
                [3., 0.]])

    References:
        Blumensath and Davies, Iterative thresholding for sparse approximations, 2008; on groups, Zhang et al., A
        systematic DNN weight pruning framework using alternating direction method of multipliers, 2018.
    """

    k: int | None = None
    share: float | None = None
    axis: int | str | None = None
    nearest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.k is None) == (self.share is None):
            raise InputError(f"k is {self.k} and share is {self.share}; expected one of the two")
        if (self.k is not None and self.k < 0) or (self.share is not None and not 0 <= self.share <= 1):
            raise InputError(f"k is {self.k} and share is {self.share}; expected k ≥ 0, or a share from 0 to 1")

    def keep(self, groups: Groups) -> Tensor:
        """Which groups stay: a bool for each."""
        norms, k = groups.norms.detach(), self._count(groups)
        if self.axis is None:
            return top_k(norms, k)
        return per_axis(norms, k, self.axis, groups.names)

    def contains(self, groups: Groups) -> bool:
        """Whether no more groups than k have a member that is not zero, biases included."""
        filled = groups.filled
        counts = filled.sum() if self.axis is None else filled.sum(self._axis(groups))
        return bool((counts <= self._count(groups)).all())

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        """The members with all other groups at zero, biases included."""
        return groups.scaled(self.keep(groups))

    def _count(self, groups: Groups) -> int:
        total = math.prod(groups.shape) if self.axis is None else groups.shape[self._axis(groups)]
        return self.k if self.k is not None else round((self.share or 0.0) * total)

    def _axis(self, groups: Groups) -> int:
        return number_of(-1 if self.axis is None else self.axis, len(groups.shape), groups.names)
