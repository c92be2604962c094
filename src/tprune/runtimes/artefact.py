"""What an exported folder holds: its layout file `generation.json`, written by the exporter, read without torch."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.caches import Caches, LayerCache
from tprune.realise.model_files import check_kinds
from tprune.runtimes.generation import Generation, fault
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest

LAYOUT = "generation.json"
MISTAKEN = {"a run": "run.json", "a model": "config.json"}  # what has a file of that name
FORMAT = 1
VOCABULARY, POSITIONS = 10_000_000, 100_000  # more than any model has; what is read from a file asks for memory
SIZES = {"layer": 1000, "heads": 10_000, "key": 1_000_000, "value": 1_000_000}  # the largest of a layer's cache
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """All of `generation.json`: decoding, cache layout, limits in tokens, size of the model, manifest of the other files.

    `macs` are the multiply-accumulates of 25 source and 25 target tokens. `rows` are the tokens that the decoder knows,
    ascending (none: all); the decoder numbers them 0, 1, 2, ... `runtime` is the one that the folder is for.
    """

    generation: Generation
    cross: Caches
    past: Caches
    vocabulary: int
    source_positions: int
    parameters: int
    macs: int
    files: Manifest
    rows: tuple[int, ...] = ()
    runtime: str = "onnxruntime"

    @cached_property
    def decoding(self) -> Generation:
        """`generation` in the decoder's numbers; a forbidden word with a token that the decoder does not know is gone."""
        if not self.rows:
            return self.generation
        row, g = {token: row for row, token in enumerate(self.rows)}, self.generation
        return replace(
            g, decoder_start_token_id=row[g.decoder_start_token_id], pad_token_id=row[g.pad_token_id],
            eos_token_id=tuple(row[end] for end in g.eos_token_id),
            bad_words_ids=tuple(tuple(row[t] for t in word) for word in g.bad_words_ids if all(t in row for t in word)),
            forced_bos_token_id=None if g.forced_bos_token_id is None else row[g.forced_bos_token_id],
            forced_eos_token_id=tuple(row[end] for end in g.forced_eos_token_id),
        )  # fmt: skip

    @property
    def writable(self) -> int:
        """How many tokens the decoder knows."""
        return len(self.rows) or self.vocabulary

    def tokens(self, rows: Sequence[int] | Ints) -> Ints:
        """The tokens of the decoder's numbers."""
        numbers = np.asarray(rows, np.int64)
        return self._known[numbers] if self.rows else numbers

    def numbers(self, tokens: Sequence[int] | Ints) -> Ints:
        """The decoder's numbers of tokens that it knows."""
        ids = np.asarray(tokens, np.int64)
        return np.searchsorted(self._known, ids) if self.rows else ids

    @cached_property
    def _known(self) -> Ints:
        return np.array(self.rows, np.int64)  # once: every sentence asks

    def write(self, folder: Path) -> None:
        """Writes `generation.json` into `folder`."""
        written = {"format": FORMAT} | asdict(self) | {"files": self.files.to_dict()}
        (folder / LAYOUT).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def read_layout(folder: Path) -> Layout:
    """Reads and checks an exported folder.

    Raises:
        InputError: the folder or a file of it is missing, truncated or changed, naming it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected an exported model (encoder.onnx, decoder.onnx, {LAYOUT})")
    check_kinds(folder)
    path = folder / LAYOUT
    if not path.exists() and (what := [name for name, marker in MISTAKEN.items() if (folder / marker).exists()]):
        raise InputError(f"{folder}: {what[0]}, not an exported model; a run keeps those in onnx/dense and onnx/pruned")
    try:
        layout = _parse(json.loads(path.read_bytes().decode("utf-8")), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected an exported model") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a complete JSON file ({error}); export the model again") from None
    if wrong := layout.files.error(folder):
        raise InputError(f"{folder}/{wrong}; {LAYOUT} lists it otherwise; export the model again")
    return layout


def _parse(raw: Any, path: Path) -> Layout:
    try:
        if raw["format"] != FORMAT:
            raise InputError(f"{path}: format {raw['format']}; expected format {FORMAT}, export the model again")
        generation = {key: _tuples(value) for key, value in raw["generation"].items()}
        layout = Layout(
            Generation(**generation),
            tuple(LayerCache(**x) for x in raw["cross"]), tuple(LayerCache(**x) for x in raw["past"]),
            raw["vocabulary"], raw["source_positions"], raw["parameters"], raw["macs"],
            Manifest.from_dict(raw["files"]),
            tuple(raw.get("rows", ())), raw.get("runtime", "onnxruntime"),
        )  # fmt: skip
        # encoder and decoder of a model have equally many positions
        wrong = _fault(layout) or fault(layout.generation, layout.vocabulary, layout.source_positions)
        if wrong is not None:
            raise InputError(f"{path}: {wrong}; export the model again")
        _ = layout.decoding  # fails where the start, end or padding token has no row
        return layout
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not the layout of an exported model ({error}); export the model again") from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _fault(layout: Layout) -> str | None:
    """The first number of a layout, those of decoding aside, that no export writes; None where all are possible."""
    caches = [
        (f"{kind}.{size}", getattr(layer, size), 0, most)
        for kind, layers in (("cross", layout.cross), ("past", layout.past))
        for layer in layers
        for size, most in SIZES.items()
    ]
    numbers = [
        ("vocabulary", layout.vocabulary, 1, VOCABULARY), ("source_positions", layout.source_positions, 1, POSITIONS),
        ("parameters", layout.parameters, 0, None), ("macs", layout.macs, 0, None), *caches,
        *((f"files.{name}.bytes", stamp.bytes, 0, None) for name, stamp in layout.files.stamps.items()),
    ]  # fmt: skip
    for name, value, least, most in numbers:
        if type(value) is not int or value < least or (most is not None and value > most):
            to = f" to {most:,}" if most is not None else " or more"
            return f"{name} is {reprlib.repr(value)}; expected a whole number of {least}{to}"
    if strange := [name for name in layout.files.stamps if Path(name).name != name]:
        return f"files lists {strange[0]!r}; expected names of files beside it"
    rows = layout.rows
    if any(type(row) is not int for row in rows) or list(rows) != sorted(set(rows)) or not all(0 <= row < layout.vocabulary for row in rows):  # fmt: skip
        return f"rows are not ascending token ids below {layout.vocabulary}"
    if type(layout.runtime) is not str:
        return f"runtime is {reprlib.repr(layout.runtime)}; expected a name"
    return None
