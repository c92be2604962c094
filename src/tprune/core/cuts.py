"""Cuts: for every tensor the positions that stay on each axis, from all couplings at once, in original indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tprune.core.coupling import View, tensors_of
from tprune.core.plan import Entry, Plan
from tprune.core.realisation import Cutting, cutting_of
from tprune.core.structure import Shape
from tprune.support.errors import InputError

Lines = dict[int, Tensor]


@dataclass(frozen=True)
class Cuts:
    """Which positions stay on each axis of each tensor.

    Heads, dimensions inside heads, units and width overlap on the same tensors: their keep sets are intersected per
    axis in original indices, and every tensor is sliced once.

    Attributes:
        shapes: the tensors' shapes before.
        keep: by tensor and axis, the positions that stay because their whole coupling stays.
        gather: by tensor and axis, the lines that this matrix alone goes on using.
        removed: tensors of which nothing stays.
    """

    shapes: Mapping[str, Shape]
    keep: Mapping[str, Lines] = field(default_factory=dict)
    gather: Mapping[str, Lines] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def lines(self, name: str, axis: int) -> Tensor:
        """The positions of the *cut* axis that are gathered: indices into what `keep` leaves."""
        kept = self.keep.get(name, {}).get(axis)
        used = self.gather[name][axis]
        return (used if kept is None else used[kept]).nonzero().flatten()

    def shape(self, name: str) -> Shape:
        """The shape of a tensor after the cut, gathered lines not yet dropped."""
        kept = self.keep.get(name, {})
        return tuple(int(kept[axis].sum()) if axis in kept else size for axis, size in enumerate(self.shapes[name]))

    def slice(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor after the cut, with only its gathered lines."""
        for axis in range(tensor.ndim):
            lines = [where[name][axis] for where in (self.keep, self.gather) if axis in where.get(name, {})]
            if lines:
                stay = torch.stack(lines).all(0).nonzero().flatten()
                tensor = tensor.index_select(axis, stay.to(tensor.device))
        return tensor.detach().clone()


def cuts_of(model: nn.Module, plan: Plan, realisation: Cutting | None = None) -> Cuts:
    """Works out all cuts of a plan; entries whose realisation cuts nothing are left out.

    Args:
        model: the model the plan was made for.
        plan: after selection; what says nothing stays whole.
        realisation: of all entries, whatever they name.

    Raises:
        InputError: the kept groups of a coupling cannot be cut out densely; names coupling and tensor.
    """
    tensors = tensors_of(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    twins = _twins(tensors)
    keep: dict[str, Lines] = {}
    gather: dict[str, Lines] = {}
    removed: set[str] = set()
    for entry, groups in zip(plan.entries, plan.bind(model), strict=True):
        cutting = realisation or cutting_of(entry.realisation)
        if cutting is None or entry.kept is None or bool(entry.keep.all()):
            continue
        if entry.groups == ():
            removed.update(twin for param in groups.coupling.params for twin in twins[param])
            continue
        for view in groups.coupling.views:
            lines = _lines(view, shapes[view.param], entry)
            for name in twins[view.param]:
                _intersect((gather if cutting.gathers else keep).setdefault(name, {}), lines)
    return Cuts(shapes, keep, {k: v for k, v in gather.items() if k not in removed}, frozenset(removed))


def _lines(view: View, shape: Shape, entry: Entry) -> Lines:
    start, stop = view.rows or (0, shape[0])
    try:
        lines = view.structure.axis_keep((stop - start, *shape[1:]), entry.keep)
    except InputError as error:
        raise InputError(f"coupling {entry.coupling.name}, {view.param}: {error}") from None
    if 0 in lines and view.part is not None:  # rows of other parts of a fused tensor are not this view's to cut
        whole = torch.ones(shape[0], dtype=torch.bool)
        whole[view.part] = lines[0]
        lines[0] = whole
    return lines


def _intersect(into: Lines, lines: Lines) -> None:
    for axis, stay in lines.items():
        into[axis] = into[axis] & stay if axis in into else stay


def _twins(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """For every name, all names of the same tensor (tied weights)."""
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_tensor.setdefault(id(tensor), []).append(name)
    return {name: by_tensor[id(tensor)] for name, tensor in tensors.items()}
