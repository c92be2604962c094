"""Core ML: an ML program for each graph. Nothing of it runs here, so nothing of it is compared with PyTorch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tprune.core.graph import Dialect
from tprune.core.precision import Precision
from tprune.runtimes.coreml.package import INSTALL, coremltools
from tprune.runtimes.layout import Layout
from tprune.runtimes.products import Product
from tprune.runtimes.written import unwritten
from tprune.support.errors import InputError
from tprune.support.machine import version_of

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

WRITTEN = ("fp32", "fp16")


@dataclass(frozen=True)
class CoreMl:
    """See `tprune.runtimes.runtime.GraphRuntime` and `Elsewhere`."""

    name: str = "coreml"
    package: str = "coremltools"
    install: str = INSTALL
    dialect: Dialect = "masked"
    runs_on: str = "iOS 17, macOS 14 and newer"

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """All builds, in single and in half precision."""
        if precision.exceptions and precision.name in WRITTEN:
            return f"it leaves no single weights in fp32, such as {precision.exceptions[0]}; expected no exceptions"
        return unwritten(precision, WRITTEN, "it")

    def multiple(self, precision: Precision) -> int:
        """Nothing was measured."""
        return 1

    def toolchain(self) -> Mapping[str, str]:
        """The exporter and the converter."""
        found = {name: version_of(name) for name in ("torch", "coremltools")}
        return {name: version for name, version in found.items() if version is not None}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Raises `InputError` where coremltools is not installed."""
        coremltools()

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """A packed `.mlpackage` for each graph.

        Raises `InputError` where coremltools is not installed, or cannot convert a graph.
        """
        from tprune.runtimes.coreml.lower import lower

        self.check(graphs)
        for graph in graphs:
            lower(graph, folder / f"{graph.name}.mlpackage.zip", half=precision.name == "fp16")
        return ()

    def open(self, folder: Path, layout: Layout, threads: int) -> NoReturn:
        """Raises `InputError`: it does not run here."""
        raise InputError(f"{folder}: exported for Core ML, which runs on {self.runs_on} and not here")


COREML = CoreMl()
