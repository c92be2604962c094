"""Rows of blocks beside which other modules have to change once nothing is left of the block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tprune.core.cuts import Cuts
from tprune.families.around import Around
from tprune.families.rows import Changes, Heads


@dataclass(frozen=True)
class Beside(Around):
    """A row, and what else changes once its block is replaced.

    Attributes:
        row: of the block.
        attributes: by module, what they are to be: what switches code off that takes the block as it was.
    """

    attributes: Mapping[str, Mapping[str, int]]

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Those of the row, and the attributes where the block is replaced."""
        found = self.row.changes(cuts, heads)
        return replace(found, attributes={**found.attributes, **self.attributes}) if found.replaced else found
