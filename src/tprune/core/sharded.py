"""Tensors of which every process holds some rows, as FSDP2 leaves parameters: what couplings need of them.

Groups are those of the whole tensor. Each process adds up the squares of its own rows by their group in the whole, and
one sum over the processes makes them the norms that a process with the whole tensor would have.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from tprune.core.structure import Layout
from tprune.core.views import View
from tprune.support.errors import InputError

LOADED = "torch.distributed.tensor"  # whoever has a sharded tensor has imported it; it takes a moment


class Rows(NamedTuple):
    """The rows of a tensor that this process holds.

    Attributes:
        tensor: these rows.
        start: the first one's number in the whole tensor.
        group: the processes that share the tensor.
    """

    tensor: Tensor
    start: int
    group: dist.ProcessGroup


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor lies in parts on several processes."""
    module = sys.modules.get(LOADED)
    return module is not None and isinstance(tensor, module.DTensor)


def rows_of(tensor: Tensor) -> Rows:
    """The rows of a sharded tensor that are here.

    Raises:
        InputError: it is not cut into rows, as FSDP2 does by default, but otherwise.
    """
    sharded = sys.modules[LOADED]
    held: Any = tensor
    mesh, places = held.device_mesh, held.placements
    cut = [i for i, place in enumerate(places) if not isinstance(place, sharded.Replicate)]
    if len(cut) != 1 or type(places[cut[0]]) is not sharded.Shard or places[cut[0]].dim != 0:
        raise InputError(
            f"a tensor of shape {tuple(tensor.shape)} lies in parts as {tuple(places)}; expected rows on one axis of "
            "the processes (Shard(0)), as FSDP2 cuts by default"
        )
    each = -(-tensor.shape[0] // mesh.size(cut[0]))  # as torch.chunk cuts: the last processes may hold none
    start = min(each * mesh.get_local_rank(cut[0]), tensor.shape[0])
    return Rows(held.to_local(), start, mesh.get_group(cut[0]))


@torch.no_grad()
def squares(view: View, tensor: Tensor, fresh: Tensor | None) -> Tensor:
    """Squared l2 norm of every group of the whole tensor, in every process; no gradients pass.

    Args:
        view: of the tensor.
        tensor: sharded.
        fresh: bool, shaped as what is viewed of the whole: the elements that count; None for all.
    """
    rows, here, lines = viewed(view, tensor)
    layout = view.structure.layout(view.shape(tensor))
    found = here.to(torch.promote_types(here.dtype, torch.float32)).square()
    if fresh is not None:
        found = found * fresh[lines].to(found.device)
    inner = _inner(layout)
    found = found.sum(inner, keepdim=True) if inner else found
    total = found.new_zeros(layout.groups).flatten()
    total.index_add_(0, _index(layout, lines).to(found.device).flatten(), found.flatten())
    dist.all_reduce(total, group=rows.group)
    return total.reshape(layout.groups)


def spread(view: View, tensor: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, slice]:
    """The viewed rows that are here, their groups' values to multiply them by, and which rows of the view they are.

    Args:
        view: of the tensor.
        tensor: sharded.
        groups: a value for each group.
    """
    _, here, lines = viewed(view, tensor)
    layout = view.structure.layout(view.shape(tensor))
    index = _index(layout, lines).to(groups.device)
    return here, groups.flatten()[index].to(here.device, here.dtype), lines


def viewed(view: View, tensor: Tensor) -> tuple[Rows, Tensor, slice]:
    """What is here of a view: all rows here, the viewed ones, and which rows of the view these are."""
    rows = rows_of(tensor)
    begin, end = view.rows or (0, tensor.shape[0])
    first = max(begin, rows.start)
    last = max(first, min(end, rows.start + len(rows.tensor)))
    return rows, rows.tensor[first - rows.start : last - rows.start], slice(first - begin, last - begin)


def _inner(layout: Layout) -> list[int]:
    """The axes along which all elements are in one group."""
    return [axis for axis, names in enumerate(layout.axes) if not set(names) & set(layout.right)]


def _index(layout: Layout, lines: slice) -> Tensor:
    """The flat group of the elements of some rows; of length 1 along axes where it does not change."""
    index, inner = layout.index(), _inner(layout)
    for axis in inner:
        index = index.narrow(axis, 0, 1)
    return index if 0 in inner else index[lines]
