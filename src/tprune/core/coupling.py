"""Couplings: the slices of several tensors that live or die together, as views that name the shared axis alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from tprune.core import sharded
from tprune.core.sites import ENCODER, Site
from tprune.core.structure import Shape, root
from tprune.core.views import Role as Role
from tprune.core.views import View as View
from tprune.core.views import bias as bias
from tprune.core.views import consumer as consumer
from tprune.core.views import producer as producer
from tprune.support.errors import InputError

SOURCE = {
    "qk": Role.CONSUMER,
    "vo": Role.PRODUCER,
}  # of a cross-attention's couplings, the members that read the source
Member = tuple[View, Tensor | None]  # a view and which of its elements are to be used (None: all)


@dataclass(frozen=True)
class Coupling:
    """Views that live or die together.

    Norm of group g: `n_g = (Σ_members Σ_{e in g} w_e²)^½`; biases are not counted, tied or overlapping elements count
        once.

    Attributes:
        name: unique in its model.
        views: the members.
        closed: every consumer is listed, so cutting a group from all members changes nothing but size. An open coupling
            (the lines of a single matrix) is realised by gathering.
        kind: what it is a coupling of (`ffn`, `heads`, ...), the same word for every layer.
        site: where in the model it lies, as its family says; None where it does not say.
        needed: whether a group of it has to stay, because other blocks need more of its block than what it adds.

    Raises:
        InputError: it has no views.

    Example:
        >>> from tprune.core.coupling import bias, consumer, producer
        >>> fc1, fc2 = (producer("0.weight", "u i -> u"), bias("0.bias", "u -> u")), (consumer("2.weight", "o u -> u"),)
        >>> print(Coupling("units", (*fc1, *fc2), kind="ffn"))
        units: 0.weight `u i -> u`; 0.bias `u -> u`; 2.weight `o u -> u`
    """

    name: str
    views: tuple[View, ...]
    closed: bool = True
    kind: str = ""
    site: Site | None = None
    # it says what may be left, not what is coupled: a plan that was written without it holds the same couplings
    needed: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError(f"coupling {self.name}: no views; expected at least one tensor")

    def __str__(self) -> str:
        return f"{self.name}: " + "; ".join(f"{view.param} `{view.structure.pattern}`" for view in self.views)

    @property
    def params(self) -> tuple[str, ...]:
        """The names of the member tensors, each once."""
        return tuple(dict.fromkeys(view.param for view in self.views))


@dataclass(frozen=True)
class Groups:
    """One coupling with its member tensors; norms are computed when first asked for, and again after `refresh`."""

    coupling: Coupling
    tensors: Mapping[str, Tensor]

    @cached_property
    def shape(self) -> Shape:
        """The shape of the group index. Raises `InputError` where members disagree, naming both."""
        shapes = [self._layout_groups(view) for view in self.coupling.views]
        first = self.coupling.views[0]
        for view, shape in zip(self.coupling.views, shapes, strict=True):
            if shape != shapes[0]:
                raise InputError(
                    f"coupling {self.coupling.name}: {first.param} has groups {shapes[0]}, {view.param} has {shape}"
                )
        return shapes[0]

    @property
    def names(self) -> tuple[str, ...]:
        """What the axes of the group index are called in the coupling's first pattern."""
        view = self.coupling.views[0]
        return view.structure.layout(view.shape(self.tensors[view.param])).right

    @property
    def filled(self) -> Tensor:
        """A bool per group: whether any of its members, biases included, holds something other than zero."""
        found = torch.zeros(self.shape, dtype=torch.bool)
        for view, _ in self.members:
            found |= (squares(view, (self.tensors[view.param].detach() != 0).float(), None) > 0).cpu()
        return found

    def _layout_groups(self, view: View) -> Shape:
        return view.structure.layout(view.shape(self.tensors[view.param])).groups

    @cached_property
    def norms(self) -> Tensor:
        """The l2 norm of every group over all counted members.

        Differentiable where gradients are on and no member is sharded. Of members that lie in parts on several
        processes (FSDP2) every process gets the norms of the whole, so all of them have to ask.
        """
        _ = self.shape
        total: Tensor | None = None
        for view, fresh in self.counted:
            found = squares(view, self.tensors[view.param], fresh)
            total = found if total is None else total + found.to(total.device)
        if total is None:
            raise InputError(f"coupling {self.coupling.name}: only biases, nothing to measure")
        return root(total)

    def refresh(self) -> Groups:
        """Forgets the norms, because the tensors have changed; returns itself."""
        self.__dict__.pop("norms", None)
        return self

    @cached_property
    def sizes(self) -> Tensor:
        """How many counted elements each group has."""
        counts = torch.zeros(self.shape, dtype=torch.long)
        for view, fresh in self.counted:
            shape = view.shape(self.tensors[view.param])
            if fresh is None:
                counts += view.structure.counts(shape)
            else:
                index = view.structure.layout(shape).index()[fresh]
                counts += torch.bincount(index, minlength=counts.numel()).reshape(counts.shape)
        return counts

    @cached_property
    def counted(self) -> tuple[Member, ...]:
        """The members in the norm, each with the elements that no earlier member has counted already (None: all)."""
        return tuple((view, fresh) for view, fresh in self.members if view.role is not Role.BIAS)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members, biases last, each with the elements that no earlier one holds in the same group (None: all)."""
        found: list[Member] = []
        for view in sorted(self.coupling.views, key=lambda view: view.role is Role.BIAS):
            fresh = self._fresh(view, [earlier for earlier, _ in found])
            if fresh is None or fresh.any():
                found.append((view, fresh))
        return tuple(found)

    def _fresh(self, view: View, earlier: Sequence[View]) -> Tensor | None:
        twins = [e for e in earlier if _same(self.tensors[e.param], self.tensors[view.param])]
        if not twins:
            return None
        tensor = self.tensors[view.param]
        if any(_indexing(e, self.tensors[e.param]) == _indexing(view, tensor) for e in twins):
            return torch.zeros((), dtype=torch.bool).expand(view.shape(tensor))
        rows = len(tensor)
        own = _element_groups(view, self.tensors[view.param])
        fresh = own >= 0
        for twin in twins:
            fresh &= own != _element_groups(twin, self.tensors[twin.param])
        fresh = fresh[view.part] if view.part is not None else fresh
        return None if bool(fresh.all()) and rows else fresh

    @torch.no_grad()
    def scale_(self, factors: Tensor, members: Iterable[Member] | None = None) -> None:
        """Multiplies members (all, biases too, unless given) by their group's factor, in place.

        A mask has factors 0 and 1.

        An element that several members hold in one group is multiplied once.
        """
        for member in self.members if members is None else members:
            scale_member_(self.tensors[member[0].param], member, factors)

    @torch.no_grad()
    def scaled(self, factors: Tensor) -> dict[str, Tensor]:
        """Copies of the member tensors, scaled as `scale_` does it; names of one tensor share their copy.

        Example:
            >>> groups = groups_of(Coupling("rows", (producer("w", "o i -> o"),)), {"w": torch.ones(2, 2)})
            >>> groups.scaled(torch.tensor([True, False]))["w"]
            tensor([[1., 1.],
                    [0., 0.]])
        """
        copies = {id(tensor): tensor.detach().clone() for tensor in self.tensors.values()}
        twin = Groups(self.coupling, {param: copies[id(tensor)] for param, tensor in self.tensors.items()})
        twin.scale_(factors)
        return dict(twin.tensors)


@torch.no_grad()
def scale_member_(tensor: Tensor, member: Member, factors: Tensor) -> None:
    """Multiplies what a member views of a tensor, its own or one shaped like it, by its group's factor, in place."""
    view, fresh = member
    if sharded.is_sharded(tensor):
        here, factors, lines = sharded.spread(view, tensor, factors)
        here.mul_(factors if fresh is None else torch.where(fresh[lines].to(here.device), factors, 1))
        return
    w = view.of(tensor)
    factors = factors.to(w.device)
    if fresh is None:
        view.structure.scale_(w, factors)
    else:
        w.mul_(torch.where(fresh.to(w.device), view.structure.expand(factors, w), 1))


