"""The constants of an exported model: which matrix is multiplied, or looked rows up in, in which precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

Names = Callable[[str, Any], tuple[str, ...]]
"""The parameters of the model that a constant is made of, from its name in the graph and its value."""


class Use(Flag):
    """What a graph does with a matrix."""

    MULTIPLIED = auto()
    LOOKED_UP = auto()
    CONVOLVED = auto()


@dataclass(frozen=True)
class Product:
    """A constant of floating point of an exported graph, and what became of it.

    Attributes:
        graph: the name of the graph.
        weights: the names of the model's parameters that it is made of: one, or those of fused maps.
        shape: its own; vectors, such as biases, are listed too.
        precision: the name of the precision that it has.
        bytes: of the matrix in that precision, with its scales.
        why: why it is not in the precision of the export; empty where it is.
    """

    graph: str
    weights: tuple[str, ...]
    shape: tuple[int, ...]
    precision: str
    bytes: int
    why: str = ""

    @property
    def matrix(self) -> bool:
        """Whether it is more than a vector."""
        return len(self.shape) > 1


def matrices(products: Sequence[Product]) -> tuple[Product, ...]:
    """Those that are no vectors."""
    return tuple(product for product in products if product.matrix)
