"""Language modelling: the next token of a text, from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tprune.core.labels import IGNORED
from tprune.core.model import Tokenizer
from tprune.core.task import Batch
from tprune.tasks.one_stack import OneStack, is_for, settings
from tprune.tasks.padding import padded


@dataclass(frozen=True)
class EncodedTokens:
    """Token ids of texts; each token but the first is to be told from those before it."""

    texts: tuple[list[int], ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> list[int]:
        return self.texts[index]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.array([len(text) for text in self.texts])


@dataclass(frozen=True)
class LanguageModelling(OneStack):
    """A text to the likelihood of each next token.

    Attributes:
        tokens: of the example whose operations are counted.
    """

    tokens: int = 25
    name: ClassVar[str] = "language-modelling"

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return is_for(model, "ForCausalLM")

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, int(settings(model).max_position_embeddings))
        ids = torch.zeros(1, tokens, dtype=torch.long, device=next(model.parameters()).device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, vocabulary = torch.Generator().manual_seed(0), int(settings(model).vocab_size)
        return self.collate([torch.randint(vocabulary, (n,), generator=chance).tolist() for n in (8, 6, 4)], 0)

    def encode(self, texts: Sequence[str], tokenizer: Tokenizer, most: int) -> EncodedTokens:
        """Tokenises texts, each cut off after `most` tokens."""
        return EncodedTokens(tuple(row[:most] for row in tokenizer(list(texts), verbose=False).input_ids))

    def collate(self, rows: Sequence[list[int]], pad: int) -> Batch:
        """A batch of encoded texts, padded at their ends; the label of a position is the token after it."""
        return {
            "input_ids": padded(rows, pad),
            "attention_mask": padded([[1] * len(row) for row in rows], 0),
            "labels": padded([[*row[1:], IGNORED] for row in rows], IGNORED),
        }

    @torch.no_grad()
    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Greedy continuations, by the first model, of the first token of every text; all step through the same tokens."""
        token = batch["input_ids"][:, :1]
        callable_models: list[Any] = list(models)
        caches: list[Any] = [None] * len(models)
        for _ in range(min(steps, int(settings(models[0]).max_position_embeddings) - 1)):
            logits = []
            for i, model in enumerate(callable_models):
                out = model(input_ids=token, past_key_values=caches[i], use_cache=True)
                caches[i] = out.past_key_values
                logits.append(out.logits[:, -1])
            yield logits
            token = logits[0].argmax(-1, keepdim=True)


LANGUAGE_MODELLING = LanguageModelling()
