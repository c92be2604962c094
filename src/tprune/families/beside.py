"""Rows of blocks beside which other modules have to change once nothing is left of the block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.rows import Changes, Heads, Row, Shapes


@dataclass(frozen=True)
class Beside:
    """A row, and what else changes once its block is replaced.

    Attributes:
        row: of the block.
        attributes: by module, what they are to be: what switches code off that takes the block as it was.
    """

    row: Row
    attributes: Mapping[str, Mapping[str, int]]

    @property
    def module(self) -> str:
        """The row's."""
        return self.row.module

    @property
    def site(self) -> Site:
        """The row's."""
        return self.row.site

    @property
    def outputs(self) -> tuple[str, ...]:
        """The row's."""
        return self.row.outputs

    @property
    def inputs(self) -> tuple[str, ...]:
        """The row's."""
        return self.row.inputs

    def check(self, model: nn.Module) -> None:
        """See the row."""
        self.row.check(model)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """See the row."""
        return self.row.couplings(shapes)

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Those of the row, and the attributes where the block is replaced."""
        found = self.row.changes(cuts, heads)
        return replace(found, attributes={**found.attributes, **self.attributes}) if found.replaced else found
