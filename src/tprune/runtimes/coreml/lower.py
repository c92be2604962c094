"""Graphs to packed ML programs."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from tprune.core.graph import Signature
from tprune.families.graphs.graph import Graph
from tprune.runtimes.coreml.package import coremltools, quiet
from tprune.runtimes.coreml.rewritten import rewrite_
from tprune.runtimes.unlowered import unlowered
from tprune.support.errors import InputError

UNKNOWN = r"(?:convert function for op '|Unsupported fx node \w+, kind )([\w.]+)"  # as coremltools says it


def lower(graph: Graph, path: Path, half: bool) -> None:
    """Writes a graph as a `.mlpackage`, which is a folder, packed into one file.

    Inputs and outputs have the names of the signature. Whole numbers are 32-bit there. Free sizes go from 1.

    Args:
        graph: in the dialect `masked`.
        path: of the file; ends in `.mlpackage.zip`.
        half: compute in half precision; inputs and outputs stay in single precision.

    Raises:
        InputError: coremltools cannot convert it; says the operator, and its layer.
    """
    package = coremltools()
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # bars of progress
        made = _converted(package, graph, half)
        spec = _named(package, made.get_spec(), graph.signature)
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / path.name.removesuffix(".zip")
            model = package.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)
            model.save(str(folder))
            shutil.make_archive(str(path.with_suffix("")), "zip", work, folder.name)


def _converted(package: Any, graph: Graph, half: bool) -> Any:
    precision = package.precision.FLOAT16 if half else package.precision.FLOAT32
    target = package.target.iOS17
    program = torch.export.export(graph.module, graph.example, dynamic_shapes=graph.dynamic_shapes, strict=False)
    program = program.run_decompositions({})
    rewrite_(program.graph, half)
    try:
        return package.convert(
            program, minimum_deployment_target=target, compute_precision=precision, skip_model_load=True
        )
    except Exception as error:  # whatever its converters raise
        said = " ".join(str(error).split())[:300]
        if (found := re.search(UNKNOWN, said)) is not None:
            said = f"it does not know {unlowered(found[1], program.graph.nodes, graph.module)}"
        raise InputError(
            f"cannot export this model: coremltools cannot convert the graph {graph.name}: {said}"
        ) from None


def _named(package: Any, spec: Any, signature: Signature) -> Any:
    """The specification with the names and free sizes of the signature."""
    rename, sides = package.utils.rename_feature, spec.description
    for place, wanted in enumerate(signature.inputs):
        rename(spec, sides.input[place].name, wanted.name, rename_inputs=True, rename_outputs=False)
        shape = sides.input[place].type.multiArrayType.shapeRange.sizeRanges
        for dim, size in zip(wanted.dims, shape, strict=False):
            if isinstance(dim, str):
                size.lowerBound = 1  # torch.export takes free sizes to be 2 or more
    for place, output in enumerate(signature.outputs):
        rename(spec, sides.output[place].name, output, rename_inputs=False, rename_outputs=True)
    return spec
