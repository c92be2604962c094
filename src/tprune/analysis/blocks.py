"""The blocks of the analysis: whole matrices, or the slices of attention projections that belong to one head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from tprune.core.coupling import Coupling, View
from tprune.core.structure import Structure


class BlockShape(StrEnum):
    """What a block is: a whole matrix, or, in attention projections, a head's slice of one."""

    MATRIX = "matrix"
    HEADS = "heads"


def by_head(lines: Sequence[Coupling], heads: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The lines of matrices, those of projections split by head, as the couplings of heads slice them.

    A head's view `(h d) i -> h` turns the input lines `o i -> i` into `(h d) i -> h i`, and the output lines into `-> h
    d`.

    Example:
        >>> from tprune.core.coupling import producer
        >>> lines = [Coupling("q.in", (producer("q", "o i -> i"),), closed=False, kind="lines")]
        >>> heads = [Coupling("heads", (producer("q", "(h d) i -> h", h=2),))]
        >>> by_head(lines, heads)[0].views[0].structure.pattern
        '(h d) i -> h i'
    """
    slices = {view.param: view for coupling in heads for view in coupling.views if view.part is None}
    return tuple(replace(c, views=tuple(_split(view, slices.get(view.param)) for view in c.views)) for c in lines)


def _split(line: View, head: View | None) -> View:
    if head is None:
        return line
    left, _, groups = (part.strip() for part in head.structure.pattern.partition("->"))
    kept = set(groups.split()) | set(_axes(left)[_axis(line.structure)].split())
    right = [name for name in left.replace("(", " ").replace(")", " ").split() if name in kept]
    return replace(line, structure=Structure(f"{left} -> {' '.join(right)}", head.structure.sizes))


def _axis(line: Structure) -> int:
    """Which axis of the matrix a line's pattern `o i -> i` or `o i -> o` indexes."""
    left, _, right = line.pattern.partition("->")
    return left.split().index(right.strip())


def _axes(left: str) -> list[str]:
    """The factors of each tensor axis: `(h d) i` is `["h d", "i"]`."""
    axes, inside = [], False
    for part in left.replace("(", " ( ").replace(")", " ) ").split():
        if part in "()":
            inside = part == "("
            axes += [""] if inside else []
        elif inside:
            axes[-1] = f"{axes[-1]} {part}".strip()
        else:
            axes.append(part)
    return axes
