"""Which family a model is of. A family's table of couplings is the source of truth about its architecture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from tprune.core.coupling import Coupling
from tprune.core.family import Family
from tprune.support.errors import InputError
from tprune.support.registry import Registry
from tprune.support.texts import check_list

FAMILIES: Registry[Family] = Registry(
    "family",
    "tprune.families",
    {
        "marian": "tprune.families.encoder_decoder:MARIAN",
        "bart": "tprune.families.encoder_decoder:BART",
        "bert": "tprune.families.bert:BERT",
        "llama": "tprune.families.llama:LLAMA",
        "resnet": "tprune.families.resnet:RESNET",
    },
)


def family_of(model: Any) -> Family:
    """The family of a model. Raises `InputError` naming the supported ones."""
    for family in FAMILIES.values():
        if family.matches(model):
            return family
    raise InputError(f"{type(model).__name__} is of no supported family; supported are: {', '.join(FAMILIES)}")


def couplings(model: nn.Module, kinds: Iterable[str] | None = None) -> tuple[Coupling, ...]:
    """The couplings of a model, all or those of some kinds (`ffn`, `heads`, `qk`, `vo`, `sublayer`, `width`, `lines`, `channels`).

    Raises:
        InputError: the model's family is not supported, or it has no coupling of an asked kind.
    """
    table = family_of(model).couplings(model)
    if kinds is None:
        return table
    check_list(kinds, "kinds of couplings")
    wanted = list(kinds)
    known = sorted({c.kind for c in table})
    for kind in wanted:
        if kind not in known:
            raise InputError(f"no couplings of kind {kind!r} in {type(model).__name__}; there are: {', '.join(known)}")
    return tuple(coupling for coupling in table if coupling.kind in wanted)
