"""The protocol of methods, which drive groups to zero; they are composed as optimisers are in optax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from tprune.core.coupling import Groups

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Update:
    """What a method asks of one coupling at one step.

    Attributes:
        value: the penalty R, a scalar.
        slope: ∂R/∂n_g, one value per group. Its effect on a weight of group g is `slope_g · w / n_g` (0 where n_g is 0).
    """

    value: Tensor
    slope: Tensor


@runtime_checkable
class Method(Protocol):
    """Drives the groups of a coupling to zero. State is plain tensors and travels in checkpoints."""

    def init(self, groups: Groups) -> State:
        """The state before the first step."""
        ...

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """The penalty and its slopes at this step, and the state for the next."""
        ...
