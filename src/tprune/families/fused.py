"""The row of an attention with one map for queries, keys and values: its heads, and the whole block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from tprune.core.coupling import Coupling, Role
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.attention import Reads
from tprune.families.modeling.modeling_pruned import Sizes
from tprune.families.rows import LINEAR, Changes, Heads, Shapes, Weights, features, linear, part, reads, whole, without
from tprune.support.errors import InputError

APART, INTERLEAVED = "(t h d)", "(h t d)"  # all queries, all keys, all values; or those of a head side by side


@dataclass(frozen=True)
class FusedAttention:
    """An attention whose queries, keys and values come from one map.

    Its code splits them evenly, so nothing is cut inside heads.

    Attributes:
        site: where it lies.
        module: holds the map of queries, keys and values, and may hold that of the output.
        qkv: the map of queries, keys and values.
        o: the map of the output.
        heads: how many there are.
        order: `APART` or `INTERLEAVED`: how the outputs of `qkv` are made up of t (query, key, value), heads h, and
            dimensions d.
        reads: the attributes from which the module's code reads sizes.
        held: how the maps hold their weights.
        returns: how many results the module's code returns.
    """

    site: Site
    module: str
    qkv: str
    o: str
    heads: int
    order: str
    reads: Reads = field(default_factory=Reads)
    held: Weights = LINEAR
    returns: int = 2

    @property
    def outputs(self) -> tuple[str, ...]:
        """The map of queries, keys and values."""
        return (self.qkv,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The output map."""
        return (self.o,)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless both maps have the rows or columns of so many heads, as wide as the code reads."""
        dim = getattr(part(model, self.module, self.module), self.reads.dim, None)
        if not isinstance(dim, int):
            raise InputError(f"{self.module}: has no attribute {self.reads.dim!r}, the dimensions of a head in its row")
        linear(model, self.module, self.qkv, 3 * self.heads * dim, None, self.held)
        linear(model, self.module, self.o, None, self.heads * dim, self.held)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Heads, and the whole block."""
        sizes = {"t": 3, "h": self.heads}
        qkv = features(Role.PRODUCER, shapes, self.qkv, self.order, "h", sizes, self.held)
        out = reads(self.o, "(h d)", "h", {"h": self.heads}, self.held)
        yield Coupling(f"{self.module}.heads", (*qkv, out), kind="heads", site=self.site)
        maps = (self.qkv, self.o)
        views = [view for name in maps for view in features(Role.PRODUCER, shapes, name, "o", "", held=self.held)]
        yield whole(self.module, self.site, views)

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """The sizes that the code reads; an attention that is removed, or has no heads left, is replaced."""
        weight = f"{self.qkv}.weight"
        if weight in cuts.removed:
            return without(self.module, self.o, constant=False, returns=self.returns)
        left = heads.get(self.site, self.heads)
        if not left:
            constant = f"{self.o}.bias" in cuts.shapes
            return without(self.module, self.o, constant=constant, returns=self.returns)
        dim = cuts.shapes[weight][self.held.outputs] // (3 * self.heads)
        return Changes(attributes={self.module: self.reads.attributes(Sizes(left, left, dim, dim))})
