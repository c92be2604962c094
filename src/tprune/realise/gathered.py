"""Gathered: lines of one matrix are cut out, between a gather before it and a scatter after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tprune.core.plan import Plan
from tprune.realise.cut import cut


@dataclass(frozen=True)
class Gathered:
    """A matrix loses its pruned lines and the widths around it stay: its inputs are gathered, its outputs scattered."""

    gathers: ClassVar[bool] = True

    def __call__(self, model: nn.Module, plan: Plan) -> nn.Module:
        """The model with smaller matrices. Raises `InputError` for a model of no family."""
        return cut(model, plan, self)


GATHERED = Gathered()
