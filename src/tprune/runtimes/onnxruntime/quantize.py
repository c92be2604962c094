"""Stub until the pass is merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tprune.core.precision import Precision
from tprune.runtimes.products import Product


def quantize(graph: str, path: Path, precision: Precision) -> Sequence[Product]:
    """Stub."""
    raise NotImplementedError
