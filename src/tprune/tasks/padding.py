"""Rows of unequal length as one tensor, and the id that fills them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def pad_of(model: Any) -> int:
    """The id of padding in the configuration of a model, or of what stands for one; 0 where it has none.

    Args:
        model: any module.
    """
    return int(getattr(getattr(model, "config", None), "pad_token_id", None) or 0)
