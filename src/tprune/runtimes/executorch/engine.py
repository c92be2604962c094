"""ExecuTorch: a `.pte` for each graph, whose products XNNPACK computes. Running them needs torch, for its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tprune.core.graph import BATCH, Dialect, Signature
from tprune.core.precision import Precision
from tprune.runtimes.executorch.package import INSTALL, RUNS, module
from tprune.runtimes.executorch.sizes import ROWS
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.products import Product
from tprune.runtimes.runtime import Array
from tprune.runtimes.written import unwritten
from tprune.support.errors import InputError
from tprune.support.machine import version_of
from tprune_runtime.panics import quiet_panics

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

PRECISIONS = ("fp32", "int8")
MAKERS = ("torch", "executorch", "torchao")


@dataclass(frozen=True)
class ExecuTorch:
    """See `tprune.runtimes.runtime.Runtime`."""

    name: str = "executorch"
    package: str = "executorch"
    install: str = INSTALL
    dialect: Dialect = "masked"

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """All builds, in single precision and int8."""
        return unwritten(precision, PRECISIONS, "XNNPACK")

    def multiple(self, precision: Precision) -> int:
        """No sizes are faster than those beside them."""
        return 1

    def seconds(self, precision: Precision) -> float:
        """As taken on a Marian 128 wide of 3+2 layers; see `tprune.runtimes.runtime.Slow`."""
        return 13.0 if precision.exact else 22.0

    def toolchain(self) -> Mapping[str, str]:
        """The exporter, executorch, and torchao, which quantizes."""
        found = {name: version_of(name) for name in MAKERS}
        return {name: version for name, version in found.items() if version is not None}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Raises `InputError` where executorch is not installed."""
        module(RUNS)

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """A `.pte` for each graph. Raises as `check`, and for exceptions that are no parameters."""
        from tprune.runtimes.executorch.lower import lower  # torch's exporter

        self.check(graphs)
        made = [lower(graph, folder / f"{graph.name}.pte", precision, self.toolchain()) for graph in graphs]
        return [product for each in made for product in each]

    def open(self, folder: Path, layout: Layout, threads: int) -> ExecuTorchSession:
        """A program for each graph; the threads are those of the process.

        Raises `InputError` for a missing or broken file, and where executorch is not installed.
        """
        files = {graph.name: f"{graph.name}.pte" for graph in layout.graphs}
        if missing := [file for file in files.values() if file not in layout.files.stamps]:
            raise InputError(f"{folder / LAYOUT}: lists no {missing[0]}; export the model again")
        library = module(RUNS)
        with quiet_panics():  # what C++ writes of the processor goes there too
            library._unsafe_reset_threadpool(threads)
        return ExecuTorchSession(
            {graph.name: Program(graph, _program(library, folder / files[graph.name])) for graph in layout.graphs}
        )


EXECUTORCH = ExecuTorch()


@dataclass(frozen=True)
class ExecuTorchSession:
    """The programs of an exported folder, by graph."""

    programs: Mapping[str, Program]

    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See `tprune.runtimes.runtime.Session`."""
        return self.programs[graph].run(feeds, outputs)


@dataclass(frozen=True)
class Program:
    """A graph and what executes it, which takes at most `ROWS` rows at a time.

    Attributes:
        signature: of the graph.
        program: an `ExecuTorchModule`.
    """

    signature: Signature
    program: Any

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Outputs by name; those of many rows are computed in pieces."""
        batched = [spec.name for spec in self.signature.inputs if spec.dims[:1] == (BATCH,)]
        rows = max((len(feeds[name]) for name in batched), default=0)
        pieces = [
            self._piece({name: x[start : start + ROWS] if name in batched else x for name, x in feeds.items()})
            for start in range(0, max(rows, 1), ROWS)
        ]
        found = [{name: each[name] for name in outputs} for each in pieces]
        if len(found) == 1:
            return list(found[0].values())
        return [np.concatenate([each[name] for each in found]) for name in outputs]

    def _piece(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = self.program.forward([_tensor(feeds[spec.name]) for spec in self.signature.inputs])
        except RuntimeError as error:
            shapes = ", ".join(f"{spec.name} {feeds[spec.name].shape}" for spec in self.signature.inputs)
            raise InputError(
                f"graph {self.signature.name}: executorch cannot run {shapes} ({str(error)[:100]}); expected no larger "
                "sizes than it was exported for"
            ) from None
        return {name: x.numpy() for name, x in zip(self.signature.outputs, found, strict=True)}


def _tensor(x: Array) -> Any:
    """A tensor that lies as executorch wants it; of other strides, it ends the process."""
    import torch

    own = torch.from_numpy(np.require(x, None, ["C", "W"]))
    return own if x.size else torch.empty(x.shape, dtype=own.dtype)  # without elements, numpy's strides are any


def _program(library: Any, path: Path) -> Any:
    try:
        with quiet_panics():  # the error says the same
            found = library._load_for_executorch(str(path))
            found.method_meta("forward")  # the file is read here, not before
            return found
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: executorch cannot load it ({said})") from None
