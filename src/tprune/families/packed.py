"""The row of `torch.nn.MultiheadAttention`, which itself holds one packed map for queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tprune.core.coupling import Coupling, View, bias, consumer, producer
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.modeling.modeling_pruned import Sizes
from tprune.families.rows import Changes, Heads, Shapes, expect, linear, part, whole
from tprune.support.errors import InputError


@dataclass(frozen=True)
class PackedAttention:
    """An attention of torch; what is left of it is held by a class of ours, as torch's has heads of one width alone.

    Attributes:
        site: where it lies.
        module: the attention.
        sizes: its heads, and their dimensions.
    """

    site: Site
    module: str
    sizes: Sizes

    @property
    def outputs(self) -> tuple[str, ...]:
        """None: no module of its own holds the map of queries, keys and values."""
        return ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The output map."""
        return (f"{self.module}.out_proj",)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless the maps have the rows or columns of so many heads."""
        heads, _, qk, v = self.sizes
        part(model, self.module, self.module)
        expect(model, self.module, self.module, "in_proj_weight", heads * (2 * qk + v), None)
        linear(model, self.module, f"{self.module}.out_proj", None, heads * v)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Heads, query-key and value dimensions inside heads, and the whole block."""
        heads = self.sizes.heads
        out = f"{self.module}.out_proj.weight"
        q, k, v = ([*self._maps(shapes, number, "h")] for number in range(3))
        yield self._coupling("heads", *q, *k, *v, consumer(out, "o (h d) -> h", h=heads))
        q, k, v = ([*self._maps(shapes, number, "h d", reads=number == 1)] for number in range(3))
        yield self._coupling("qk", *q, *k)
        yield self._coupling("vo", *v, consumer(out, "o (h d) -> h d", h=heads))
        tensors = [
            f"{self.module}.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        ]
        views = [
            producer(name, "o i ->") if len(shapes[name]) == 2 else bias(name, "o ->")
            for name in tensors
            if name in shapes
        ]
        yield whole(self.module, self.site, views)

    def _coupling(self, kind: str, *views: View) -> Coupling:
        return Coupling(f"{self.module}.{kind}", views, kind=kind, site=self.site)

    def _maps(self, shapes: Shapes, number: int, groups: str, reads: bool = False) -> Iterator[View]:
        """The views of the map of queries (0), keys (1) or values (2), and of its bias."""
        weight, shift, rows = f"{self.module}.in_proj_weight", f"{self.module}.in_proj_bias", self._rows[number]
        made = consumer if reads else producer
        yield made(weight, f"(h d) i -> {groups}", rows, h=self.sizes.heads)
        if shift in shapes:
            yield bias(shift, f"(h d) -> {groups}", rows, h=self.sizes.heads)

    @property
    def _rows(self) -> tuple[slice, slice, slice]:
        heads, _, qk, v = self.sizes
        first, second = heads * qk, 2 * heads * qk
        return slice(0, first), slice(first, second), slice(second, second + heads * v)

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """What our class is to hold. Raises `InputError` where heads keep different numbers of dimensions, or none."""
        weight, out = f"{self.module}.in_proj_weight", f"{self.module}.out_proj"
        removed, kept = weight in cuts.removed, cuts.keep.get(weight, {}).get(0)
        if kept is None and not removed:
            return Changes()
        left = 0 if removed else heads.get(self.site, self.sizes.heads)
        how: dict[str, Any] = {"kind": "multihead", "heads": left, "qk": 0, "v": 0}
        if not left:
            how["constant"] = not removed and f"{out}.bias" in cuts.shapes
        elif kept is not None:
            how["qk"], how["v"] = (self._dims(kept[rows], left) for rows in self._rows[1:])
            if not (how["qk"] and how["v"]):
                raise InputError(
                    f"{self.module}: {how['qk']} query-key and {how['v']} value dimensions are left of a head"
                )
        return Changes({self.module: how})

    def _dims(self, kept: Tensor, left: int) -> int:
        rows = kept.reshape(self.sizes.heads, -1).sum(1)
        each = int(kept.sum()) // left
        if sorted(rows.tolist()) != [0] * (self.sizes.heads - left) + [each] * left:
            raise InputError(
                f"{self.module}: the kept heads have {rows[rows > 0].tolist()} rows; keep equally many in every head"
            )
        return each
