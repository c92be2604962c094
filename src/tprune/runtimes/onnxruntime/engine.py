"""onnxruntime: a file for each graph, numpy in and out, no torch to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprune.core.graph import Dialect
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.runtime import Array
from tprune.support.errors import InputError

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

LARGEST = 2**31 - 2**24  # bytes; one protobuf file holds no more than 2 GiB


@dataclass(frozen=True)
class OnnxRuntime:
    """See `tprune.runtimes.runtime.Runtime`."""

    name: str = "onnxruntime"
    package: str = "onnxruntime"
    install: str = "pip install onnxruntime"
    precisions: tuple[str, ...] = ("fp32",)
    dialect: Dialect = "onnx23"

    def check(self, graphs: Sequence[Graph]) -> None:
        """Raises `InputError` for a graph that no ONNX file holds."""
        for graph in graphs:
            if graph.bytes > LARGEST:
                raise InputError(
                    f"cannot export this model: {graph.bytes} bytes in the graph {graph.name}; an ONNX file holds at "
                    f"most {LARGEST}"
                )

    def write(self, graphs: Sequence[Graph], folder: Path) -> None:
        """An ONNX file for each graph. Raises as `check`."""
        from tprune.runtimes.onnxruntime.lower import lower  # torch, which running them does not need

        self.check(graphs)
        for graph in graphs:
            lower(graph, folder / f"{graph.name}.onnx")

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