@torch.no_grad()
def add_scaled_member_(out: Tensor, tensor: Tensor, member: Member, factors: Tensor) -> None:
    """`out += factor · tensor` for what a member views, each element times its group's factor, in place.

    Args:
        out: shaped, and sharded, like the tensor.
        tensor: the member's own.
        member: a view and which of its elements count.
        factors: one a group.
    """
    view, fresh = member
    if sharded.is_sharded(tensor):
        here, factors, lines = sharded.spread(view, tensor, factors)
        sharded.viewed(view, out)[1].addcmul_(here if fresh is None else here * fresh[lines].to(here.device), factors)
        return
    w, to = view.of(tensor), view.of(out)
    view.structure.add_scaled_(to, w if fresh is None else w * fresh.to(w.device), factors)


def squares(view: View, tensor: Tensor, fresh: Tensor | None) -> Tensor:
    """Squared l2 norm of every group of a view of a tensor, or of the elements in `fresh`; see `Groups.norms`."""
    if sharded.is_sharded(tensor):
        return sharded.squares(view, tensor, fresh)
    w = view.of(tensor)
    return view.structure.squares(w if fresh is None else w * fresh.to(w.device))


def _same(a: Tensor, b: Tensor) -> bool:
    if sharded.is_sharded(a) or sharded.is_sharded(b):  # their memory is of parts, and may be empty
        return a is b
    return a is b or (a.device == b.device and a.data_ptr() == b.data_ptr() and a.shape == b.shape and not a.is_meta)


