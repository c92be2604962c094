"""The constraints by the names they have in plans. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tprune.support.registry import Registry

if TYPE_CHECKING:
    from tprune.core.constraint import Constraint


def _fault(thing: object) -> str | None:
    from tprune.core.method_json import fault  # here, because it needs torch

    return fault(thing, ("nearest", "contains", "project"))


CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint",
    "tprune.constraints",
    {
        "largest": "tprune.methods.constraints.largest:Largest",
        "n_of_m": "tprune.methods.constraints.n_of_m:NOfM",
    },
    _fault,
)
