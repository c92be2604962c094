"""Greedy decoding of several models side by side, with their caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tprune.core.task import Batch
from tprune.tasks.translation.encoding import max_length


@torch.no_grad()
def side_by_side(models: Sequence[nn.Module], source: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
    """The logits of each model at each step; all are told the tokens that the first one finds likeliest.

    Args:
        models: encoder-decoders of one vocabulary.
        source: `input_ids` and `attention_mask`, (batch, positions).
        steps: at most; no more than the first model has positions for.
    """
    callable_models: list[Any] = list(models)
    config = callable_models[0].config
    first = torch.full((len(source["input_ids"]), 1), int(config.decoder_start_token_id))
    token = first.to(source["input_ids"].device)
    encoded = [model.get_encoder()(**source) for model in callable_models]
    caches: list[Any] = [None] * len(models)
    for _ in range(min(steps, max_length(callable_models[0]) - 1)):
        logits = []
        for i, model in enumerate(callable_models):
            out = model(
                encoder_outputs=encoded[i],
                attention_mask=source["attention_mask"],
                decoder_input_ids=token,
                past_key_values=caches[i],
                use_cache=True,
            )
            caches[i] = out.past_key_values
            logits.append(out.logits[:, -1])
        yield logits
        token = logits[0].argmax(-1, keepdim=True)
