"""The caches of a decoder that runs step by step: what a graph hands on from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LayerCache:
    """One decoder layer's keys `[B, heads, T, key]` and values `[B, heads, T, value]`."""

    layer: int
    heads: int
    key: int
    value: int

    def names(self, kind: Literal["cross", "past", "present"]) -> tuple[str, str]:
        """The names of both tensors in the graphs.

        Example:
            >>> LayerCache(2, 4, 16, 16).names("past")
            ('past_key_2', 'past_value_2')
        """
        return f"{kind}_key_{self.layer}", f"{kind}_value_{self.layer}"


Caches = tuple[LayerCache, ...]
