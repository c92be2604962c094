"""Runs the graphs of a bundle as its manifest says: passes, forced steps, and greedy search from token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune_runtime.digest import Floats
from tprune_runtime.errors import InputError

Array = NDArray[Any]
Feeds = dict[str, Array]


class Graphs:
    """The opened graphs of a bundle."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        self.manifest = manifest
        self.specs = {graph["name"]: graph for graph in manifest["graphs"]}
        self.sessions: dict[str, Any] = {}
        for name, graph in self.specs.items():
            path = str(folder / graph["file"])
            try:
                self.sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime has one class per status code, none of them public
                raise InputError(f"{graph['file']}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
            found, expected = ([x.name for x in self.sessions[name].get_inputs()], [x["name"] for x in graph["inputs"]])
            if sorted(found) != sorted(expected):
                raise InputError(f"{graph['file']}: takes {', '.join(found)}; expected {', '.join(expected)}")

    def run(self, name: str, feeds: Feeds) -> Feeds:
        """The outputs of a graph by name."""
        names = [output["name"] for output in self.specs[name]["outputs"]]
        return dict(zip(names, self.sessions[name].run(names, feeds), strict=True))


class Decoder:
    """A graph with a cache, fed token by token; the cache begins empty."""

    def __init__(self, graphs: Graphs, rows: int, inputs: Feeds) -> None:
        self._graphs, self._step = graphs, graphs.manifest["step"]
        self._spec = graphs.specs[self._step["graph"]]
        specs = {each["name"]: each for each in self._spec["inputs"]}
        source = {**inputs, **graphs.run(self._step["encoder"], inputs)} if self._step["encoder"] else {}
        self._source = {name: x for name, x in source.items() if name in specs and name != self._step["tokens"]}
        self._past = {name: _nothing(specs[name], rows) for name, _ in self._spec["states"]}
        self._seen = 0

    def logits(self, tokens: Array) -> Floats:
        """Tokens `[N, T]` further (an encoder's decoder takes one): logits `[N, T, V]`."""
        feeds = {**self._source, self._step["tokens"]: tokens, **self._past}
        if self._step["position"]:
            feeds[self._step["position"]] = np.array([self._seen], np.int64)
        self._seen += tokens.shape[1]
        if self._step["mask"]:
            feeds[self._step["mask"]] = np.ones((len(tokens), self._seen), np.int64)
        found = self._graphs.run(self._step["graph"], feeds)
        self._past = {before: found[after] for before, after in self._spec["states"]}
        logits: Floats = found["logits"]
        return logits if logits.ndim == 3 else logits[:, None]

    def reorder(self, rows: Array) -> None:
        """Keeps, repeats or reorders rows of the cache."""
        self._past = {name: x[rows] for name, x in self._past.items()}

    def take(self, rows: Array) -> None:
        """As `reorder`, with the source of each row."""
        self._source = {name: x[rows] for name, x in self._source.items()}
        self.reorder(rows)


def replayed(graphs: Graphs, case: Mapping[str, Any]) -> tuple[list[int] | None, Floats]:
    """The token ids and the logits of a golden case; without ids where nothing is searched."""
    specs = {each["name"]: each for graph in graphs.specs.values() for each in graph["inputs"]}
    inputs = {name: _values(x, specs[name]["dtype"]) for name, x in case["inputs"].items()}
    rows = len(next(iter(inputs.values()))) if inputs else 1
    if "fed" in case:
        fed = np.array(case["fed"], np.int64)
        decoder = Decoder(graphs, len(fed), inputs)
        return None, np.concatenate([decoder.logits(fed[:, t : t + 1]) for t in range(fed.shape[1])], 1)
    if "ids" in case:
        return _greedy(Decoder(graphs, rows, inputs), case["begun"], len(case["ids"]), graphs.manifest)
    (graph,) = graphs.specs.values()
    past = {name: _nothing(specs[name], rows) for name, _ in graph["states"]}
    return None, graphs.run(graph["name"], {**inputs, **past})["logits"]


def _greedy(
    decoder: Decoder, begun: Sequence[int], steps: int, manifest: Mapping[str, Any]
) -> tuple[list[int], Floats]:
    said, fed, logits = list(begun), list(begun), []
    for _ in range(steps):
        logits.append(decoder.logits(np.array([fed], np.int64))[:, -1:])
        fed = [int(constrained(logits[-1][0, 0].copy(), said, manifest["decoding"]).argmax())]
        said += fed
    numbers = said[len(begun) :]
    return [manifest["rows"][at] for at in numbers] if manifest["rows"] else numbers, np.concatenate(logits, 1)


def constrained(scores: Floats, said: Sequence[int], g: Mapping[str, Any] | None) -> Floats:
    """One row's logits with what transformers' `generate` changes of them; they are changed in place."""
    if g is None:
        return scores
    length, size = len(said), g["no_repeat_ngram_size"]
    if g["repetition_penalty"] != 1:
        old, p = np.unique(said), g["repetition_penalty"]
        scores[old] = np.where(scores[old] < 0, scores[old] * p, scores[old] / p)
    for i in range(length - size + 1) if size else ():
        if said[i : i + size - 1] == said[length + 1 - size :]:
            scores[said[i + size - 1]] = -np.inf
    for word in g["bad_words_ids"]:
        if len(word) - 1 <= length and list(said[length + 1 - len(word) :]) == word[:-1]:
            scores[word[-1]] = -np.inf
    if length < g["min_length"]:
        scores[g["eos_token_id"]] = -np.inf
    for here, forced in ((1, g["forced_bos_token_id"]), (g["max_length"] - 1, g["forced_eos_token_id"])):
        if length == here and forced not in (None, []):
            scores[:] = -np.inf
            scores[forced] = 0
    return scores


def _nothing(spec: Mapping[str, Any], rows: int) -> Array:
    """A cache before the first step: free sizes are 0, but for that of the batch, which is first."""
    return np.zeros([rows, *(0 if isinstance(dim, str) else dim for dim in spec["dims"][1:])], spec["dtype"])


def _values(given: Mapping[str, Any], dtype: str) -> Array:
    """An input of a case: its values, or those of a pattern that any language can compute."""
    if "values" in given:
        return np.array(given["values"], dtype).reshape(given["shape"])
    return pattern(given["shape"], *given["pattern"]).astype(dtype)


def pattern(shape: Sequence[int], factor: int, modulus: int) -> Array:
    """Numbers of -1 to 1: number i is 2 ((i factor) mod modulus) / modulus - 1."""
    numbers = np.arange(np.prod(shape, dtype=np.int64)) * factor % modulus
    return (2 * numbers / modulus - 1).reshape(shape)
