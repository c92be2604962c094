"""Blocks that the pruning removed, and what is left of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


def removed(module: nn.Module) -> bool:
    """Whether the pruning removed this block."""
    return bool(getattr(module, "removed", False))


def remainder(output: nn.Module | None) -> Tensor | float:
    """What a removed block still adds to the residual: nothing, or the bias `[D]` of its output map."""
    bias: Tensor | None = getattr(output, "bias", None)
    return 0.0 if bias is None else bias


@dataclass(frozen=True, eq=False)
class Removed:
    """A removed block, called as the block was.

    Attributes:
        output: its last map, whose bias is left.
    """

    output: nn.Module | None

    def __call__(self, x: Tensor) -> Tensor | float:
        """What it still adds, whatever it reads."""
        return remainder(self.output)
