"""What an exported folder says of itself in `layout.json`: graphs, sizes, limits, files."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tprune.core.graph import Signature, TensorSpec
from tprune.core.precision import FP32, NUMBERS, Precision
from tprune.realise.model_files import EXPORTED
from tprune.support.manifest import Manifest

LAYOUT = EXPORTED[0]
MODEL_SETTINGS = "model_settings.json"  # what of a model's configuration encodes data, beside the graphs of some
FORMAT = 2
LARGEST = 10_000_000  # of any size; what is read from a file asks for memory
DTYPES = ("int64", "int32", "float32", "bool")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All of `layout.json`.

    Attributes:
        task: by its name, what the model is for.
        phases: what it is timed by.
        graphs: their inputs, outputs and states.
        limits: the largest values of free sizes of the inputs, where there are any.
        parameters: of the model.
        macs: multiply-accumulates of the task's example.
        files: the manifest of the other files.
        runtime: that the folder is for.
        precision: that it computes in.
    """

    task: str
    phases: tuple[str, ...]
    graphs: tuple[Signature, ...]
    limits: Mapping[str, int] = field(default_factory=dict)
    parameters: int
    macs: int
    files: Manifest
    runtime: str = "onnxruntime"
    precision: Precision = FP32

    def graph(self, name: str) -> Signature:
        """The signature of a graph. Raises `KeyError` where there is none."""
        return {graph.name: graph for graph in self.graphs}[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it."""
        return {
            "format": FORMAT,
            "task": self.task,
            "phases": list(self.phases),
            "graphs": [_plain(graph) for graph in self.graphs],
            "limits": dict(self.limits),
            "parameters": self.parameters,
            "macs": self.macs,
            "files": self.files.to_dict(),
            "runtime": self.runtime,
            "precision": self.precision.name,
            "exceptions": list(self.precision.exceptions),
        }

    def write(self, folder: Path) -> None:
        """Writes `layout.json` into `folder`."""
        (folder / LAYOUT).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def faults(self) -> Iterator[str]:
        """What no export writes, as "name is value; expected ..."."""
        for name, value in (("parameters", self.parameters), ("macs", self.macs)):
            yield from whole(name, value, 0)
        for name, value in self.limits.items():
            yield from whole(f"limits.{name}", value, 1)
        for name, stamp in self.files.stamps.items():
            yield from whole(f"files.{name}.bytes", stamp.bytes, 0)
            if Path(name).name != name:
                yield f"files lists {name!r}; expected names of files beside it"
        for name, word in (("runtime", self.runtime), ("task", self.task)):
            if type(word) is not str:
                yield f"{name} is {reprlib.repr(word)}; expected a name"
        for graph in self.graphs:
            yield from _odd(graph)


def fields_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Layout`, from plain data.

    Raises `KeyError`, `TypeError` or `ValueError` for data of another kind.
    """
    return {
        "task": raw["task"],
        "phases": tuple(raw["phases"]),
        "graphs": tuple(_signature(graph) for graph in raw["graphs"]),
        "limits": dict(raw["limits"]),
        "parameters": raw["parameters"],
        "macs": raw["macs"],
        "files": Manifest.from_dict(raw["files"]),
        "runtime": raw["runtime"],
        "precision": _precision(raw["precision"], raw.get("exceptions", ())),
    }


def _precision(name: Any, exceptions: Any) -> Precision:
    """Raises `ValueError` for one that is not known."""
    if name not in NUMBERS or any(type(weight) is not str for weight in exceptions):
        raise ValueError(f"precision {reprlib.repr(name)}; expected one of {', '.join(NUMBERS)}")
    return Precision(name, tuple(exceptions))


def whole(name: str, value: Any, least: int, most: int | None = None) -> Iterator[str]:
    """A fault unless a value is a whole number in these bounds."""
    if type(value) is not int or value < least or (most is not None and value > most):
        to = f" to {most:,}" if most is not None else " or more"
        yield f"{name} is {reprlib.repr(value)}; expected a whole number of {least}{to}"


def _plain(graph: Signature) -> dict[str, Any]:
    inputs = [{"name": x.name, "dtype": x.dtype, "dims": list(x.dims), "fill": x.fill} for x in graph.inputs]
    states = [list(pair) for pair in graph.states]
    return {"name": graph.name, "inputs": inputs, "outputs": list(graph.outputs), "states": states}


def _signature(raw: Mapping[str, Any]) -> Signature:
    inputs = tuple(TensorSpec(x["name"], x["dtype"], tuple(x["dims"]), x["fill"]) for x in raw["inputs"])
    states = tuple((before, after) for before, after in raw["states"])
    return Signature(raw["name"], inputs, tuple(raw["outputs"]), states)


def _odd(graph: Signature) -> Iterator[str]:
    names = [spec.name for spec in graph.inputs]
    if type(graph.name) is not str or Path(graph.name).name != graph.name:
        yield f"graphs lists {graph.name!r}; expected the name of a file beside it"
    if any(type(name) is not str for name in (*names, *graph.outputs)) or len(set(names)) < len(names):
        yield f"the inputs of graph {graph.name} are {reprlib.repr(names)}; expected names that differ"
    for spec in graph.inputs:
        if spec.dtype not in DTYPES:
            yield f"{spec.name}.dtype is {reprlib.repr(spec.dtype)}; expected one of {', '.join(DTYPES)}"
        if type(spec.fill) is not int:
            yield f"{spec.name}.fill is {reprlib.repr(spec.fill)}; expected a whole number"
        for dim in spec.dims:
            if type(dim) is not str:
                yield from whole(f"{spec.name}.dims", dim, 0, LARGEST)
    for before, after in graph.states:
        if before not in names or after not in graph.outputs:
            yield f"a state of graph {graph.name} is {before!r} to {after!r}; expected an input and an output of it"
