"""OpenVINO: an `.xml` and a `.bin` for each graph, numpy in and out, no torch and no onnx to run them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tprune.core.graph import Dialect
from tprune.core.precision import Precision
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.openvino.package import INSTALL, openvino
from tprune.runtimes.openvino.settings import ALL, FALLS_BACK, STORED, lacks, settings
from tprune.runtimes.products import Product
from tprune.runtimes.runtime import Array
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.machine import version_of

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph


@dataclass(frozen=True)
class OpenVino:
    """See `tprune.runtimes.runtime.Runtime`."""

    name: str = "openvino"
    package: str = "openvino"
    install: str = INSTALL
    dialect: Dialect = "masked"
    features: frozenset[str] | None = None  # instructions of the processor; None for those of this one

    def anywhere(self) -> OpenVino:
        """See `tprune.runtimes.runtime.ProcessorBound`."""
        return replace(self, features=ALL)

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """All builds; bf16 and int8 where the processor has instructions for it."""
        if precision.name not in STORED:
            return f"no {precision.name} weights are written for it; expected one of {', '.join(STORED)}"
        if precision.name == "bf16" and precision.exceptions:
            return "in bf16 it multiplies every matrix so; expected no exceptions"
        if precision.name == "bf16" and skeleton == "decoder-only":
            # a division by zero inside the plug-in of 2026.4.1, on a processor with amx_bf16, ends the whole process
            return "in bf16 it breaks down over decoders without an encoder; expected fp32, int8 or int8-weights"
        return lacks(precision.name, self.features)

    def multiple(self, precision: Precision) -> int:
        """No sizes are faster than those beside them."""
        return 1

    def toolchain(self) -> Mapping[str, str]:
        """The exporter to ONNX, its libraries, and openvino."""
        found = {name: version_of(name) for name in ("torch", "onnx", "onnxscript", "onnx-ir", "openvino")}
        return {name: version for name, version in found.items() if version is not None}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Raises `InputError` where openvino is not installed, and for a graph that no ONNX file holds."""
        openvino()
        ONNXRUNTIME.check(graphs)

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """An `.xml` and a `.bin` for each graph. Raises as `check`, and for exceptions that are no parameters."""
        from tprune.runtimes.openvino.lower import lower

        self.check(graphs)
        return [product for graph in graphs for product in lower(graph, folder, precision)]

    def open(self, folder: Path, layout: Layout, threads: int) -> OpenVinoSession:
        """A compiled model for each graph.

        Raises `InputError` for a missing or broken file, and where openvino is not installed.
        """
        files = {graph.name: [f"{graph.name}.{end}" for end in ("xml", "bin")] for graph in layout.graphs}
        if missing := [file for pair in files.values() for file in pair if file not in layout.files.stamps]:
            raise InputError(f"{folder / LAYOUT}: lists no {missing[0]}; export the model again")
        computed = layout.precision.name
        if (why := lacks(computed)) is not None:
            computed = FALLS_BACK[computed]
            warnings.warn(
                f"{folder}: exported in {layout.precision.name}, but {why}; runs in {computed}", TpruneWarning, 2
            )
        asked = settings(computed, threads)
        return OpenVinoSession({name: _compiled(folder / xml, asked) for name, (xml, _) in files.items()})


OPENVINO = OpenVino()


@dataclass(frozen=True)
class OpenVinoSession:
    """The compiled graphs of an exported folder, by name."""

    graphs: Mapping[str, Compiled]

    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See `tprune.runtimes.runtime.Session`."""
        return self.graphs[graph].run(feeds, outputs)


@dataclass(frozen=True)
class Compiled:
    """A graph and its one request, which is called by numbers: names cost a small model a third of its time.

    Attributes:
        request: an `openvino.InferRequest`.
        tensor: makes a tensor of an array, whose memory it shares.
        inputs: their names, in order.
        outputs: numbers by name.
    """

    request: Any
    tensor: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: Mapping[str, int]

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Outputs by name, as copies: the request writes the next ones over its own."""
        given = [np.ascontiguousarray(feeds[name]) for name in self.inputs]  # held here while their memory is read
        for number, each in enumerate(given):
            self.request.set_input_tensor(number, self.tensor(each, shared_memory=True))
        self.request.infer(share_outputs=True)
        return [self.request.get_output_tensor(self.outputs[name]).data.copy() for name in outputs]


def _compiled(path: Path, asked: Mapping[str, Any]) -> Compiled:
    package = openvino()
    core = package.Core()
    try:
        model = core.compile_model(core.read_model(path), "CPU", dict(asked))
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        raise InputError(f"{path}: openvino cannot load it ({said[-1][:200]})") from None
    inputs = tuple(each.get_any_name() for each in model.inputs)
    outputs = {name: number for number, each in enumerate(model.outputs) for name in each.get_names()}
    return Compiled(model.create_infer_request(), package.Tensor, inputs, outputs)
