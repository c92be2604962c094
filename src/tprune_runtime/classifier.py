"""Classifies with a bundle: texts, or the inputs of the graph as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tprune_runtime.batches import by_length, padded
from tprune_runtime.decoding import Floats, log_softmax
from tprune_runtime.errors import InputError
from tprune_runtime.manifest import read_manifest, whole
from tprune_runtime.replay import Array, Graphs
from tprune_runtime.texts import check_texts
from tprune_runtime.tokens import Tokens, load_tokens

TEXT = ("input_ids", "attention_mask")
CLASSES = "text-classification"


@dataclass(frozen=True)
class Label:
    """A class, and how likely it is."""

    name: str
    probability: float


@dataclass(frozen=True)
class Classifier:
    """A bundle of a model that says one of some classes in one pass.

    Attributes:
        graphs: opened; there is one.
        tokens: the tokeniser; none for a model that reads no text.
        labels: names of the classes, in order; empty where they have none.
        pad: the id that fills texts.
        most: tokens of a text; None where there is no limit.

    Example:
        ```python
        Classifier.load("app/model").classify(["A charming journey."])  # [Label("positive", 0.98)]
        ```
    """

    graphs: Graphs
    tokens: Tokens | None
    labels: tuple[str, ...]
    pad: int
    most: int | None

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> Classifier:
        """Opens a bundle.

        Args:
            folder: of the bundle.
            threads: of one operation.

        Raises:
            InputError: no bundle, one of a model that does not run in one pass, or one with a damaged file, naming it.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        with whole(folder):
            if manifest["step"] is not None or len(manifest["graphs"]) != 1:
                raise InputError(f"{folder}: a model for {manifest['task']}; expected one that runs in one pass")
            tokens = load_tokens(folder) if manifest["tokenizer"] else None
            pad, most = int(manifest["ids"]["pad"] or 0), manifest["limits"].get("tokens")
            return Classifier(Graphs(folder, manifest, threads), tokens, tuple(manifest.get("labels", ())), pad, most)

    def logits(self, inputs: Mapping[str, Array]) -> Floats:
        """The logits `[N, classes]` (of tokens `[N, length, classes]`) of a batch.

        Args:
            inputs: of the graph by name, such as `pixel_values` `[N, 3, height, width]`, encoded as in training.

        Raises:
            InputError: other inputs than the graph has.
        """
        (graph,) = self.graphs.specs.values()
        names = [each["name"] for each in graph["inputs"]]
        if sorted(inputs) != sorted(names):
            raise InputError(f"inputs {', '.join(sorted(inputs)) or 'none'}; expected {', '.join(names)}")
        found: Floats = self.graphs.run(graph["name"], dict(inputs))["logits"]
        return found

    def classify(self, texts: Sequence[str], batch: int = 8) -> list[Label]:
        """The likeliest class of each text. Of one that is too long the beginning stays, and the end token.

        Args:
            texts: to classify.
            batch: how many of like length run at once.

        Raises:
            InputError: a model that reads no text or has no classes, or a text that is none, naming its number.
        """
        rows, found = self._encoded(texts), [Label("", 0.0)] * len(texts)
        for group in by_length(rows, batch):
            likely = np.exp(log_softmax(self._passed([rows[i] for i in group])))
            for i, row in zip(group, likely, strict=True):
                best = int(row.argmax())
                found[i] = Label(self.labels[best] if self.labels else str(best), float(row[best]))
        return found

    def _passed(self, rows: Sequence[Sequence[int]]) -> Floats:
        (graph,) = self.graphs.specs.values()
        ids, mask = padded(rows, self.pad)
        given = {name: np.zeros_like(ids) for name in (each["name"] for each in graph["inputs"])}
        logits = self.logits(given | dict(zip(TEXT, (ids, mask), strict=True)))
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise InputError(f"logits of shape {logits.shape}; expected a class for each text, of two or more")
        return logits

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        check_texts(texts)
        if (task := self.graphs.manifest.get("task")) != CLASSES and self.tokens is not None:
            raise InputError(f"a model for {task}; expected one for {CLASSES}, or call `logits`")
        if self.tokens is None:
            raise InputError("a bundle without a tokeniser; expected one that reads text, or call `logits`")
        most, rows = self.most, self.tokens.encode(texts)
        return [row if most is None or len(row) <= most else [*row[: most - 1], row[-1]] for row in rows]
