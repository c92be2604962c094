"""Running an exported model that gives its logits in one pass, whatever runtime it is for.

It needs numpy alone, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.graph import TOKENS, TOTAL, Signature, sizes_of
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.layout import Layout
from tprune.runtimes.runtime import Searching, Session, opened
from tprune.runtimes.steps import DecoderSteps, nothing_before
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.errors import InputError
from tprune_runtime.decoding import Floats


@dataclass(frozen=True)
class OnePass:
    """An exported model with one graph, ready to run: a classifier, or a language model that reads whole texts.

    Example:
        ```python
        OnePass.load("small").logits({"input_ids": ids, "attention_mask": mask}).argmax(-1)
        ```
    """

    layout: Layout
    session: Session

    @staticmethod
    def load(folder: str | Path, threads: int = 1) -> OnePass:
        """Opens an exported folder; `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing, truncated or changed (naming it), there are not as many cores as `threads`,
                the folder is for a runtime that is not known here, or it holds a translation model.
        """
        folder = Path(folder)
        layout = read_layout(folder)
        if isinstance(layout, TranslationLayout) or len(layout.graphs) != 1:
            raise InputError(
                f"{folder}: an exported model for {layout.task}; expected one that runs in one pass "
                "(tprune.runtimes.opened.open_exported opens this one)"
            )
        session = opened(folder, layout, threads)
        assert not isinstance(session, Searching)  # those are of translation models
        return OnePass(layout, session)

    @property
    def graph(self) -> Signature:
        """The signature of its graph."""
        return self.layout.graphs[0]

    def logits(self, batch: Mapping[str, NDArray[Any]]) -> Floats:
        """The logits of a batch.

        Args:
            batch: the inputs that the task's prompt has, by name, such as `input_ids` and `attention_mask`, both
                (batch, tokens), or `pixel_values` (batch, channels, height, width).

        Returns:
            (batch, classes); of a language model (batch, tokens, vocabulary).

        Raises:
            InputError: an input is missing or unknown, or its shape is none that the model takes.
        """
        feeds = self._feeds(batch)
        rows = len(next(iter(feeds.values())))
        before = nothing_before(self.graph, rows)
        (found,) = self.session.run(self.graph.name, {**feeds, **before}, self.graph.results)
        return found

    def start(self, rows: int) -> DecoderSteps:
        """Begins a batch of texts that are read token by token. Raises `InputError` for a model without a cache."""
        if "step" not in self.layout.phases:
            raise InputError(f"an exported model for {self.layout.task} takes no steps; expected a language model")
        return DecoderSteps(self.session, self.graph, rows)

    def _feeds(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        specs = self.graph.given
        names = [spec.name for spec in specs]
        if strange := [name for name in batch if name not in names]:
            raise InputError(f"input {strange[0]!r}; expected {', '.join(names)}")
        try:
            found = {spec.name: np.asarray(batch[spec.name], spec.dtype) for spec in specs if spec.name in batch}
            sizes = sizes_of(specs, {name: x.shape for name, x in found.items()})
        except ValueError as error:
            raise InputError(f"inputs of a model for {self.layout.task}: {error}") from None
        self._check_sizes(sizes)
        return found

    def _check_sizes(self, sizes: Mapping[str, int]) -> None:
        """Raises `InputError` for a batch that is empty, or longer than the model has positions."""
        if sizes.get(TOTAL, sizes.get(TOKENS)) != sizes.get(TOKENS):
            raise InputError(
                f"inputs of a model for {self.layout.task}: {sizes[TOKENS]} tokens and a mask of {sizes[TOTAL]}; "
                "expected the same"
            )
        for name, size in sizes.items():
            most = self.layout.limits.get(name)
            if size < 1 or (most is not None and size > most):
                to = "at least 1" if most is None else f"1 to {most}"
                raise InputError(f"inputs of a model for {self.layout.task}: {name} {size}; expected {to}")
