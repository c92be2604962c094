"""Rows of unequal length as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """(rows, longest), filled up with a value.

    Example:
        >>> padded([[1, 2], [3]], 0).tolist()
        [[1, 2], [3, 0]]
    """
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
