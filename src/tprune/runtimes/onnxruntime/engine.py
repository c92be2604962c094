"""onnxruntime: two graphs, numpy in between, no torch to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.caches import Caches
from tprune.runtimes.artefact import LAYOUT, Layout
from tprune.runtimes.decoding import Floats, Ints
from tprune.support.errors import InputError

GRAPHS = ("encoder.onnx", "decoder.onnx")
LARGEST = 2**31 - 2**24  # bytes; one protobuf file holds no more than 2 GiB
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class OnnxRuntime:
    """See `tprune.runtimes.runtime.Runtime`."""

    name: str = "onnxruntime"
    package: str = "onnxruntime"
    install: str = "pip install onnxruntime"
    precisions: tuple[str, ...] = ("fp32",)

    def check(self, model: Any) -> None:
        """Raises `InputError` for a model that no ONNX file holds."""
        stacks = (model.model.encoder, model.model.decoder)
        size = 4 * max(sum(p.numel() for p in stack.parameters()) for stack in stacks)
        if size > LARGEST:
            raise InputError(
                f"cannot export this {type(model).__name__}: {size} bytes in one graph; an ONNX file holds at most {LARGEST}"
            )

    def write(self, model: Any, folder: Path, rows: Sequence[int]) -> tuple[Caches, Caches]:
        """Two ONNX graphs. Raises as `check`."""
        from tprune.families.graphs.encoder_decoder import write_graphs  # torch, which running them does not need

        self.check(model)
        return write_graphs(model, folder, rows)

    def open(self, folder: Path, layout: Layout, threads: int) -> OnnxEngine:
        """Two sessions. Raises `InputError` for a missing or broken graph."""
        if missing := [name for name in GRAPHS if name not in layout.files.stamps]:
            raise InputError(f"{folder / LAYOUT}: lists no {missing[0]}; export the model again")
        encoder, decoder = (_session(folder / name, threads) for name in GRAPHS)
        return OnnxEngine(layout, encoder, decoder)


ONNXRUNTIME = OnnxRuntime()


@dataclass(frozen=True)
class OnnxEngine:
    """The two sessions of an exported folder."""

    layout: Layout
    encoder: Any
    decoder: Any

    def start(self, rows: Ints, mask: Ints) -> OnnxSteps:
        """See `tprune.runtimes.runtime.Engine`."""
        names = [name for layer in self.layout.cross for name in layer.names("cross")]
        cross = self.encoder.run(names, {"input_ids": rows, "attention_mask": mask})
        past = {
            name: np.zeros((len(rows), layer.heads, 0, size), np.float32)
            for layer in self.layout.past
            for name, size in zip(layer.names("past"), (layer.key, layer.value), strict=True)
        }
        outputs = ["logits", *(name for layer in self.layout.past for name in layer.names("present"))]
        return OnnxSteps(self.decoder, outputs, {"attention_mask": mask} | dict(zip(names, cross, strict=True)), past)


class OnnxSteps:
    """The state of a batch in onnxruntime, in the decoder's numbers: see `tprune.runtimes.runtime.State`."""

    def __init__(self, decoder: Any, outputs: list[str], source: Arrays, past: Arrays) -> None:
        self._decoder, self._outputs, self._source, self._past = decoder, outputs, source, past
        self._position = 0

    def logits(self, tokens: Ints) -> Floats:
        """One step: tokens `[N]` to logits `[N, V]`."""
        logits, present = self.peek(tokens)
        self._past = dict(zip(self._past, present, strict=True))
        self._position += 1
        return logits

    def peek(self, tokens: Ints) -> tuple[Floats, list[Floats]]:
        """The step `logits` makes, without taking it: logits and grown caches."""
        feeds = {"input_ids": tokens[:, None], "position": np.array([self._position])} | self._source | self._past
        logits, *present = self._decoder.run(self._outputs, feeds)
        return logits, present

    def take(self, rows: Ints) -> None:
        """Rows of caches and sources."""
        self._source = {name: x[rows] for name, x in self._source.items()}
        self.reorder(rows)

    def reorder(self, rows: Ints) -> None:
        """Rows of the self-attention caches only: beams of one sentence share their source."""
        self._past = {name: x[rows] for name, x in self._past.items()}


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # two sessions take turns: threads of the one that rests must not spin on the other's cores
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class per status code, none of them public
        raise InputError(f"{path}: onnxruntime cannot load it ({str(error).splitlines()[0][:200]})") from None
