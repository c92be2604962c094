"""The norms of a checkpoint's groups, read from its files one tensor at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tprune.core.coupling import Groups, Member
from tprune.core.plan import Plan
from tprune.core.structure import root
from tprune.realise.on_paper import on_paper
from tprune.realise.shards import Shards
from tprune.support.errors import InputError

ROWS = 8192  # of a matrix at a time, where its rows index no groups


@torch.no_grad()
def streamed_norms(folder: str | Path, plan: Plan) -> dict[str, Tensor]:
    """The l2 norm of every group of a plan's couplings, of a checkpoint that is not loaded; as `norm_scores` has them.

    `n_g = (Σ_members Σ_{e in g} w_e²)^½`

    Args:
        folder: a Hugging Face checkpoint in safetensors, whole or in shards.
        plan: for the checkpoint's model; what it keeps plays no part.

    Raises:
        InputError: no such checkpoint, a plan for another model, or a coupling of biases alone.
    """
    shards = Shards.of(Path(folder))
    model = on_paper(Path(folder), shards)
    bound = plan.bind(model)
    state = model.state_dict(keep_vars=True)
    saved = {id(state[name]): name for name in shards.all_names()}  # a tied tensor is saved under one of its names
    totals = {groups.coupling.name: torch.zeros(groups.shape) for groups in bound}
    readers: dict[str, list[tuple[Groups, Member]]] = {}
    for groups in bound:
        if not groups.counted:
            raise InputError(f"coupling {groups.coupling.name}: only biases, nothing to measure")
        for member in groups.counted:
            name = saved.get(id(groups.tensors[member[0].param]))
            if name is None:
                raise InputError(f"coupling {groups.coupling.name}: no file has {member[0].param}")
            readers.setdefault(name, []).append((groups, member))
    for file in shards.names:
        for name, tensor in shards.tensors(file):
            for groups, member in readers.get(name, ()):
                totals[groups.coupling.name] += _squares(member, tensor)
    return {name: root(total) for name, total in totals.items()}


def _squares(member: Member, tensor: Tensor) -> Tensor:
    """What a member adds to the squared norms; a large matrix goes in parts, for it is widened."""
    view, fresh = member
    viewed = view.of(tensor)
    if fresh is not None:
        viewed = viewed * fresh
    layout = view.structure.layout(tuple(viewed.shape))
    if len(viewed) <= ROWS or set(layout.axes[0]) & set(layout.right) or len(layout.axes[0]) > 1:
        return view.structure.squares(viewed)
    parts = (viewed[start : start + ROWS] for start in range(0, len(viewed), ROWS))
    return torch.stack([view.structure.squares(part) for part in parts]).sum(0)
