"""The file of integers of a graph out of its file of floats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from tprune.families.graphs.graph import Graph
from tprune.families.graphs.origins import first_names
from tprune.runtimes.naming import naming
from tprune.runtimes.onnxruntime.forms import Form
from tprune.runtimes.onnxruntime.int8 import Constant, quantized


def quantize(graph: Graph, source: Path, path: Path, form: Form, keep: Iterable[str] = ()) -> tuple[Constant, ...]:
    """Writes the file of integers of a graph beside or over its file of floats.

    Args:
        graph: that `source` was lowered from.
        source: an ONNX file of floats.
        path: may be `source` itself.
        form: of its constants; graphs of one model may have different ones, see
            `tprune.runtimes.onnxruntime.forms.FORMS`.
        keep: parameters that stay fp32, by any of the names that they have in the model.

    Returns:
        What became of each constant of floating point.

    Raises:
        InputError: the model has no parameter of a name in `keep`, or one whose values are not finite.
    """
    kept = first_names(graph.module, keep)
    found = quantized(onnx.load(source), form, naming(graph.module), kept)
    path.write_bytes(found.model.SerializeToString(deterministic=True))
    return found.constants
