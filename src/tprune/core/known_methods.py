"""The methods by the names they have in plans and recipes. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tprune.support.registry import Registry

if TYPE_CHECKING:
    from tprune.core.method import Method


def _fault(thing: object) -> str | None:
    from tprune.core.method_json import fault  # here, because it needs torch

    return fault(thing, ("init", "update"))


METHODS: Registry[type[Method]] = Registry(
    "method",
    "tprune.methods",
    {
        "gradual_magnitude": "tprune.methods.gradual_magnitude:GradualMagnitude",
        "group_lasso": "tprune.methods.group_lasso:GroupLasso",
        "hoyer_square": "tprune.methods.hoyer_square:HoyerSquare",
        "paced_hoyer_square": "tprune.methods.hoyer_square:PacedHoyerSquare",
    },
    _fault,
)


def default_method() -> Method:
    """The method of a plan that names none: Hoyer-square at the optimiser's pace."""
    return METHODS["paced_hoyer_square"]()
