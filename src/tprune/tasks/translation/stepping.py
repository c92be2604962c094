"""Greedy decoding of several models side by side, with their caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tprune.core.task import Batch
from tprune.tasks.translation.encoding import max_length

STACKS = ("encoder", "decoder")


@torch.no_grad()
def side_by_side(models: Sequence[nn.Module], source: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
    """The logits of each model at each step; all are told the tokens that the first one finds likeliest.

    Args:
        models: encoder-decoders of one vocabulary.
        source: what the encoder reads, such as `input_ids` and `attention_mask`, (batch, positions).
        steps: how many.
    """
    callable_models: list[Any] = list(models)
    config = callable_models[0].config
    read = next(iter(source.values()))
    token = torch.full((len(read), 1), int(config.decoder_start_token_id), device=read.device)
    masked = {name: mask for name, mask in source.items() if name == "attention_mask"}
    encoded = [model.get_encoder()(**source) for model in callable_models]
    caches: list[Any] = [None] * len(models)
    for _ in range(min(steps, max_length(callable_models[0]) - 1)):
        logits = []
        for i, model in enumerate(callable_models):
            out = model(
                encoder_outputs=encoded[i],
                **masked,
                decoder_input_ids=token,
                past_key_values=caches[i],
                use_cache=True,
            )
            caches[i] = out.past_key_values
            logits.append(out.logits[:, -1])
        yield logits
        token = logits[0].argmax(-1, keepdim=True)


def first_layer_apart(outputs: Sequence[Any], differs: Callable[[Tensor, Tensor], bool]) -> str:
    """The first layer, of the encoder or of the decoder, whose output differs in two models, in words.

    Args:
        outputs: of both models, with their hidden states.
        differs: whether two tensors differ.
    """
    for stack in STACKS:
        pairs = zip(*(getattr(found, f"{stack}_hidden_states") for found in outputs), strict=True)
        for layer, (a, b) in enumerate(pairs):
            if a.shape == b.shape and differs(a, b):
                return f"from {stack} layer {layer - 1} on" if layer else f"from the {stack}'s embeddings on"
    return "in the output projection, or with a changed width"
