"""Small graphs of one size each, of the parts of a Transformer whose sizes pruning chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from tprune.core.graph import BATCH, Dialect, Signature, TensorSpec
from tprune.families.graphs.attention import MIXES
from tprune.families.graphs.graph import Graph, weights

DENSE = 256  # the width of the residual around the units, and the middle of the widths that are tried
HEADS, KEYS = 4, 32  # of the attention
MULTIPLES: Final = (1, 4, 8, 16, 32, 64)


class Units(nn.Module):
    """A feed-forward block of so many units."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(DENSE, size), nn.Linear(size, DENSE)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, d]` to `[B, d]`."""
        out: Tensor = self.down(self.up(x).relu())
        return out


class Width(nn.Module):
    """Two maps and a norm of a residual of so many dimensions."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.into, self.norm, self.out = nn.Linear(size, DENSE), nn.LayerNorm(size), nn.Linear(DENSE, size)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, n]` to `[B, n]`."""
        out: Tensor = self.norm(x + self.out(self.into(x).relu()))
        return out


class Heads(nn.Module):
    """The attention of heads of so many dimensions, with the maps before and after it."""

    def __init__(self, size: int, dialect: Dialect) -> None:
        super().__init__()
        self.size, self.mix = size, MIXES[dialect]
        self.query, self.out = nn.Linear(DENSE, HEADS * size), nn.Linear(HEADS * size, DENSE)
        self.key, self.value = (nn.Parameter(torch.randn(1, HEADS, KEYS, size)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, d]` to `[B, d]`; all rows are the queries of one sentence."""
        query = self.query(x).view(1, -1, HEADS, self.size).transpose(1, 2)
        mixed = self.mix(query, self.key, self.value, None)[0]
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(-1, HEADS * self.size))
        return out


@dataclass(frozen=True)
class Probe:
    """What is timed for some kinds of couplings.

    Attributes:
        kinds: the kinds whose sizes it stands for.
        middle: the size around which others are tried; a multiple of 64.
        build: the module of a size, for a dialect.
        inputs: how many numbers a row has, of a size.
    """

    kinds: tuple[str, ...]
    middle: int
    build: Callable[[int, Dialect], nn.Module]
    inputs: Callable[[int], int] = lambda size: DENSE

    def sizes(self) -> dict[int, int]:
        """The largest of `MULTIPLES` that divides a size, by the sizes that are tried.

        Example:
            >>> PROBES["units"].sizes()[248], PROBES["units"].sizes()[256], PROBES["units"].sizes()[251]
            (8, 64, 1)
        """
        step = self.middle // 4
        tried = {self.middle + sign * away for away in (0, step, 5, 4, 8, 16, 32) for sign in (-1, 1)}
        return {size: max(m for m in MULTIPLES if size % m == 0) for size in sorted(tried)}

    def graph(self, name: str, size: int, dialect: Dialect) -> Graph:
        """The graph of a size, with a free number of rows."""
        module = self.build(size, dialect).eval()
        spec = TensorSpec("x", "float32", (BATCH, self.inputs(size)))
        return Graph(module, (torch.randn(3, self.inputs(size)),), Signature(name, (spec,), ("y",)), weights(module))


PROBES: Final[Mapping[str, Probe]] = {
    "units": Probe(("ffn",), DENSE, lambda size, _: Units(size)),
    "head dimensions": Probe(("qk", "vo"), 64, Heads),
    "width": Probe(("width",), DENSE, lambda size, _: Width(size), lambda size: size),
}
