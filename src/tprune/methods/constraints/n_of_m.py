"""N:M sparsity: of every M in a row, at most N are not zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tprune.core.coupling import Groups
from tprune.core.selection import number_of, per_block
from tprune.support.errors import InputError


@dataclass(frozen=True)
class NOfM:
    """Of every `m` consecutive groups along an axis at most `n` are not zero: those with the largest norms stay.

    On single weights, `o i -> o i`, and along `i` it is the N:M sparsity of a linear map, which hardware multiplies
    along. On groups of them, such as `(O o) i -> O i`, it is that of vectors. A last block that is shorter than m
    keeps n at most. The projection is the nearest point, as long as no element lies in two groups.

    Args:
        n: how many stay, 0 to `m`.
        m: of how many.
        axis: of the groups, by number or by its name in the pattern.

    Raises:
        InputError: not 0 ≤ n ≤ m with m ≥ 1; when used, there is no such axis.

    Example:
        >>> from tprune.core.coupling import Coupling, groups_of, producer
        >>> weights = Coupling("weights", (producer("w", "o i -> o i"),))
        >>> w = torch.tensor([[4.0, -3.0, 2.0, 1.0, 0.1, 0.2, 0.3, -0.4]])
        >>> NOfM(2, 4, axis="i").project(groups_of(weights, {"w": w}))["w"]
        tensor([[ 4.0000, -3.0000,  0.0000,  0.0000,  0.0000,  0.0000,  0.3000, -0.4000]])

    References:
        Mishra et al., Accelerating sparse deep neural networks, 2021; Zhou et al., Learning N:M fine-grained
        structured sparse neural networks from scratch, 2021.
    """

    n: int
    m: int
    axis: int | str = -1
    nearest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.m < 1 or not 0 <= self.n <= self.m:
            raise InputError(f"n is {self.n} and m is {self.m}; expected 0 ≤ n ≤ m with m at least 1")

    def keep(self, groups: Groups) -> Tensor:
        """Which groups stay: a bool for each."""
        return per_block(groups.norms.detach(), self.n, self.m, self.axis, groups.names)

    def contains(self, groups: Groups) -> bool:
        """Whether no block has more than n groups with a member that is not zero, biases included."""
        axis = number_of(self.axis, len(groups.shape), groups.names)
        blocks = torch.split(groups.filled, self.m, dim=axis)
        return all(bool((block.sum(axis) <= self.n).all()) for block in blocks)

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        """The members with all other groups at zero, biases included."""
        return groups.scaled(self.keep(groups))
