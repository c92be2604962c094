"""Which papers a thing stands on: each method, score and realisation carries its own BibTeX, as `papers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing", bound=Callable[..., object])
Papers = tuple[str, ...]


def cites(*papers: str) -> Callable[[Thing], Thing]:
    """Marks a function, or a class, with the papers it stands on; a dataclass may have them as a `ClassVar` instead.

    Args:
        papers: BibTeX entries.

    Example:
        >>> @cites("@article{a}")
        ... def f() -> int:
        ...     return 1
        >>> papers_of([f, f, len])
        ('@article{a}',)
    """

    def mark(thing: Thing) -> Thing:
        setattr(thing, "papers", papers)  # noqa: B010 - types do not know of it
        return thing

    return mark


def papers_of(things: Iterable[object]) -> Papers:
    """The BibTeX entries of things, each once, in the order of the things; those that carry none give none.

    Args:
        things: classes, functions or objects, with papers or without.
    """
    return tuple(dict.fromkeys(entry for thing in things for entry in getattr(thing, "papers", ())))
