"""The cut itself: every tensor of a model sliced once, into a smaller model of its family."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tprune.core.cuts import Cuts, cuts_of
from tprune.core.family import Family
from tprune.core.kinds import INNER
from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.core.realisation import Cutting, cutting_of
from tprune.core.sites import Site, no_site
from tprune.families.registry import family_of


def cut(model: nn.Module, plan: Plan, realisation: Cutting | None = None, *, stock: bool = False) -> Model:
    """The smaller model that the cutting entries of a plan leave; the given model is left as it is.

    Args:
        model: the model the plan was made for.
        plan: after selection.
        realisation: of all entries, whatever they name.
        stock: write it as a stock Hugging Face class that needs no code of ours.

    Raises:
        InputError: the plan is for another model, cannot be cut out densely, or, with `stock`, leaves shapes that stock
            configurations do not express.
    """
    family = family_of(model)
    cuts = cuts_of(model, plan, realisation)
    small = family.build(model, cuts, kept_heads(plan, realisation), stock)
    first = next(model.parameters())
    small.to(dtype=first.dtype, device=first.device)
    state, left = cut_state(model, cuts, family), small.state_dict()
    gone = tuple(f"{name}." for name, module in small.named_modules() if getattr(module, "removed", False))
    # strict: every tensor of the small model comes from the cut, and nothing that was kept is lost but in what is gone
    kept = {name: tensor for name, tensor in state.items() if name in left or not name.startswith(gone)}
    small.load_state_dict(kept, strict=True)
    family.inherit(model, small)
    return cast(Model, small.train(model.training))


def cut_state(model: nn.Module, cuts: Cuts, family: Family) -> dict[str, Tensor]:
    """The state dict of the smaller model: every tensor sliced once, or computed by the family.

    Index buffers of gathered matrices are in it.
    """
    state = {
        name: cuts.slice(name, tensor)
        for name, tensor in model.state_dict().items()
        if name not in cuts.removed and not (0 in cuts.shape(name) and family.drops_empty(name))
    }
    return {**state, **gathered_indices(cuts), **family.computed_tensors(model, cuts)}


def gathered_indices(cuts: Cuts) -> dict[str, Tensor]:
    """The index buffers of gathered matrices, by name."""
    found: dict[str, Tensor] = {}
    for name, lines in cuts.gather.items():
        module = name.removesuffix(".weight")
        for axis in lines:
            stay = cuts.lines(name, axis)
            if axis == 1:
                found[f"{module}.input_index"] = stay
            else:
                whole = torch.full((cuts.shape(name)[0],), len(stay))
                whole[stay] = torch.arange(len(stay))
                found[f"{module}.output_index"] = whole
    return found


def kept_heads(plan: Plan, realisation: Cutting | None = None) -> dict[Site, int]:
    """How many heads each attention keeps, by its site. Raises `InputError` where heads have no site."""
    found: dict[Site, int] = {}
    for entry in plan.entries:
        if INNER.get(entry.coupling.kind) and (realisation or cutting_of(entry.realisation)) is not None:
            if entry.coupling.site is None:
                raise no_site(entry.coupling.name)
            found[entry.coupling.site] = int(entry.keep.sum())
    return found
