"""What a model may be, or be asked to do, that not every runtime can: the columns of the matrix of runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tprune.core.graph import BUILDS

TRANSLATES, READS, PASSES = BUILDS


@dataclass(frozen=True)
class Feature:
    """A column of the matrix.

    Attributes:
        summary: what the check of an export has to meet for a certificate of it.
        builds: the builds of models that have it.
    """

    summary: str
    builds: tuple[str, ...] = BUILDS


FEATURES: Final[Mapping[str, Feature]] = {
    "greedy": Feature("greedy search, token for token", (TRANSLATES,)),
    "beam": Feature("beam search", (TRANSLATES,)),
    "one pass": Feature("the logits of a whole input", (READS, PASSES)),
    "steps": Feature("up to 48 steps that are forced from an empty cache", (TRANSLATES, READS)),
    "batch": Feature("several inputs of unequal lengths at once"),
    "uneven heads": Feature("attentions that keep different numbers of heads", (TRANSLATES, READS, PASSES)),
    "uneven units": Feature("blocks that keep different numbers of units or channels"),
    "uneven head widths": Feature("heads with other widths of queries and keys than of values"),
    "removed blocks": Feature("attentions or feed-forward blocks of which nothing is left"),
    "narrow residual": Feature("a residual stream of fewer dimensions"),
    "single lines": Feature("matrices that read some inputs, or write some outputs, by their numbers"),
    "output vocabulary": Feature("a decoder that knows some of the tokens", (TRANSLATES,)),
}


def features_for(build: str) -> tuple[str, ...]:
    """The features that models of a build may have.

    Example:
        >>> features_for("decoder-only")[:3]
        ('one pass', 'steps', 'batch')
    """
    return tuple(name for name, feature in FEATURES.items() if build in feature.builds)
