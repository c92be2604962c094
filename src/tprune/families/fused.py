"""The row of an attention with one map for queries, keys and values: heads, query heads, and the whole block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from torch import nn

from tprune.core.coupling import Coupling, Role, View
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.attention import Reads, evenly
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
        kv: key-value heads that the query heads share in groups; 0 where each has its own. Such maps hold all queries,
            all keys, then all values, and are `LINEAR`.
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
    kv: int = 0
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
        if self.kv and (self.heads % self.kv or self.held is not LINEAR):
            raise InputError(f"{self.module}: {self.heads} heads cannot share {self.kv} key-value heads of such a map")
        linear(model, self.module, self.qkv, (self.heads + 2 * (self.kv or self.heads)) * dim, None, self.held)
        linear(model, self.module, self.o, None, self.heads * dim, self.held)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Heads, query heads that share one, and the whole block."""
        if self.kv:
            yield from self._shared(shapes)
        else:
            sizes = {"t": 3, "h": self.heads}
            qkv = features(Role.PRODUCER, shapes, self.qkv, self.order, "h", sizes, self.held)
            out = reads(self.o, "(h d)", "h", {"h": self.heads}, self.held)
            yield Coupling(f"{self.module}.heads", (*qkv, out), kind="heads", site=self.site)
        maps = (self.qkv, self.o)
        views = [view for name in maps for view in features(Role.PRODUCER, shapes, name, "o", "", held=self.held)]
        yield whole(self.module, self.site, views)

    def _shared(self, shapes: Shapes) -> Iterator[Coupling]:
        """Of heads in groups: the groups, and the query heads inside them."""
        sizes = {"k": self.kv, "r": self.heads // self.kv}
        dim = shapes[f"{self.o}.weight"][1] // self.heads
        ends = [0, *(dim * (self.heads + n * self.kv) for n in range(3))]
        q, k, v = (slice(start, stop) for start, stop in pairwise(ends))
        kv = {"k": self.kv}
        heads = [view for part in (k, v) for view in self._part(shapes, "(k d)", "k", kv, part)]
        heads = [*self._part(shapes, "(k r d)", "k", sizes, q), *heads, reads(self.o, "(k r d)", "k", sizes)]
        yield Coupling(f"{self.module}.heads", tuple(heads), kind="heads", site=self.site)
        if self.heads > self.kv and self.reads.shared:
            queries = (*self._part(shapes, "(k r d)", "k r", sizes, q), reads(self.o, "(k r d)", "k r", sizes))
            yield Coupling(f"{self.module}.queries", queries, kind="queries", site=self.site)

    def _part(self, shapes: Shapes, axis: str, groups: str, sizes: Mapping[str, int], part: slice) -> Iterator[View]:
        """The views of some rows of the map."""
        for view in features(Role.PRODUCER, shapes, self.qkv, axis, groups, sizes):
            yield replace(view, part=part)

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """The sizes that the code reads; an attention that is removed, or has no heads left, is replaced."""
        weight = f"{self.qkv}.weight"
        if weight in cuts.removed:
            return without(self.module, self.o, constant=False, returns=self.returns)
        kv = self.kv or self.heads
        left = heads.get(self.site, kv)
        if not left:
            constant = f"{self.o}.bias" in cuts.shapes
            return without(self.module, self.o, constant=constant, returns=self.returns)
        dim = cuts.shapes[f"{self.o}.weight"][self.held.inputs] // self.heads
        shared = evenly(cuts, f"{self.o}.weight", self.held.inputs, kv, left) // dim
        return Changes(attributes={self.module: self.reads.attributes(Sizes(left * shared, left, dim, dim))})
