"""What the demo makes, to the bit: weights, kept groups, counts, scores, translations and ONNX files."""

from __future__ import annotations

from pathlib import Path

import pins_adapter as tp
import pytest
from pinned import compare, pinned, pinned_bytes, tensors

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def test_demo(demo: Path) -> None:
    found = tp.demo(demo)
    models = found.pop("models")
    weights = {f"weights {i}": pinned(tensors(tp.load(folder)).values()) for i, folder in enumerate(models)}
    graphs = {f"graph {i}": pinned_bytes(content) for i, content in enumerate(tp.graphs(demo))}
    assert len(graphs) >= 4
    compare("demo", found | weights | graphs)
