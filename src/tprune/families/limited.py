"""Rows of blocks from which some kinds of couplings are left out: what a block's code cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.families.around import Around
from tprune.families.rows import Changes, Heads, Shapes
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Limited(Around):
    """A row without couplings of some kinds.

    Attributes:
        row: of the block.
        without: the kinds that are left out. Without `sublayer` the block cannot go, so every coupling of it needs a
            group that stays (`Coupling.needed`).

    Example:
        >>> from tprune.core.sites import Site
        >>> from tprune.families.feed_forward import FeedForward
        >>> row = FeedForward(Site("encoder", 0, "feed_forward"), "mlp", ("mlp.up",), "mlp.down")
        >>> shapes = {"mlp.up.weight": (8, 4), "mlp.down.weight": (4, 8)}
        >>> [(coupling.kind, coupling.needed) for coupling in Limited(row, ("sublayer",)).couplings(shapes)]
        [('ffn', True)]
    """

    without: tuple[str, ...]

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Those of the row whose kinds are not left out."""
        for coupling in self.row.couplings(shapes):
            if coupling.kind not in self.without:
                yield replace(coupling, needed=True) if "sublayer" in self.without else coupling

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Those of the row. Raises `InputError` where nothing is left of a block that cannot be removed."""
        found = self.row.changes(cuts, heads)
        if found.replaced and "sublayer" in self.without:
            raise InputError(
                f"{self.module}: nothing is left of it, and its family cannot remove it; keep at least one group"
            )
        return found
