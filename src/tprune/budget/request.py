"""What is asked of a budget: one size, time or memory, and how the parts of a model share it.

A recipe's `prune` section is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from tprune.core.objectives import Objective
from tprune.core.plan import Plan
from tprune.core.selection import Limits


@runtime_checkable
class Request(Protocol):
    """One target, and the settings of the search for what is kept."""

    @property
    def kinds(self) -> Sequence[str]:
        """Of couplings that may be cut."""
        ...

    @property
    def allocation(self) -> str:
        """How sublayers share a size: by `loss`, by `analysis`, or `uniform`."""
        ...

    @property
    def objective(self) -> Objective:
        """What is measured of couplings and selections: the `loss`, or the `divergence` from the dense model."""
        ...

    @property
    def search(self) -> int:
        """Selections that are measured as a whole."""
        ...

    @property
    def expected_recovery(self) -> Mapping[str, float]:
        """Share of the added loss, by kind, that training is expected to recover."""
        ...

    @property
    def floor(self) -> float:
        """Share of every coupling that stays."""
        ...

    @property
    def floors(self) -> Mapping[str, float]:
        """Likewise for single kinds, where it differs."""
        ...

    @property
    def multiple(self) -> Mapping[str, int]:
        """What numbers of groups are rounded to, by kind."""
        ...

    @property
    def output_vocabulary(self) -> int | None:
        """Size of the output vocabulary of the pruned model, at most; None: all tokens."""
        ...

    @property
    def stock(self) -> bool:
        """Whether only what a stock configuration expresses may go."""
        ...

    @property
    def even(self) -> Sequence[str]:
        """Kinds of which all blocks of a stack keep equally many groups, because a runtime needs it."""
        ...

    @property
    def timed(self) -> bool:
        """Whether something is asked for that must be measured on this machine."""
        ...

    @property
    def by_loss(self) -> bool:
        """Whether the budget is shared by measured losses."""
        ...

    def target(self) -> tuple[str, float]:
        """Unit and value. Raises `InputError` unless there is exactly one."""
        ...


def limits_of(how: Request, plan: Plan) -> Limits:
    """What a selection of the groups of a plan must respect."""
    needed = tuple(c.name for c in plan.couplings if c.needed)
    return Limits(dict(how.multiple), how.floor, dict(how.floors), tuple(how.even), needed)
