"""One line of a plan: a coupling, what drives its groups to zero and how strongly, its realisation, what is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from tprune.core.coupling import Coupling
from tprune.core.known_methods import default_method
from tprune.core.known_realisations import REALISATIONS, usual_realisation
from tprune.core.method import Method
from tprune.support.errors import InputError


class Mode(StrEnum):
    """How a penalty reaches the weights: through the gradient, beside the optimiser, or as a proximal step."""

    GRADIENT = "gradient"
    DECOUPLED = "decoupled"
    PROXIMAL = "proximal"


@dataclass(frozen=True)
class Entry:
    """One coupling's line in the plan.

    Attributes:
        coupling: what it is about.
        groups: the shape of the coupling's groups.
        method: what drives them to zero.
        mode: how it reaches the weights.
        strength: λ, at least 0.
        realisation: the name of what they become, in `tprune.core.known_realisations.REALISATIONS`.
        kept: flat indices of the groups that stay, once they are selected.

    Raises:
        InputError: an unknown mode or realisation, kept indices that are no selection, or a strength below 0.
    """

    coupling: Coupling
    groups: tuple[int, ...]
    method: Method = field(default_factory=default_method)
    mode: Mode = Mode.PROXIMAL
    strength: float = 0.0
    realisation: str = usual_realisation(closed=True)
    kept: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        where = f"plan, coupling {self.coupling.name}"
        try:  # its name will do, as in JSON
            object.__setattr__(self, "mode", Mode(self.mode))
        except ValueError:
            raise InputError(f"{where}: mode {self.mode!r}; expected one of {', '.join(Mode)}") from None
        if self.realisation not in REALISATIONS:
            known = ", ".join(sorted(REALISATIONS))
            raise InputError(f"{where}: realisation {self.realisation!r}; expected one of {known}")
        total = math.prod(self.groups)
        if self.kept is not None and (
            list(self.kept) != sorted(set(self.kept)) or any(not 0 <= k < total for k in self.kept)
        ):
            raise InputError(f"{where}: kept indices must be sorted, distinct and within 0..{total - 1}")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InputError(f"{where}: strength must be a number ≥ 0, got {self.strength}")

    @property
    def keep(self) -> Tensor:
        """The keep mask, shaped as the groups. Everything is kept before selection."""
        mask = torch.ones(math.prod(self.groups), dtype=torch.bool)
        if self.kept is not None:
            mask[:] = False
            mask[list(self.kept)] = True
        return mask.reshape(self.groups)


def kept_of(keep: Tensor) -> tuple[int, ...]:
    """A keep mask as an entry holds it: the flat indices of the groups that stay.

    Example:
        >>> kept_of(torch.tensor([[True, False], [False, True]]))
        (0, 3)
    """
    return tuple(keep.flatten().nonzero().flatten().tolist())
