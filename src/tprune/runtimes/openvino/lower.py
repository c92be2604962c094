"""Graphs to OpenVINO's files, by way of ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tprune.core.precision import Precision
from tprune.runtimes.openvino.masks import add_zero_masks
from tprune.runtimes.openvino.package import openvino
from tprune.runtimes.openvino.weights import compress
from tprune.runtimes.products import Product

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph


def lower(graph: Graph, folder: Path, precision: Precision) -> Sequence[Product]:
    """Writes a graph as `NAME.xml` and `NAME.bin`.

    Args:
        graph: in the dialect `masked`.
        folder: of the files.
        precision: in which its weights are stored.

    Returns:
        What became of each constant matrix; nothing in single precision.
    """
    from tprune.runtimes.onnxruntime.lower import lower as lower_to_onnx  # torch, which running them does not need

    package = openvino()
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / f"{graph.name}.onnx"
        lower_to_onnx(graph, path)
        model = package.Core().read_model(path)
        if graph.signature.states:
            add_zero_masks(model)
        products = () if precision.exact else compress(model, graph, precision)
        package.save_model(model, folder / f"{graph.name}.xml", compress_to_fp16=False)
    return products
