"""The protocol of data: raw inputs with what is expected of them, before a task encodes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

S = TypeVar("S")
Sources = str | Path | Sequence[str | Path]  # files or folders; one of them, or several that are joined


@runtime_checkable
class Data(Protocol):
    """A set of raw items, such as labelled sentences: `Task.read` makes it, `Task.encode` makes `Examples` of it."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def __len__(self) -> int:
        """The number of items."""
        ...

    def __getitem__(self, index: int) -> object:
        """One item."""
        ...

    def place(self, index: int) -> str:
        """Where an item was read, such as file and line, for messages."""
        ...

    def picked(self: S, places: Sequence[int]) -> S:
        """The items at these places, in this order."""
        ...

    def digest(self) -> str:
        """A hash of the content (not of the name), the same in every process."""
        ...


D = TypeVar("D", bound=Data)


def sampled(total: int, n: int, seed: int = 0) -> Sequence[int]:
    """Places of `n` of `total` items, drawn at random without replacement, in ascending order; all where there are few.

    Args:
        total: how many items there are.
        n: how many are wanted.
        seed: of the draw.
    """
    return range(total) if n >= total else sorted(random.Random(seed).sample(range(total), n))


def spread(total: int, n: int) -> Sequence[int]:
    """Places of at most `n` of `total` items, evenly spaced, the first and the last among them.

    Args:
        total: how many items there are.
        n: how many are wanted.

    Example:
        >>> spread(10, 4), spread(3, 5)
        ([0, 3, 6, 9], [0, 1, 2])
    """
    found: list[int] = np.linspace(0, total - 1, min(n, total)).astype(int).tolist()
    return found


def evenly(data: D, n: int) -> D:
    """At most `n` items of a set, evenly spaced over it.

    Args:
        data: any data set.
        n: how many items are wanted.
    """
    return data.picked(spread(len(data), n))


def paths(sources: Sources) -> tuple[Path, ...]:
    """The sources as paths.

    Args:
        sources: one path, or several.

    Example:
        >>> [path.name for path in paths("train.tsv")], len(paths(["a.tsv", "b.tsv"]))
        (['train.tsv'], 2)
    """
    return (Path(sources),) if isinstance(sources, str | Path) else tuple(Path(source) for source in sources)
