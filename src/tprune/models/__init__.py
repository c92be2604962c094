"""Model families: one file each. A family's table of couplings is the source of truth about its architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import nn

from tprune.coupling import Coupling
from tprune.errors import InputError
from tprune.realise.cut import Cuts
from tprune.texts import check_list


@runtime_checkable
class Family(Protocol):
    """What the toolkit needs to know of an architecture."""

    name: str

    def matches(self, model: nn.Module) -> bool:
        """Whether a model belongs to the family."""
        ...

    def couplings(self, model: nn.Module) -> tuple[Coupling, ...]:
        """The table: all closed couplings and the lines of every matrix."""
        ...

    def build(self, model: nn.Module, cuts: Cuts, heads: Mapping[str, int], stock: bool) -> nn.Module:
        """An empty model of the shapes that the cuts leave."""
        ...

    def drops_empty(self, name: str) -> bool:
        """Whether a tensor is left out of the small model once one of its axes is empty."""
        ...

    def inherit(self, model: nn.Module, small: nn.Module) -> None:
        """Hands generation settings and the like on to the small model."""
        ...


FAMILIES: list[Family] = []  # entered by modules that a user imports


def families() -> tuple[Family, ...]:
    """All families: ours, those entered in `FAMILIES`, and those of installed plugins (entry points `tprune.families`)."""
    from importlib.metadata import entry_points

    from tprune.models.encoder_decoder import BART, MARIAN

    return (MARIAN, BART, *FAMILIES, *(point.load() for point in entry_points(group="tprune.families")))


def family_of(model: Any) -> Family:
    """The family of a model. Raises `InputError` naming the supported ones."""
    known = families()
    for family in known:
        if family.matches(model):
            return family
    raise InputError(
        f"{type(model).__name__} is of no supported family; supported are: {', '.join(f.name for f in known)}"
    )


def couplings(model: nn.Module, kinds: Iterable[str] | None = None) -> tuple[Coupling, ...]:
    """The couplings of a model, all or those of some kinds (`ffn`, `heads`, `qk`, `vo`, `sublayer`, `width`, `lines`).

    Raises:
        InputError: the model's family is not supported, or it has no coupling of an asked kind.
    """
    table = family_of(model).couplings(model)
    if kinds is None:
        return table
    check_list(kinds, "kinds of couplings")
    wanted = list(kinds)
    known = sorted({c.kind for c in table})
    for kind in wanted:
        if kind not in known:
            raise InputError(f"no couplings of kind {kind!r} in {type(model).__name__}; there are: {', '.join(known)}")
    return tuple(coupling for coupling in table if coupling.kind in wanted)
