"""torch eager and torch.compile, which run a checkpoint through the same graphs and searches as exported folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from tprune.core.graph import Dialect
from tprune.core.known_tasks import task_of
from tprune.core.precision import Precision
from tprune.counting.output_rows import written_rows
from tprune.families.graphs.graph import Graph, skeleton_of
from tprune.realise.checkpoint import load
from tprune.runtimes.layout import Layout
from tprune.runtimes.products import Product
from tprune.runtimes.runtime import REFERENCE, Array
from tprune.support.errors import InputError
from tprune.support.files import read_json
from tprune.support.machine import version_of

COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True)
class TorchReference:
    """See `tprune.runtimes.runtime.GraphRuntime`; it writes nothing.

    Attributes:
        name: `torch` or `torch-compile`.
        compiled: whether graphs are compiled, which needs a C++ compiler and takes a minute in every new process.
    """

    name: str
    compiled: bool
    package: str = "torch"
    install: str = "pip install torch"
    dialect: Dialect = "plain"

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """Checkpoints in single precision."""
        return None if precision.exact else f"a reference runs checkpoints in fp32; expected that, not {precision}"

    def multiple(self, precision: Precision) -> int:
        """Nothing was measured."""
        return 1

    def toolchain(self) -> Mapping[str, str]:
        """The libraries that run it."""
        found = {name: version_of(name) for name in ("torch", "transformers")}
        return {name: version for name, version in found.items() if version is not None}

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """Raises `InputError`: a checkpoint runs as it is."""
        raise InputError(f"runtime {self.name} runs checkpoints as they are; there is nothing to export")

    def open(self, folder: Path, layout: Layout, threads: int) -> TorchSession:
        """Loads the checkpoint that a folder stands for.

        Raises:
            InputError: it is gone, or a compiler is missing.
        """
        if self.compiled:
            check_compiler()
        torch.set_num_threads(threads)
        model = load(str(read_json(folder / REFERENCE)["model"]), dtype=torch.float32).eval()
        skeleton, task = skeleton_of(model), task_of(model)
        inputs = task.prompt(task.random(model))
        graphs = skeleton.graphs(model, task, inputs, self.dialect, written_rows(model))
        return TorchSession({graph.name: (graph, self._called(graph)) for graph in graphs})

    def _called(self, graph: Graph) -> Callable[..., Any]:
        if not self.compiled:
            return graph.module
        found: Callable[..., Any] = torch.compile(graph.module, dynamic=True)
        return found


@dataclass(frozen=True)
class TorchSession:
    """The graphs of a checkpoint by name, and what is called for each."""

    graphs: Mapping[str, tuple[Graph, Callable[..., Any]]]

    @torch.inference_mode()
    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See `tprune.runtimes.runtime.Session`."""
        known, called = self.graphs[graph]
        given = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in feeds.items()}
        found = known.by(called, given)
        return [found[name].numpy() for name in outputs]


def check_compiler() -> None:
    """Raises `InputError` where there is no C++ compiler for torch.compile."""
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise InputError(f"torch-compile needs a C++ compiler; none of {', '.join(COMPILERS)} is installed here")


REFERENCES: Final[Mapping[str, TorchReference]] = {
    name: TorchReference(name, compiled) for name, compiled in (("torch", False), ("torch-compile", True))
}
