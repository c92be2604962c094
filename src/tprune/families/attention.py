"""The row of an attention: heads, and dimensions inside heads where they can be cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

from tprune.core.coupling import Coupling, Role, bias
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.modeling.modeling_pruned import Sizes
from tprune.families.rows import Changes, Heads, Shapes, features, linear, part, reads, whole, without
from tprune.support.errors import InputError


class Projections(NamedTuple):
    """The linear maps of an attention: of queries, keys, values, and of the output.

    Attributes:
        q: the map of queries.
        k: the map of keys.
        v: the map of values.
        o: the output map.
    """

    q: str
    k: str
    v: str
    o: str


@dataclass(frozen=True)
class Reads:
    """The attributes from which an attention's code reads its sizes; empty for those that it does not have.

    Attributes:
        dim: dimensions of a head.
        heads: number of heads.
        kv: number of key-value heads.
        total: dimensions of all heads together.
        shared: query heads that share a key-value head; where it is given, their number can be cut.
        fixed: attributes that have one value in every pruned model, whatever is left.
    """

    dim: str = "head_dim"
    heads: str = ""
    kv: str = ""
    total: str = ""
    shared: str = ""
    fixed: Mapping[str, int] = field(default_factory=dict)

    def attributes(self, sizes: Sizes) -> dict[str, int]:
        """What the code is to find. It views heads of different widths as heads of width 1 (see `uneven_attention`)."""
        values = {
            self.dim: sizes.qk if sizes.qk == sizes.v else 1,
            self.heads: sizes.heads,
            self.kv: sizes.kv,
            self.total: sizes.heads * sizes.qk,
            self.shared: sizes.heads // sizes.kv,
        }
        return {name: value for name, value in values.items() if name} | dict(self.fixed)


@dataclass(frozen=True)
class Attention:
    """An attention. Where several query heads share a key-value head, such a group of heads is cut as one.

    Attributes:
        site: where it lies.
        module: holds the maps of queries, keys and values, and may hold that of the output.
        maps: the linear maps.
        heads: query heads.
        kv: key-value heads.
        reads: the attributes from which the module's code reads sizes.
        rotary: whether queries and keys are rotated. Their dimensions then go in pairs that all layers share, and the
            code views values with the queries' width, so nothing is cut inside heads.
        even: whether the code gives one number of heads and one width to queries, keys and values, so that nothing is
            cut inside heads.
        norms: modules that normalise queries or keys, shared by all heads; they go with the whole block.
        returns: how many results the module's code returns.
        shared_bias: whether it is given a bias for each head that one block computes for all, and returns it as its
            second result.
        needed: whether other blocks need more of it than what it adds to the stream, such as that bias, or its module
            adds to the stream itself; it cannot be removed then.
    """

    site: Site
    module: str
    maps: Projections
    heads: int
    kv: int
    reads: Reads = field(default_factory=Reads)
    rotary: bool = False
    even: bool = False
    norms: tuple[str, ...] = ()
    returns: int = 2
    shared_bias: bool = False
    needed: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Queries, keys and values."""
        return self.maps[:3]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The output map."""
        return (self.maps.o,)

    @property
    def shared_by(self) -> int:
        """How many query heads share a key-value head."""
        return self.heads // self.kv

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless all maps have the rows or columns of so many heads, as wide as the code reads."""
        if self.heads < 1 or self.kv < 1 or self.heads % self.kv:
            raise InputError(f"{self.module}: {self.heads} heads cannot share {self.kv} key-value heads evenly")
        qk, v = self._widths(part(model, self.module, self.module))
        q, k, value, o = self.maps
        linear(model, self.module, q, self.heads * qk, None)
        linear(model, self.module, k, self.kv * qk, None)
        linear(model, self.module, value, self.kv * v, None)
        linear(model, self.module, o, None, self.heads * v)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Heads, query heads that share one, query-key and value dimensions inside heads, and the whole block."""
        q, k, v, o = self.maps
        g = "h" if self.shared_by == 1 else "k"  # heads, or key-value heads and all that share them
        kv = {g: self.kv}
        axis, sizes = (f"({g} d)", kv) if self.shared_by == 1 else (f"({g} r d)", {**kv, "r": self.shared_by})
        heads = (
            *features(Role.PRODUCER, shapes, q, axis, g, sizes),
            *features(Role.PRODUCER, shapes, k, f"({g} d)", g, kv),
            *features(Role.PRODUCER, shapes, v, f"({g} d)", g, kv),
            reads(o, axis, g, sizes),
        )
        yield Coupling(f"{self.module}.heads", heads, kind="heads", site=self.site, needed=self.needed)
        if self.shared_by > 1 and self.reads.shared:
            queries = (*features(Role.PRODUCER, shapes, q, axis, "k r", sizes), reads(o, axis, "k r", sizes))
            yield Coupling(f"{self.module}.queries", queries, kind="queries", site=self.site)
        if not (self.rotary or self.even):
            qk = (
                *features(Role.PRODUCER, shapes, q, axis, f"{g} d", sizes),
                *features(Role.CONSUMER, shapes, k, f"({g} d)", f"{g} d", kv),
            )
            vo = (*features(Role.PRODUCER, shapes, v, f"({g} d)", f"{g} d", kv), reads(o, axis, f"{g} d", sizes))
            yield Coupling(f"{self.module}.qk", qk, kind="qk", site=self.site)
            yield Coupling(f"{self.module}.vo", vo, kind="vo", site=self.site)
        if self.needed:
            return
        maps = [view for name in self.maps for view in features(Role.PRODUCER, shapes, name, "o", "")]
        norms = [
            bias(f"{norm}.{what}", "d ->")
            for norm in self.norms
            for what in ("weight", "bias")
            if f"{norm}.{what}" in shapes
        ]
        yield whole(self.module, self.site, [*maps, *norms])

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """The sizes that the code reads; an attention that is removed, or has no heads left, is replaced.

        Raises:
            InputError: what is cut is no small attention of this row's code; says why.
        """
        q, k, v, o = self.maps
        if f"{q}.weight" in cuts.removed:
            return self._without(False)
        left = heads.get(self.site, self.kv)
        if not left:
            return self._without(f"{o}.bias" in cuts.shapes)
        per_q, qk, per_v = (evenly(cuts, f"{name}.weight", 0, self.kv, left) for name in (q, k, v))
        sizes = Sizes(left * per_q // max(qk, 1), left, qk, per_v)
        if not (sizes.qk and sizes.v):
            raise InputError(
                f"{self.module}: {sizes.qk} query-key and {sizes.v} value dimensions are left of a head; cut heads "
                "instead"
            )
        values = {self.module: tuple(sizes)} if sizes.qk != sizes.v else {}
        stay = self._kept(cuts) if self.shared_bias else ()
        kept = {self.module: stay} if stay else {}
        return Changes(attributes={self.module: self.reads.attributes(sizes)}, values=values, kept=kept)

    def _without(self, constant: bool) -> Changes:
        if self.needed:
            raise InputError(
                f"{self.module}: no heads are left, but other blocks need it, or more than the attention is in its "
                "module; keep at least one"
            )
        passes = "position_bias" if self.shared_bias else ""
        return without(self.module, self.maps.o, constant=constant, returns=self.returns, passes=passes)

    def _kept(self, cuts: Cuts) -> tuple[int, ...]:
        """The heads that are left, by their numbers before the cut; nothing where all are."""
        kept = cuts.keep.get(f"{self.maps.q}.weight", {}).get(0)
        if kept is None:
            return ()
        left: list[int] = kept.reshape(self.heads, -1).any(1).nonzero().flatten().tolist()
        return tuple(left) if len(left) < self.heads else ()

    def _widths(self, module: Any) -> tuple[int, int]:
        """The dimensions of a head as the module's code knows them: of queries and keys, and of values."""
        if hasattr(module, "uneven"):
            return module.uneven.qk, module.uneven.v
        dim = getattr(module, self.reads.dim, None)
        if not isinstance(dim, int):
            raise InputError(f"{self.module}: has no attribute {self.reads.dim!r}, the dimensions of a head in its row")
        return dim, dim


def evenly(cuts: Cuts, name: str, axis: int, heads: int, left: int) -> int:
    """How many lines of a tensor each kept head has.

    Args:
        cuts: of the model.
        name: of the tensor.
        axis: of the lines, those of one head side by side.
        heads: how many there are.
        left: how many of them are kept.

    Raises:
        InputError: they have different numbers of lines, which one tensor cannot hold.
    """
    kept = cuts.keep.get(name, {}).get(axis)
    if kept is None:
        return cuts.shapes[name][axis] // heads
    lines = kept.reshape(heads, -1).sum(1)
    each = int(kept.sum()) // left
    if sorted(lines.tolist()) != [0] * (heads - left) + [each] * left:
        raise InputError(
            f"{name.removesuffix('.weight')}: the kept heads have {lines[lines > 0].tolist()} rows; keep equally many "
            "in every head"
        )
    return each
