"""The exports of a run: both models, each in every precision of its table."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tprune.core.precision import FP32, INT8, NUMBERS, Precision

if TYPE_CHECKING:
    from tprune.recipe.schema import Bench  # which takes a moment

SIDES = ("dense", "pruned")


@dataclass(frozen=True)
class Variant:
    """A model of a run in one precision."""

    side: str
    precision: Precision

    @property
    def name(self) -> str:
        """Of its folder, and in results.

        Example:
            >>> Variant("dense", Precision("int8")).name
            'dense-int8'
        """
        return self.side + self.precision.suffix

    @property
    def plain(self) -> bool:
        """Whether it is in single precision."""
        return self.precision.exact


def precisions_of(how: Bench, skeleton: str) -> tuple[Precision, ...]:
    """The precisions of a run's table: single precision, int8 where the runtime has it, and the one asked for.

    Args:
        how: how the run measures speed.
        skeleton: the build of its model.
    """
    from tprune.runtimes.runtime import runtime_named  # here, because numpy takes a moment

    runtime = runtime_named(how.runtime)
    asked = [FP32, Precision(INT8.name, how.exceptions), how.numbers]
    return tuple(dict.fromkeys(one for one in asked if runtime.supports(one, skeleton) is None))


def named(names: Container[str]) -> tuple[Variant, ...]:
    """Those that have one of these names, dense before pruned, in the order of the precisions."""
    return tuple(one for one in variants(map(Precision, NUMBERS)) if one.name in names)


def variants(precisions: Iterable[Precision]) -> tuple[Variant, ...]:
    """Both models in these precisions."""
    return tuple(Variant(side, precision) for precision in precisions for side in SIDES)