def _indexing(view: View, tensor: Tensor) -> object:
    """How a view's axes index its groups: equal for views that put every element into the same group."""
    layout = view.structure.layout(view.shape(tensor))
    places = {name: place for place, name in enumerate(layout.right)}
    return view.rows, tuple(tuple((layout.sizes[name], places.get(name)) for name in axis) for axis in layout.axes)


def _element_groups(view: View, tensor: Tensor) -> Tensor:
    """The flat group of every element of the whole tensor, -1 outside the viewed part."""
    index = torch.full(tuple(tensor.shape), -1)
    target = view.of(index)
    target.copy_(view.structure.layout(tuple(target.shape)).index())
    return index


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, tied ones under each of their names."""
    found: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    return found


def groups_of(coupling: Coupling, tensors: Mapping[str, Tensor]) -> Groups:
    """Binds a coupling to tensors.

    Raises:
        InputError: a member does not exist, or the members disagree about the groups.
    """
    missing = [param for param in coupling.params if param not in tensors]
    if missing:
        raise InputError(f"coupling {coupling.name}: the model has no tensor {missing[0]!r}")
    groups = Groups(coupling, {param: tensors[param] for param in coupling.params})
    if math.prod(groups.shape) == 0:
        raise InputError(f"coupling {coupling.name}: no groups are left")
    return groups


def bind(couplings: Sequence[Coupling], model: nn.Module) -> list[Groups]:
    """Binds all couplings to a model; see `groups_of`. Raises `InputError` for two couplings of one name."""
    tensors = tensors_of(model)
    names = [coupling.name for coupling in couplings]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two couplings are called {twice!r}; names must differ")
    return [groups_of(coupling, tensors) for coupling in couplings]


def source_params(couplings: Iterable[Coupling]) -> frozenset[str]:
    """Tensors of linears with one input per token of the source.

    These are those of the encoder, and keys and values of the source.

    Keys are the consumers of a coupling `qk`, values the producers of a coupling `vo`.

    Args:
        couplings: the whole table of a family.
    """
    found: set[str] = set()
    for coupling in couplings:
        site = coupling.site
        if site is not None and site.stack == ENCODER:
            found.update(coupling.params)
        elif site is not None and site.reads_source:
            role = SOURCE.get(coupling.kind)
            found.update(view.param for view in coupling.views if view.role is role)
    return frozenset(found)
