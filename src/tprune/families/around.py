"""Rows around another row: what they do not change is the inner row's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.rows import Changes, Heads, Row, Shapes


@dataclass(frozen=True)
class Around:
    """A row that says what another says; see `tprune.families.rows.Row`.

    Attributes:
        row: of the block.
    """

    row: Row

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
        """See the row."""
        return self.row.changes(cuts, heads)


def innermost(row: Row) -> Row:
    """The row that others are around.

    Args:
        row: any.
    """
    while isinstance(row, Around):
        row = row.row
    return row
