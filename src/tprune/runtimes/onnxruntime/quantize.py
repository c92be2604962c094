"""The file of integers of a graph out of its file of floats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from tprune.families.graphs.graph import Graph
from tprune.families.graphs.origins import first_names
from tprune.runtimes.naming import naming
from tprune.runtimes.onnxruntime.forms import Form
from tprune.runtimes.onnxruntime.int8 import Constant, Quantized, quantized
from tprune.runtimes.onnxruntime.static import static_integers
from tprune.support.errors import InputError


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
    return _written(path, quantized(onnx.load(source), form, naming(graph.module), first_names(graph.module, keep)))


def calibrate(graph: Graph, source: Path, path: Path, keep: Iterable[str] = ()) -> tuple[Constant, ...]:
    """As `quantize`, with activations whose scales are measured on the graph's calibration inputs.

    Raises:
        InputError: as `quantize`, or where there are no such inputs, or they do not fit the graph.
    """
    if not graph.calibration:
        raise InputError(f"graph {graph.name}: no calibration inputs; expected some, to measure its activations on")
    kept = first_names(graph.module, keep)
    return _written(path, static_integers(onnx.load(source), graph.calibration, naming(graph.module), kept))


def _written(path: Path, found: Quantized) -> tuple[Constant, ...]:
    path.write_bytes(found.model.SerializeToString(deterministic=True))
    return found.constants
