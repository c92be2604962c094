"""Whether a runtime computes what PyTorch computes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tprune.runtimes.runtime import Runtime
from tprune.support.errors import CertificateError
from tprune.testing.common import require


@torch.no_grad()
@torch.no_grad()
def check_runtime(runtime: Runtime, model: Any, tokenizer: Any, sentences: Sequence[str]) -> None:
    """What a runtime computes is what PyTorch computes, through an exported folder.

    Args:
        runtime: to check.
        model: a model that can be exported, in evaluation mode, float32.
        tokenizer: its own.
        sentences: source sentences of unequal lengths; at least two.

    Raises:
        AssertionError: naming what disagrees.

    Example: see `docs/add-your-own.md`.
    """
    from tprune.runtimes.export import export
    from tprune.runtimes.translator import Translator

    require(len(sentences) > 1, "a runtime is checked on at least two sentences")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        try:
            export(model, tokenizer, out, sentences, runtime)
        except CertificateError as error:
            raise AssertionError(f"{runtime.name}: {error}") from error
        translator = Translator.load(out)
        require(translator.layout.runtime == runtime.name, f"{runtime.name}: the folder names another runtime")
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
