"""What graphs of encoder-decoders know of positions: tables that are added to embeddings, and biases by distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PositionTable(nn.Module):
    """A row for each position, the first after `offset` others."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.offset = module, int(getattr(module, "offset", 0))

    @property
    def tokens(self) -> int:
        """How many positions there are."""
        return int(self.module.weight.shape[0]) - self.offset

    def of_texts(self, ids: Tensor) -> Tensor:
        """See `Positions`."""
        rows: Tensor = self.module.weight[self.offset : self.offset + ids.shape[1]]
        return rows

    def of_step(self, ids: Tensor, position: Tensor) -> Tensor:
        """See `Positions`."""
        return torch.index_select(self.module.weight, 0, position + self.offset)


class AfterPadding(nn.Module):
    """A row for each position, counted from the row after the padding's id; padding has that row, and no position.

    In a text, padding is not counted. In a step it is, as in `generate` with a cache.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.pad = module, int(module.padding_idx)

    @property
    def tokens(self) -> int:
        """How many positions there are."""
        return min(int(self.module.weights.shape[0]) - self.pad - 1, int(self.module.num_positions))

    def of_texts(self, ids: Tensor) -> Tensor:
        """See `Positions`."""
        counted = ids.ne(self.pad).long()
        rows = counted.cumsum(1) * counted + self.pad
        return nn.functional.embedding(rows, self.module.weights)

    def of_step(self, ids: Tensor, position: Tensor) -> Tensor:
        """See `Positions`."""
        rows = ids.ne(self.pad).long() * (position + 1) + self.pad
        return torch.index_select(self.module.weights, 0, rows)


class ByDistance(nn.Module):
    """What the distance of two tokens adds to the scores of an attention, for each head of the dense model.

    A T5 sorts distances into buckets by a logarithm, and far ones into one; here a table has a column for each
    distance, so that no runtime's logarithm decides.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.far = int(attention.relative_attention_max_distance)
        self.both = not attention.is_decoder  # whether there are tokens on both sides
        self.source = attention.relative_attention_bias
        self.made_of = {"table": ("source.weight",)}
        keys = 2 * self.far + 1 if self.both else self.far + 1
        with torch.no_grad():
            table = attention.compute_bias(1, keys, past_seen_tokens=self.far)[0, :, 0]
        self.table = nn.Parameter(table.contiguous())  # [h, distances], from `far` tokens before

    def of_texts(self, length: int) -> Tensor:
        """Of all pairs in a text: `[1, h, S, S]`."""
        positions = torch.arange(length)
        distance = (positions[None, :] - positions[:, None]).clamp(-self.far, self.far) + self.far
        return torch.index_select(self.table, 1, distance.flatten()).view(1, -1, length, length)

    def of_step(self, position: Tensor, length: int) -> Tensor:
        """Of the token at `position` `[1]` and so many from the first: `[1, h, 1, T]`."""
        distance = (torch.arange(length) - position).clamp(min=-self.far) + self.far
        return torch.index_select(self.table, 1, distance)[None, :, None]
