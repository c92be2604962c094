"""Batches of equal work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch.utils.data import Sampler


@dataclass
class TokenBatches(Sampler[list[int]]):
    """Batches of about `tokens` padded tokens; epoch after epoch, freshly shuffled, until `batches` are given out.

    A fixed number of batches instead of epochs makes a resumed run see exactly the batches the broken one would have
    seen. `batches=None` gives every pair once, in order of length (validation).
    """

    lengths: np.ndarray
    tokens: int
    batches: int | None = None
    seed: int = 0
    _ordered: list[list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ordered = self._group(np.argsort(self.lengths, kind="stable"))

    def __len__(self) -> int:
        return len(self._ordered) if self.batches is None else self.batches

    def __iter__(self) -> Iterator[list[int]]:
        if self.batches is None:
            yield from self._ordered
            return
        given, rng = 0, np.random.default_rng(self.seed)
        while given < self.batches:
            # like lengths together, yet never the same batch twice
            jitter = self.lengths + rng.uniform(0, 2, len(self.lengths))
            groups = self._group(np.argsort(jitter, kind="stable"))
            for index in rng.permutation(len(groups))[: self.batches - given]:
                yield groups[index]
                given += 1

    def _group(self, order: np.ndarray) -> list[list[int]]:
        groups: list[list[int]] = [[]]
        longest = 0
        for index in order:
            longest = max(longest, int(self.lengths[index]))
            if groups[-1] and (len(groups[-1]) + 1) * longest > self.tokens:
                groups.append([])
                longest = int(self.lengths[index])
            groups[-1].append(int(index))
        return groups
