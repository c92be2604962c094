"""Shrunk and gathered: the plan's pruned groups are cut out, and an ordinary, smaller dense model remains."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tprune.core.cuts import Cuts, cuts_of
from tprune.core.family import Family
from tprune.core.kinds import INNER
from tprune.core.model import Model
from tprune.core.plan import Plan, Realisation
from tprune.core.sites import Site, no_site
from tprune.families.registry import family_of
from tprune.realise.mask import masked
from tprune.support.errors import InputError


def shrink(model: nn.Module, plan: Plan, *, stock: bool = False) -> Model:
    """The smaller model that computes what the masked model computes; the given model is left as it is.

    Args:
        model: the model the plan was made for.
        plan: after selection.
        stock: write it as a stock Hugging Face class that needs no code of ours.

    Raises:
        InputError: the plan is for another model, has no selection, cannot be cut out densely, or, with `stock`, leaves
            shapes that stock configurations do not express.
    """
    if not plan.selected:
        name = next(entry.coupling.name for entry in plan.entries if entry.kept is None)
        raise InputError(f"the plan does not say what to keep of {name}; select first (tprune.select_to)")
    family = family_of(model)
    zeroed = [entry for entry in plan.entries if entry.realisation is Realisation.MASKED and entry.kept is not None]
    source = masked(model, Plan(plan.family, plan.fingerprint, tuple(zeroed))) if zeroed else model
    cuts = cuts_of(source, plan)
    small = family.build(source, cuts, kept_heads(plan), stock)
    small.to(dtype=next(source.parameters()).dtype, device=next(source.parameters()).device)
    # strict: every tensor of the small model comes from the cut, and nothing that was kept is lost
    small.load_state_dict(cut_state(source, cuts, family), strict=True)
    family.inherit(source, small)
    return cast(Model, small.train(model.training))


def cut_state(model: nn.Module, cuts: Cuts, family: Family) -> dict[str, Tensor]:
    """The state dict of the smaller model: every tensor sliced once, with the index buffers of gathered matrices."""
    state = {
        name: cuts.slice(name, tensor)
        for name, tensor in model.state_dict().items()
        if name not in cuts.removed and not (0 in cuts.shape(name) and family.drops_empty(name))
    }
    for name, lines in cuts.gather.items():
        module = name.removesuffix(".weight")
        for axis in lines:
            stay = cuts.lines(name, axis)
            if axis == 1:
                state[f"{module}.input_index"] = stay
            else:
                whole = torch.full((cuts.shape(name)[0],), len(stay))
                whole[stay] = torch.arange(len(stay))
                state[f"{module}.output_index"] = whole
    return state


def kept_heads(plan: Plan) -> dict[Site, int]:
    """How many heads each attention keeps, by its site. Raises `InputError` where heads have no site."""
    found: dict[Site, int] = {}
    for entry in plan.entries:
        if INNER.get(entry.coupling.kind) and entry.realisation is not Realisation.MASKED:
            if entry.coupling.site is None:
                raise no_site(entry.coupling.name)
            found[entry.coupling.site] = int(entry.keep.sum())
    return found
