"""Translating with an exported folder: numpy, onnxruntime and tokenizers, no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tprune.errors import InputError
from tprune.runtimes.onnx_folder import GRAPHS, Layout, read_layout
from tprune.runtimes.onnx_search import Floats, Ints, beam, greedy
from tprune.runtimes.onnx_tokens import Tokens, load_tokens

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Translator:
    """An exported model, ready to run.

    Example:
        ```python
        Translator.load("small").translate(["Two dogs play in the snow."])  # ["Zwei Hunde spielen im Schnee."]
        ```
    """

    layout: Layout
    tokens: Tokens
    encoder: Any
    decoder: Any

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> Translator:
        """Opens an exported folder; `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing, truncated or changed (naming it), or there are not as many cores as `threads`.
        """
        folder = Path(folder)
        cores = os.cpu_count() or 1
        if not 1 <= threads <= cores:
            raise InputError(f"threads {threads}; expected 1 to {cores}, the cores of this machine")
        layout = read_layout(folder)
        tokens = load_tokens(folder)
        return Translator(layout, tokens, *(_session(folder / name, threads) for name in GRAPHS))

    def translate(self, sentences: Sequence[str], beams: int | None = None, batch: int = 8) -> list[str]:
        """Translates the sentences, `batch` of like length at a time; `beams` as exported unless given (1 is greedy).

        A blank sentence stays blank.

        Raises:
            InputError: a sentence has more tokens than the model has positions, naming its number.
        """
        ids = self.encode(sentences)
        filled = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        said = [""] * len(ids)
        for i, text in zip(
            filled, self.tokens.decode(self.generate([ids[i] for i in filled], beams, batch)), strict=True
        ):
            said[i] = text
        return said

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids with the end token. Raises `InputError` for a sentence that is too long."""
        ids = self.tokens.encode(sentences)
        for number, row in enumerate(ids, start=1):
            if len(row) > self.layout.source_positions:
                raise InputError(
                    f"sentence {number} has {len(row)} tokens; the model takes at most {self.layout.source_positions}"
                )
        return ids

    def generate(self, ids: Sequence[Sequence[int]], beams: int | None = None, batch: int = 8) -> list[list[int]]:
        """Target ids for source ids, in the order given. Raises `InputError` when `beams` or `batch` is below 1."""
        if batch < 1:
            raise InputError(f"batch {batch}; expected at least 1")
        beams = self.layout.generation.num_beams if beams is None else beams
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out: list[list[int]] = [[] for _ in ids]
        for start in range(0, len(order), batch):
            group = order[start : start + batch]
            rows = [ids[i] for i in group]
            for i, row in zip(group, self.greedy(rows) if beams == 1 else self.beam(rows, beams), strict=True):
                out[i] = row
        return out

    def greedy(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """One batch, the likeliest token each time; ids without the start token."""
        return self._said(greedy(self.start(ids), len(ids), self.layout.decoding)) if ids else []

    def beam(self, ids: Sequence[Sequence[int]], beams: int) -> list[list[int]]:
        """One batch, beam search as transformers' `generate(num_beams=beams)`. Raises `InputError` below 1 beam."""
        kept = max(2, 1 + len(self.layout.generation.eos_token_id)) * beams
        if not 0 < kept <= self.layout.writable:
            raise InputError(
                f"beams {beams}; expected at least 1, and few for the vocabulary of {self.layout.writable}"
            )
        return self._said(beam(self.start(ids), len(ids), beams, self.layout.decoding)) if ids else []

    def _said(self, rows: list[list[int]]) -> list[list[int]]:
        """Token ids, for what the decoder calls them."""
        return [self.layout.tokens(row).tolist() for row in rows] if self.layout.rows else rows

    def start(self, ids: Sequence[Sequence[int]]) -> OnnxSteps:
        """Pads one batch, runs the encoder and gives the decoder's first state."""
        width = max(map(len, ids))
        rows = np.full((len(ids), width), self.layout.generation.pad_token_id, np.int64)
        mask = np.zeros((len(ids), width), np.int64)
        for i, row in enumerate(ids):
            rows[i, : len(row)], mask[i, : len(row)] = row, 1
        names = [name for layer in self.layout.cross for name in layer.names("cross")]
        cross = self.encoder.run(names, {"input_ids": rows, "attention_mask": mask})
        past = {
            name: np.zeros((len(ids), layer.heads, 0, size), np.float32)
            for layer in self.layout.past
            for name, size in zip(layer.names("past"), (layer.key, layer.value), strict=True)
        }
        outputs = ["logits", *(name for layer in self.layout.past for name in layer.names("present"))]
        return OnnxSteps(self.decoder, outputs, {"attention_mask": mask} | dict(zip(names, cross, strict=True)), past)


class OnnxSteps:
    """The state of a batch in onnxruntime, in the decoder's numbers: see `tprune.runtimes.onnx_search.Steps`."""

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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # two sessions take turns: threads of the one that rests must not spin on the other's cores
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class per status code, none of them public
        raise InputError(f"{path}: onnxruntime cannot load it ({str(error).splitlines()[0][:200]})") from None
