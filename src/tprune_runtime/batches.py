"""Inputs of like length together, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tprune_runtime.decoding import Ints
from tprune_runtime.errors import InputError


def by_length(ids: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """The numbers of inputs, `batch` of like length at a time, short ones first.

    Args:
        ids: of the inputs.
        batch: how many at once, at least 1.

    Raises:
        InputError: a batch below 1.

    Example:
        >>> list(by_length([[1, 2, 3], [1], [1, 2]], 2))
        [[1, 2], [0]]
    """
    if batch < 1:
        raise InputError(f"batch {batch}; expected at least 1")
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Ints, Ints]:
    """Token ids `[N, length]` filled up to the longest, and 1 where there is a token.

    Args:
        rows: ids of each input.
        pad: the id that fills.
    """
    ids = np.full((len(rows), max(map(len, rows))), pad, np.int64)
    mask = np.zeros(ids.shape, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask
