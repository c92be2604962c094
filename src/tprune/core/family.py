"""The protocol of model families: what the toolkit needs to know of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.core.plan import Plan
from tprune.core.sites import Site


@runtime_checkable
class Family(Protocol):
    """What the toolkit needs to know of an architecture."""

    name: str
    tolerance: float  # how far masked and smaller models may differ in double precision, of the largest output

    def matches(self, model: nn.Module) -> bool:
        """Whether a model belongs to the family."""
        ...

    def couplings(self, model: nn.Module) -> tuple[Coupling, ...]:
        """The table: all closed couplings and the lines of every matrix."""
        ...

    def build(self, model: nn.Module, cuts: Cuts, heads: Mapping[Site, int], stock: bool) -> nn.Module:
        """An empty model of the shapes that the cuts leave.

        `heads` says how many of them an attention keeps, by its site.
        """
        ...

    def drops_empty(self, name: str) -> bool:
        """Whether a tensor is left out of the small model once one of its axes is empty."""
        ...

    def computed_tensors(self, model: nn.Module, cuts: Cuts) -> Mapping[str, Tensor]:
        """The tensors of the small model that are no slices of the model's, by name."""
        ...

    def inherit(self, model: nn.Module, small: nn.Module) -> None:
        """Hands generation settings and the like on to the small model."""
        ...


@runtime_checkable
class Silences(Protocol):
    """A family some of whose groups are not silent when they are zero, such as the rows of a router of experts."""

    def silence_(self, model: nn.Module, plan: Plan) -> None:
        """Whatever else a masked model needs to do what the small one does, in place."""
        ...
