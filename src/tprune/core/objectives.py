"""What is measured of couplings and of whole selections, by the word that recipes and options take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from tprune.support.errors import InputError

Objective = Literal["loss", "divergence"]


@dataclass(frozen=True)
class ObjectiveRule:
    """What is known of an objective.

    Attributes:
        added: what tables call the numbers that cuts add to it.
        digits: after the point, where the number of a whole model is told.
        compares: whether distributions are compared with the dense model's, which not all tasks have.
    """

    added: str
    digits: int
    compares: bool = False


OBJECTIVES: Mapping[Objective, ObjectiveRule] = {
    "loss": ObjectiveRule("loss added, nats", 3),
    "divergence": ObjectiveRule("divergence added, nats", 5, compares=True),  # divergences are small numbers
}
DEFAULT: Objective = "loss"  # that of runs of before there was another


def objective_rule(name: str) -> ObjectiveRule:
    """What is known of an objective.

    Args:
        name: of it.

    Raises:
        InputError: there is none of that name.

    Example:
        >>> objective_rule("divergence").added
        'divergence added, nats'
    """
    if name not in OBJECTIVES:
        raise InputError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {name!r}")
    return OBJECTIVES[cast(Objective, name)]
