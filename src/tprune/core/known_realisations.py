"""The realisations by the names they have in plans. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tprune.support.registry import Registry

if TYPE_CHECKING:
    from tprune.core.realisation import Realisation


def _fault(thing: object) -> str | None:
    if isinstance(thing, type):
        return f"{thing.__qualname__} is a class; expected one of its objects, which is called with a model and a plan"
    return None if callable(thing) else f"a {type(thing).__name__} cannot be called; expected (model, plan) -> model"


REALISATIONS: Registry[Realisation] = Registry(
    "realisation",
    "tprune.realisations",
    {
        "masked": "tprune.realise.mask:masked",
        "shrunk": "tprune.realise.shrunk:SHRUNK",
        "gathered": "tprune.realise.gathered:GATHERED",
    },
    _fault,
)


def usual_realisation(closed: bool) -> str:
    """What becomes of a coupling where nothing is said: a closed one is shrunk, an open one gathered.

    Args:
        closed: whether the coupling lists every consumer.
    """
    return "shrunk" if closed else "gathered"
