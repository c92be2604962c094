"""The protocol of realisations: what the pruned groups of a model become."""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

from torch import nn

from tprune.core.entry import Entry
from tprune.core.known_realisations import REALISATIONS
from tprune.core.plan import Plan


@runtime_checkable
class Realisation(Protocol):
    """Makes a model of a model and a plan. It computes what the masked model computes.

    A plan names one for each of its entries. `tprune.shrink` calls each with a plan of its entries alone, one after the
    other in the order in which they stand in the plan; those that cut come last, and all at once.
    """

    def __call__(self, model: nn.Module, plan: Plan) -> nn.Module:
        """A new model; the given one is left as it is.

        Args:
            model: the model the plan was made for.
            plan: its entries are all to be realised so, whatever they name; one without a selection keeps everything.
        """
        ...


@runtime_checkable
class Cutting(Realisation, Protocol):
    """A realisation that takes lines out of tensors.

    Cuts overlap on the same tensors, so all of a plan are made together.

    `gathers` says what happens to the lines around a cut matrix: nothing, where all that reads and makes them is cut
    with it, or a gather before it and a scatter after it.
    """

    @property
    def gathers(self) -> bool:
        """Whether only this matrix loses its lines, and the widths around it stay."""
        ...


def cutting_of(name: str) -> Cutting | None:
    """The realisation of a name, where it is one that cuts.

    Args:
        name: as in plans.
    """
    found = REALISATIONS.named(name)
    return found if isinstance(found, Cutting) else None


def parts(plan: Plan) -> dict[str, Plan]:
    """The plan by realisation: each part has the entries of one, in the order of the plan.

    Args:
        plan: any plan.
    """
    names = dict.fromkeys(entry.realisation for entry in plan.entries)
    return {name: plan.only(partial(_of, name)) for name in names}


def _of(name: str, entry: Entry) -> bool:
    return entry.realisation == name
