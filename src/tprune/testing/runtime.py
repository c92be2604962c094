"""Whether a runtime computes what PyTorch computes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tprune.core.precision import FP32, Precision
from tprune.core.task import Batch
from tprune.runtimes.runtime import Runtime, Searching
from tprune.support.errors import CertificateError
from tprune.testing.common import require

if TYPE_CHECKING:
    from tprune.runtimes.one_pass import OnePass
    from tprune.runtimes.translator import Translator


@torch.no_grad()
def check_runtime(
    runtime: Runtime,
    model: Any,
    tokenizer: Any,
    sentences: Sequence[str] = (),
    batches: Sequence[Batch] = (),
    precision: Precision = FP32,
) -> None:
    """What a runtime computes is what PyTorch computes, through an exported folder.

    Args:
        runtime: to check.
        model: a model that can be exported, in evaluation mode, float32: one that translates, or one that runs in one
            pass.
        tokenizer: its own; None for a model that reads no text.
        sentences: of unequal lengths; at least two for a translation model.
        batches: of the task of another model; random ones if none are given. Static int8 is calibrated on them.
        precision: that it computes in.

    Raises:
        AssertionError: naming what disagrees.

    Example: see `docs/add-your-own.md`.
    """
    from tprune.runtimes.export import export
    from tprune.runtimes.one_pass import OnePass
    from tprune.runtimes.opened import open_exported
    from tprune.runtimes.translator import Translator

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        try:
            how: dict[str, Any] = {"batches": batches, "precision": precision, "calibration": batches}
            export(model, tokenizer, out, sentences, runtime, **how)
        except CertificateError as error:
            raise AssertionError(f"{runtime.name}: {error}") from error
        opened = open_exported(out)
        require(opened.layout.runtime == runtime.name, f"{runtime.name}: the folder names another runtime")
        require(opened.layout.precision == precision, f"{runtime.name}: the folder names another precision")
        if isinstance(opened, Translator):
            require(len(sentences) > 1, "a runtime is checked on at least two sentences")
            if isinstance(opened.engine, Searching):
                _check_search(runtime, opened, sentences)
            else:
                _check_steps(runtime, opened, sentences)
        elif isinstance(opened, OnePass):  # of models that hear recordings all is checked by `export`
            _check_pass(runtime, opened)


def _check_steps(runtime: Runtime, translator: Translator, sentences: Sequence[str]) -> None:
    """Steps of a batch: peeked at, reordered, dropped."""
    first, ids = translator.layout.decoding.decoder_start_token_id, translator.encode(sentences[:2])
    tokens = np.array([first, first], np.int64)
    state = translator.start(ids)
    state.peek(tokens)
    told = state.logits(tokens)
    require(np.array_equal(told, translator.start(ids).logits(tokens)), f"{runtime.name}: peek() changes the state")
    both, swapped, alone = translator.start(ids), translator.start(ids), np.array([1, 0])
    swapped.take(alone)
    require(
        np.allclose(swapped.logits(tokens), both.logits(tokens)[alone], atol=1e-5),
        f"{runtime.name}: take() does not reorder sources",
    )
    swapped.take(alone[:1])
    require(len(swapped.logits(tokens[:1])) == 1, f"{runtime.name}: take() does not drop rows")


def _check_search(runtime: Runtime, translator: Translator, sentences: Sequence[str]) -> None:
    """Batches, and no batch at all, translate as single sentences do."""
    ids = translator.encode(sentences[:2])
    alone = [translator.greedy([row])[0] for row in ids]
    require(
        translator.greedy(ids) == alone, f"{runtime.name}: sentences of a batch are translated otherwise than alone"
    )
    require(translator.greedy([]) == [], f"{runtime.name}: no sentences are translated to some")


def _check_pass(runtime: Runtime, opened: OnePass) -> None:
    """One pass twice, and what the session makes of inputs that it was not exported with: another number of them."""
    from tprune.bench.phases import typical

    sizes = {batch: typical(opened, batch, 4) for batch in (1, 5)}
    for batch, given in sizes.items():
        found = opened.logits(given)
        require(len(found) == batch, f"{runtime.name}: {len(found)} rows of logits for {batch} inputs")
        require(np.array_equal(found, opened.logits(given)), f"{runtime.name}: the same inputs give other logits")
