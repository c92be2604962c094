"""A few sentence pairs, and a model of their tokens."""

from __future__ import annotations

from typing import Any

import torch

import tprune
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

PAIRS = tprune.Parallel(
    ("a cat sat", "a dog ran", "the cat ran far", "the dog sat") * 8, ("x y z", "x u", "v y u w", "v u z") * 8
)


def model_and_tokenizer(dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(PAIRS.source + PAIRS.target, 40, 16)
    return new_model(MarianSize(16, (1, 1), 2, 32, 40, 0.1, 16), len(tokenizer)).to(dtype), tokenizer
