"""onnxruntime: a file for each graph, numpy in and out, no torch to run them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprune.core.graph import Dialect, Signature, TensorSpec
from tprune.core.precision import Precision
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.products import Product, Use
from tprune.runtimes.runtime import Array
from tprune.support.errors import InputError
from tprune.support.machine import version_of

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph

QUANTIZED = ("int8", "int8-static", "int8-greedy", "int8-weights", "int4-weights")
GREEDY = "int8-greedy"
BLOCKS = (GREEDY, "int4-weights")  # precisions that store embeddings in blocks
STEPPING = "encoder-decoder"  # the build whose steps are a graph of their own
PASSING = "single-pass"
OPSETS = ((21, "1.20"), (22, "1.22"), (23, "1.23"), (24, "1.24"))  # the newest opset, and the version that runs it
WRITTEN = (21, 22, 23)  # opsets; the last has an operator for attention
OWN = {"GatherBlockQuantized": "1.23"}  # of onnxruntime's own operators those that are newer than the oldest version
LARGEST = 2**31 - 2**24  # bytes; one protobuf file holds no more than 2 GiB


@dataclass(frozen=True)
class OnnxRuntime:
    """See `tprune.runtimes.runtime.Runtime`.

    Attributes:
        opset: of the operators in its files: 21, 22 or 23; versions of onnxruntime read those up to their own.

    Raises:
        InputError: another opset.
    """

    name: str = "onnxruntime"
    package: str = "onnxruntime"
    install: str = "pip install onnxruntime"
    opset: int = WRITTEN[-1]

    def __post_init__(self) -> None:
        if self.opset not in WRITTEN:
            raise InputError(f"opset {self.opset}; expected one of {', '.join(map(str, WRITTEN))}")

    @property
    def dialect(self) -> Dialect:
        """Attention as one operator where the opset has it, else written out."""
        return "onnx23" if self.opset >= WRITTEN[-1] else "masked"

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """All builds, in all precisions but bfloat16; of some precisions those builds that they are for."""
        if precision.name == GREEDY and skeleton != STEPPING:
            return f"{GREEDY} is for the steps of models that translate; expected int8"
        if precision.name in BLOCKS and self.opset < WRITTEN[-1]:
            return f"onnxruntime 1.20 to 1.22 do not look rows up in blocks; expected opset {WRITTEN[-1]}, or int8"
        if precision.numbers.calibrated and skeleton != PASSING:
            said = "is for models that run in one pass, in steps it is less exact and no faster"
            return f"{precision.name} {said}; expected int8"
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
        from tprune.runtimes.onnxruntime.lower import lower  # torch, which running them does not need

        self.check(graphs)
        for graph in graphs:
            lower(graph, folder / f"{graph.name}.onnx", self.opset)
        return () if precision.exact else self.rounded(graphs, folder, folder, precision)

    def rounded(self, graphs: Sequence[Graph], source: Path, folder: Path, precision: Precision) -> Sequence[Product]:
        """See `tprune.runtimes.runtime.Rounding`."""
        from tprune.runtimes.onnxruntime.forms import form_of
        from tprune.runtimes.onnxruntime.quantize import calibrate, quantize

        products: list[Product] = []
        for graph in graphs:
            before, after = (where / f"{graph.name}.onnx" for where in (source, folder))
            if precision.numbers.calibrated:
                found = calibrate(graph, before, after, precision.exceptions)
            else:
                found = quantize(graph, before, after, form_of(precision.name, graph.signature), precision.exceptions)
            products += [Product(graph.name, c.names, c.shape, c.precision, c.after, c.why) for c in found]
        return products

    def held(self, use: Use, rows: int, numbers: int, precision: Precision) -> int:
        """As the form of the precision says."""
        from tprune.runtimes.onnxruntime import forms

        return forms.held(precision.name, use, rows, numbers)

    def open(self, folder: Path, layout: Layout, threads: int) -> OnnxSession:
        """A session for each graph. Raises `InputError` for a missing or broken file."""
        files = {graph.name: f"{graph.name}.onnx" for graph in layout.graphs}
        if missing := [file for file in files.values() if file not in layout.files.stamps]:
            raise InputError(f"{folder / LAYOUT}: lists no {missing[0]}; export the model again")
        return OnnxSession({name: _session(folder / file, threads) for name, file in files.items()})

    def oldest(self, folder: Path, layout: Layout) -> str:
        """The first version with the operators of its graphs; the installed one where they are newer than known."""
        models = [_model(folder, graph) for graph in layout.graphs]
        opset = max((one.version for model in models for one in model.opset_import if not one.domain), default=0)
        known = next((version for newest, version in OPSETS if opset <= newest), version_of(self.package) or "0")
        own = {OWN[node.op_type] for model in models for node in model.graph.node if node.op_type in OWN}
        return max((known, *own), key=_numbers)

    def outputs(self, folder: Path, layout: Layout) -> Mapping[str, Sequence[TensorSpec]]:
        """As its files declare them; free sizes are called as those of the inputs."""
        return {graph.name: _outputs(graph, _model(folder, graph).graph) for graph in layout.graphs}


ONNXRUNTIME = OnnxRuntime()


@dataclass(frozen=True)
class OnnxSession:
    """The sessions of an exported folder, by graph."""

    sessions: Mapping[str, Any]

    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See `tprune.runtimes.runtime.Session`."""
        found: list[Array] = self.sessions[graph].run(list(outputs), dict(feeds))
        return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _model(folder: Path, graph: Signature) -> Any:
    import onnx

    return onnx.load(folder / f"{graph.name}.onnx", load_external_data=False)


def _outputs(graph: Signature, file: Any) -> list[TensorSpec]:
    """The outputs of an ONNX file; what the exporter calls a free size, such as s72, has its name in the signature."""
    import onnx

    inputs = {x.name: x.type.tensor_type.shape.dim for x in file.input}
    pairs = [pair for spec in graph.inputs for pair in zip(spec.dims, inputs[spec.name], strict=True)]
    names = {dim.dim_param: ours for ours, dim in pairs if dim.dim_param and isinstance(ours, str)}

    def called(dim: Any, place: int) -> int | str:
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
        return re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param) or f"size{place}"

    found = []
    for value in file.output:
        tensor = value.type.tensor_type
        dims = tuple(called(dim, place) for place, dim in enumerate(tensor.shape.dim))
        found.append(TensorSpec(value.name, str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), dims))
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
