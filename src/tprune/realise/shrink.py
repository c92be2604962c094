"""A plan realised: each of its entries as it says, masked, shrunk, gathered, or by a realisation of others."""

from __future__ import annotations

from typing import cast

from torch import nn

from tprune.core.known_realisations import REALISATIONS
from tprune.core.model import Model
from tprune.core.plan import Plan, fingerprint
from tprune.core.realisation import cutting_of, parts
from tprune.realise.cut import cut
from tprune.support.errors import InputError


def shrink(model: nn.Module, plan: Plan, *, stock: bool = False) -> Model:
    """The realised model, which computes what the masked model computes; the given model is left as it is.

    Realisations that do not cut come first, one after the other; then all cuts are made at once.

    Args:
        model: the model the plan was made for.
        plan: after selection.
        stock: write it as a stock Hugging Face class that needs no code of ours.

    Raises:
        InputError: the plan is for another model, has no selection, cannot be cut out densely, or, with `stock`, leaves
            shapes that stock configurations do not express; or a realisation changes tensors that others are to cut.

    Example:
        >>> import tprune
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), heads=2, ffn=32, positions=16), vocabulary=40)
        >>> plan = tprune.make_plan(model, "marian", tprune.couplings(model, ["ffn"]))
        >>> goal = tprune.select_to(model, plan, tprune.Budget("params", 0.8), tprune.Uniform())
        >>> shrink(model, goal).model.encoder.layers[0].fc1
        Linear(in_features=16, out_features=13, bias=True)
    """
    if not plan.selected:
        name = next(entry.coupling.name for entry in plan.entries if entry.kept is None)
        raise InputError(f"the plan does not say what to keep of {name}; select first (tprune.select_to)")
    by_name = parts(plan)
    cutting = [name for name in by_name if cutting_of(name) is not None]
    others = [name for name in by_name if name not in cutting]
    found = model
    for i, name in enumerate(others):
        found = REALISATIONS.named(name)(found, by_name[name])
        if (follow := [*others[i + 1 :], *cutting]) and fingerprint(found) != plan.fingerprint:
            raise InputError(
                f"realisation {name!r} changes names or shapes of tensors, so that {follow[0]!r} cannot follow it; "
                "expected a plan with one of the two"
            )
    if others and not cutting:
        return cast(Model, found.train(model.training))
    return cut(found, plan, stock=stock)
