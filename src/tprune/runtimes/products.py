"""The products of an exported model: which matrix is multiplied in which precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A constant matrix of an exported graph, and what became of it.

    Attributes:
        graph: the name of the graph.
        weights: the names of the model's parameters that it is made of: one, or those of fused maps.
        shape: (inputs, outputs) of a product; of an embedding (rows, width).
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


def left(products: Sequence[Product], precision: str) -> tuple[Product, ...]:
    """Those that are in another precision than the export's."""
    return tuple(product for product in products if product.precision != precision)
