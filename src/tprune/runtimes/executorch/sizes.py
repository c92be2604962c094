"""How large the free sizes of a graph may become: its memory is planned before it runs."""

from __future__ import annotations

from collections.abc import Mapping

from tprune.core.graph import BATCH, PAST

ROWS = 4  # of a batch, as of four beams; more are run in pieces, for memory is taken for the largest sizes
LONGEST = 1024  # of a free length that the model does not limit


def bounds(dim: str, limits: Mapping[str, int]) -> tuple[int, int]:
    """The smallest and the largest value of a free size.

    Args:
        dim: its name.
        limits: what the model allows at most, by name.

    Example:
        >>> bounds("source", {"source": 40}), bounds("batch", {})
        ((1, 40), (1, 4))
    """
    return 0 if dim == PAST else 1, ROWS if dim == BATCH else limits.get(dim, max(limits.values(), default=LONGEST))
