"""Sequences sampled from a language model itself: data for a model whose tokeniser, or whose text, is not at hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tprune.data.texts import TokenSequences
from tprune.support.errors import InputError
from tprune.tasks.one_pass import ROWS, evaluating
from tprune.tasks.one_stack import settings


def sampled_sequences(model: nn.Module, count: int, length: int, seed: int = 0) -> TokenSequences:
    """Sequences that a model writes, every token drawn by its probability, after its beginning-of-text token.

    End tokens end nothing: all sequences have the same length.

    Args:
        model: a causal language model of transformers; left as it was.
        count: sequences.
        length: tokens of each, the first one included; no more than the model has positions for.
        seed: of the draws; the same sequences for the same seed, model and version of torch.

    Raises:
        InputError: `count` is below 1, `length` below 2 or above the model's positions.
    """
    positions = int(settings(model).max_position_embeddings)
    if count < 1 or not 2 <= length <= positions:
        raise InputError(f"{count} sequences of {length} tokens; expected at least 1, of 2 to {positions} tokens")
    chance, found = torch.Generator().manual_seed(seed), list[list[int]]()
    with evaluating(model):
        for start in range(0, count, ROWS):
            found += _batch(model, min(ROWS, count - start), length, chance).tolist()
    ids = tuple(tuple(row) for row in found)
    return TokenSequences(ids, f"{count} sequences sampled from the model, seed {seed}")


def _batch(model: Any, rows: int, length: int, chance: torch.Generator) -> Tensor:
    """(rows, length) token ids."""
    device = next(model.parameters()).device
    token = torch.full((rows, 1), _first(model.config), device=device)
    tokens, cache = [token.cpu()], None
    for _ in range(length - 1):
        out = model(input_ids=token, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        drawn = torch.multinomial(out.logits[:, -1].float().softmax(-1).cpu(), 1, generator=chance)
        tokens.append(drawn)
        token = drawn.to(device)
    return torch.cat(tokens, 1)


def _first(config: Any) -> int:
    """The token that texts begin with: of beginnings, else of ends, else the first one."""
    for name in ("bos_token_id", "eos_token_id"):
        found = getattr(config, name, None)
        if found is not None:
            return int(found[0] if isinstance(found, list) else found)
    return 0
