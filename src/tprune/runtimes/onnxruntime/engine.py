"""onnxruntime: a file for each graph, numpy in and out, no torch to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprune.core.graph import Dialect
from tprune.core.precision import Precision
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.products import Product
from tprune.runtimes.runtime import Array
from tprune.support.errors import InputError
from tprune.support.machine import version_of

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

QUANTIZED = ("int8", "int8-weights", "int4-weights")
LARGEST = 2**31 - 2**24  # bytes; one protobuf file holds no more than 2 GiB


@dataclass(frozen=True)
class OnnxRuntime:
    """See `tprune.runtimes.runtime.Runtime`."""

    name: str = "onnxruntime"
    package: str = "onnxruntime"
    install: str = "pip install onnxruntime"
    dialect: Dialect = "onnx23"

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """All builds, in all precisions but bfloat16."""
        if precision.name in QUANTIZED or precision.exact:
            return None
        return f"its kernels for the CPU have no {precision.name}; expected fp32 or one of {', '.join(QUANTIZED)}"

    def multiple(self, precision: Precision) -> int:
        """No sizes are faster than those beside them, but where weights lie in blocks."""
        return 1

    def toolchain(self) -> Mapping[str, str]:
        """The exporter and its libraries."""
        found = {name: version_of(name) for name in ("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime")}
        return {name: version for name, version in found.items() if version is not None}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Raises `InputError` for a graph that no ONNX file holds."""
        for graph in graphs:
            if graph.bytes > LARGEST:
                raise InputError(
                    f"cannot export this model: {graph.bytes} bytes in the graph {graph.name}; an ONNX file holds at "
                    f"most {LARGEST}"
                )

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """An ONNX file for each graph. Raises as `check`."""
        from tprune.runtimes.onnxruntime.forms import FORMS
        from tprune.runtimes.onnxruntime.lower import lower  # torch, which running them does not need
        from tprune.runtimes.onnxruntime.quantise import quantise

        self.check(graphs)
        products: list[Product] = []
        for graph in graphs:
            path = folder / f"{graph.name}.onnx"
            lower(graph, path)
            if not precision.exact:
                found = quantise(graph, path, path, FORMS[precision.name], precision.exceptions)
                products += [Product(graph.name, c.names, c.shape, c.precision, c.after, c.why) for c in found]
        return products

    def open(self, folder: Path, layout: Layout, threads: int) -> OnnxSession:
        """A session for each graph. Raises `InputError` for a missing or broken file."""
        files = {graph.name: f"{graph.name}.onnx" for graph in layout.graphs}
        if missing := [file for file in files.values() if file not in layout.files.stamps]:
            raise InputError(f"{folder / LAYOUT}: lists no {missing[0]}; export the model again")
        return OnnxSession({name: _session(folder / file, threads) for name, file in files.items()})


ONNXRUNTIME = OnnxRuntime()


@dataclass(frozen=True)
class OnnxSession:
    """The sessions of an exported folder, by graph."""

    sessions: Mapping[str, Any]

    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See `tprune.runtimes.runtime.Session`."""
        found: list[Array] = self.sessions[graph].run(list(outputs), dict(feeds))
        return found


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # sessions take turns: threads of the one that rests must not spin on the other's cores
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class per status code, none of them public
        raise InputError(f"{path}: onnxruntime cannot load it ({str(error).splitlines()[0][:200]})") from None
