"""The kinds of couplings: one row says everything that the toolkit knows of a kind.

A new kind is a word in `Kind` and a row in `KINDS`, and a family that has couplings of it. Families of plugins may have
kinds of their own; they are treated as `OTHER`, and those that `enter` makes known may stand in recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeGuard

from tprune.support.errors import InputError

Kind = Literal["ffn", "heads", "qk", "vo", "channels", "embedding", "sublayer", "width", "lines"]

EIGHTHS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0)
QUARTERS = (1.0, 0.75, 0.5, 0.25)  # of dimensions in heads: there are many, and each size is a pass over the sentences
WIDTHS = (1.0, 0.875, 0.75, 0.625, 0.5)  # of the residual: with less of it nothing works


class Scope(Enum):
    """How much of a model one coupling of a kind covers."""

    PART = "groups inside one block"
    BLOCK = "one whole block"
    MODEL = "the whole model"
    MATRIX = "one matrix"
    OTHER = "unknown"


@dataclass(frozen=True)
class KindRule:
    """What is known of a kind of coupling.

    Attributes:
        label: of what a group is one, for a reader.
        scope: how much of a model one coupling covers.
        within: the kind whose groups contain its groups; it is then kept balanced, equally many groups in each of
            those.
        may_be_empty: whether a sensible model is left where nothing of a coupling is; its floor must be 0 too.
        shares: which shares of a coupling are tried where its loss is measured.
        by_default: whether a recipe that says nothing cuts it.
        stock: whether a stock configuration can hold a model from which it is cut.
        convolutional: whether it is a kind of convolutional networks, whose models have no others.
        rare: whether only some architectures have it, so that hints do not name it.
    """

    label: str
    scope: Scope
    within: Kind | None = None
    may_be_empty: bool = False
    shares: Sequence[float] = EIGHTHS
    by_default: bool = False
    stock: bool = False
    convolutional: bool = False
    rare: bool = False

    @property
    def balanced(self) -> bool:
        """Whether equally many groups stay in every group of the kind that it lies within."""
        return self.within is not None

    @property
    def covers_block(self) -> bool:
        """Whether its groups together are all of a block, so that nothing of the block works once they are gone."""
        return self.scope is Scope.PART and self.within is None


KINDS: Final[Mapping[Kind, KindRule]] = MappingProxyType(
    {
        "ffn": KindRule(
            "the units of a feed-forward block", Scope.PART, may_be_empty=True, by_default=True, stock=True
        ),
        "heads": KindRule("the heads of an attention", Scope.PART, may_be_empty=True, by_default=True),
        "qk": KindRule("the query-key dimensions of a head", Scope.PART, within="heads", shares=QUARTERS),
        "vo": KindRule("the value dimensions of a head", Scope.PART, within="heads", shares=QUARTERS),
        "channels": KindRule("the channels between convolutions", Scope.PART, convolutional=True),
        "embedding": KindRule(
            "the dimensions of embeddings narrower than the stream", Scope.PART, shares=WIDTHS, rare=True
        ),
        "sublayer": KindRule("the attention and feed-forward blocks", Scope.BLOCK, shares=(1.0, 0.0)),
        "width": KindRule("the dimensions of the residual stream", Scope.MODEL, shares=WIDTHS),
        "lines": KindRule("the input or the output lines of a matrix", Scope.MATRIX, may_be_empty=True),
    }
)
OTHER = KindRule("what its family says", Scope.OTHER)
ENTERED: dict[str, KindRule] = {}  # by plugins


def enter(kind: str, label: str = OTHER.label) -> None:
    """Makes a kind known that the family of a plugin has, so that recipes may name it.

    Args:
        kind: its name; one that was entered before is replaced.
        label: of what a group is one, for a reader.

    Raises:
        InputError: one of ours has the name.
    """
    if kind in KINDS:
        raise InputError(f"two kinds of couplings are called {kind!r}; a plugin's needs a name of its own")
    ENTERED[kind] = KindRule(label, Scope.OTHER)


def kinds_known() -> tuple[str, ...]:
    """The names of all kinds: ours, and those that plugins enter."""
    return (*KINDS, *ENTERED)


def known(kind: str) -> TypeGuard[Kind]:
    """Whether a kind is in the table.

    Args:
        kind: any word.
    """
    return kind in KINDS


def rule_of(kind: str) -> KindRule:
    """The row of a kind; what a plugin said of one that is not in the table, else `OTHER`.

    Args:
        kind: any word.

    Example:
        >>> rule_of("qk").within, rule_of("ffn").balanced, rule_of("experts").scope
        ('heads', False, <Scope.OTHER: 'unknown'>)
    """
    return KINDS[kind] if known(kind) else ENTERED.get(kind, OTHER)


def beside(kinds: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds that may be cut, too, where these are; what only some architectures have is left out.

    Args:
        kinds: that a model has.

    Example:
        >>> beside(["channels"]), beside(["heads"])[:2]
        (('channels',), ('ffn', 'heads'))
    """
    convolutional = any(rule_of(kind).convolutional for kind in kinds)
    return tuple(kind for kind in TO_CUT if rule_of(kind).convolutional == convolutional and not rule_of(kind).rare)


def _only(scope: Scope) -> str:
    (kind,) = (kind for kind, rule in KINDS.items() if rule.scope is scope)
    return kind


WHOLE_BLOCK, WIDTH = _only(Scope.BLOCK), _only(Scope.MODEL)
PARTS = tuple(kind for kind, rule in KINDS.items() if rule.scope is Scope.PART)
COVERING = tuple(kind for kind, rule in KINDS.items() if rule.covers_block)
INNER: Mapping[str, tuple[Kind, ...]] = MappingProxyType(
    {outer: tuple(kind for kind, rule in KINDS.items() if rule.within == outer) for outer in COVERING}
)  # by a kind that covers a block, the kinds within it
FINEST = tuple(kind for kind in PARTS if not INNER.get(kind))
SHARING = (*PARTS, WHOLE_BLOCK)  # of one block, which share a budget
TO_CUT = tuple(kind for kind, rule in KINDS.items() if rule.scope is not Scope.MATRIX)  # offered by `tprune prune`
BY_DEFAULT = tuple(kind for kind, rule in KINDS.items() if rule.by_default)
STOCK = tuple(kind for kind, rule in KINDS.items() if rule.stock)
