"""Loss curves: the loss a coupling adds when it alone keeps fewer groups, and which numbers of groups are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tprune.core.coupling import Groups
from tprune.core.kinds import rule_of
from tprune.core.selection import Limits, lines_of
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Curve:
    """The loss that one coupling adds, by the number of groups that it keeps.

    Groups are lines per head where the coupling is balanced, fewest first. Losses are in nats per token, and never less
    for fewer groups.
    """

    name: str
    kept: tuple[int, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(math.isfinite(loss) for loss in self.losses):
            raise InputError(f"{self.name}: the loss is not finite for some numbers of groups: {self.losses}")

    def loss_at(self, lines: int) -> float:
        """The loss added at one of the numbers in `kept`."""
        return self.losses[self.kept.index(lines)]


def sizes_to_try(groups: Groups, limits: Limits, shares: Sequence[float] | None = None) -> list[int]:
    """The numbers of lines of a coupling to measure, fewest first, all of them last.

    See `tprune.analysis.loss_curves.sensitivities`.
    """
    kind, lines = groups.coupling.kind, lines_of(groups.norms)
    tried = rule_of(kind).shares if shares is None else shares
    return sorted({limits.round(share * lines, lines, kind, groups.coupling.name) for share in (*tried, 1.0)})


def never_less(added: Sequence[float]) -> tuple[float, ...]:
    """Measured losses, fewest groups first, and 0 for all.

    Fewer groups never cost less: what looks like a gain is noise.
    """
    steady = np.maximum.accumulate(np.maximum([*added, 0.0], 0.0)[::-1])[::-1]
    return tuple(float(x) for x in steady)
