"""The protocol of methods, which drive groups to zero; they are composed as optimisers are in optax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tprune.core.coupling import Groups
from tprune.support.errors import InputError

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Update:
    """What a method asks of one coupling at one step.

    Attributes:
        value: the penalty R, a scalar.
        slope: ∂R/∂n_g, one value per group. Its effect on a weight of group g is `slope_g · w / n_g` (0 where n_g is
            0).
        pull: a gradient for every member tensor, by name and shaped like the whole tensor, for what no slope can say
            (a distance to a target, orthogonality). It is added to the effect of the slopes, with the entry's
            strength.
        keep: a bool per group. After the optimiser's step the members of all other groups are exactly zero, and so is
            what the optimiser remembers of them. No strength scales it.
    """

    value: Tensor
    slope: Tensor
    pull: Mapping[str, Tensor] | None = None
    keep: Tensor | None = None

    def check(self, groups: Groups) -> None:
        """Compares all shapes with those of the coupling that was updated.

        Raises:
            InputError: one differs; the message names coupling and tensor, what is expected and what was found.
        """
        where = f"coupling {groups.coupling.name}"
        for what, given in (("slope", self.slope), ("keep", self.keep)):
            if given is not None and tuple(given.shape) != groups.shape:
                raise InputError(
                    f"{where}: {what} has shape {tuple(given.shape)}; expected {groups.shape}, one value per group"
                )
        if self.keep is not None and self.keep.dtype is not torch.bool:
            raise InputError(f"{where}: keep holds {self.keep.dtype}; expected torch.bool")
        if self.pull is None:
            return
        if odd := set(self.pull) ^ set(groups.tensors):
            name = sorted(odd)[0]
            said = f"there is no pull for {name}" if name in groups.tensors else f"{name} is pulled, but is no member"
            raise InputError(f"{where}: {said}; expected {', '.join(groups.tensors)}")
        for name, tensor in groups.tensors.items():
            if self.pull[name].shape != tensor.shape:
                raise InputError(
                    f"{where}: the pull on {name} has shape {tuple(self.pull[name].shape)}; "
                    f"expected {tuple(tensor.shape)}, as the tensor has"
                )


@runtime_checkable
class Method(Protocol):
    """Drives the groups of a coupling to zero. State is plain tensors and travels in checkpoints."""

    def init(self, groups: Groups) -> State:
        """The state before the first step."""
        ...

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """What is asked at this step (penalty, slopes; pull and keep mask where it has them), and the next state."""
        ...
