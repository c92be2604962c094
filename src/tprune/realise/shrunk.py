"""Shrunk: the pruned groups of closed couplings are cut out, and an ordinary, smaller dense model remains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tprune.core.plan import Plan
from tprune.realise.cut import cut


@dataclass(frozen=True)
class Shrunk:
    """All members of a pruned group lose its lines; nothing else reads or makes them."""

    gathers: ClassVar[bool] = False

    def __call__(self, model: nn.Module, plan: Plan) -> nn.Module:
        """The smaller model. Raises `InputError` for a model of no family, or groups that cannot be cut out densely."""
        return cut(model, plan, self)


SHRUNK = Shrunk()
