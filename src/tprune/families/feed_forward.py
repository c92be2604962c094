"""The row of a feed-forward block: hidden units between maps up and a map down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tprune.core.coupling import Coupling, Role, View, bias
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.rows import LINEAR, Changes, Heads, Shapes, Weights, features, linear, reads, whole, without


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward block.

    Attributes:
        site: where it lies.
        module: holds the maps up and the activation, and may hold the map down.
        ups: linear maps to the hidden units; two where one is the gate of the other.
        down: the linear map back.
        layer: the layer after which the block is called, where no module of its own holds it; `module` is then the map
            up.
        held: how the maps hold their weights.
        parts: how often a map up holds all hidden units: 2 where the gates and what they open are made by one map, one
            after the other.
    """

    site: Site
    module: str
    ups: tuple[str, ...]
    down: str
    layer: str = ""
    held: Weights = LINEAR
    parts: int = 1

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
        units = linear(model, self.module, self.ups[0], None, None, self.held)
        for up in self.ups[1:]:
            linear(model, self.module, up, units, None, self.held)
        linear(model, self.module, self.down, None, units // self.parts, self.held)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """The hidden units, and the whole block."""
        axis, sizes = ("u", {}) if self.parts == 1 else ("(t u)", {"t": self.parts})
        ups = [view for up in self.ups for view in features(Role.PRODUCER, shapes, up, axis, "u", sizes, self.held)]
        units = (*ups, reads(self.down, "u", "u", held=self.held))
        yield Coupling(f"{self.layer or self.module}.ffn", units, kind="ffn", site=self.site)
        yield whole(f"{self.layer}.ffn" if self.layer else self.module, self.site, self._all(shapes))

    def _all(self, shapes: Shapes) -> Iterator[View]:
        for up in self.ups:
            yield from features(Role.PRODUCER, shapes, up, "u", "", held=self.held)
        yield reads(self.down, "u", "", held=self.held)
        if f"{self.down}.bias" in shapes:
            yield bias(f"{self.down}.bias", "o ->")

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Hidden units need none; a block that is removed, or has no units left, is replaced."""
        if f"{self.down}.weight" in cuts.removed:
            return without(self.module, self.down, constant=False)
        if 0 in cuts.shape(f"{self.down}.weight"):
            return without(self.module, self.down, constant=f"{self.down}.bias" in cuts.shapes)
        return Changes()
