"""The row of a feed-forward block: hidden units between maps up and a map down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tprune.core.coupling import Coupling, Role
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.rows import Changes, Heads, Shapes, features, linear, reads, whole, without


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward block.

    Attributes:
        site: where it lies.
        module: holds the maps up and the activation, and may hold the map down.
        ups: linear maps to the hidden units; two where one is the gate of the other.
        down: the linear map back.
    """

    site: Site
    module: str
    ups: tuple[str, ...]
    down: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """The maps up."""
        return self.ups

    @property
    def inputs(self) -> tuple[str, ...]:
        """The map down."""
        return (self.down,)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless all maps have the same number of hidden units."""
        units = linear(model, self.module, self.ups[0], None, None)
        for up in self.ups[1:]:
            linear(model, self.module, up, units, None)
        linear(model, self.module, self.down, None, units)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """The hidden units, and the whole block."""
        ups = [view for up in self.ups for view in features(Role.PRODUCER, shapes, up, "u", "u")]
        units = (*ups, reads(self.down, "u", "u"))
        yield Coupling(f"{self.module}.ffn", units, kind="ffn", site=self.site)
        maps = (*self.ups, self.down)
        yield whole(self, (view for name in maps for view in features(Role.PRODUCER, shapes, name, "o", "")))

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Hidden units need none; a block that is removed, or has no units left, is replaced."""
        if f"{self.down}.weight" in cuts.removed:
            return without(self.module, self.down, constant=False)
        if 0 in cuts.shape(f"{self.down}.weight"):
            return without(self.module, self.down, constant=f"{self.down}.bias" in cuts.shapes)
        return Changes()
