"""Whether a constraint keeps its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from tprune.core.constraint import Constraint
from tprune.core.coupling import Coupling, Groups, bias, consumer, groups_of, producer
from tprune.testing.common import TOLERANCE, apart, require

TRIES = 16


def check_constraint(constraint: Constraint, coupling: Coupling | None = None, *, seed: int = 0) -> None:
    """A constraint's projection: new tensors that lie in the set, stay where they are, and are as near as it says.

    "As near as it says" is tried against random members of the set: projections of other points, and, where zero lies
    in the set, the given point with only those groups that it lets in one by one, the largest first and in random
    orders.

    Args:
        constraint: the constraint.
        coupling: of tensors `up` (8 x 6), `shift` (8) and `down` (4 x 8), where the constraint needs other groups than
            the eight units of these.
        seed: of the weights it is tried on.

    Raises:
        AssertionError: it breaks the protocol.

    Example:
        >>> from tprune.methods.constraints.largest import Largest
        >>> check_constraint(Largest(k=2))
    """
    random, name = torch.Generator().manual_seed(seed), type(constraint).__name__
    require(isinstance(constraint, Constraint), f"{name}: expected nearest, contains and project")
    coupling = coupling or _UNITS
    groups = _example(coupling, random)
    found = _checked(constraint, groups, name)
    _check_nearest(constraint, groups, found, random, name)
    zero = Groups(coupling, {param: torch.zeros_like(tensor) for param, tensor in groups.tensors.items()})
    _checked(constraint, zero, f"{name}, where all is zero")


def _checked(constraint: Constraint, groups: Groups, name: str) -> Groups:
    """The projected groups, once all that holds for any projection is seen to hold."""
    before = {param: tensor.clone() for param, tensor in groups.tensors.items()}
    found = dict(constraint.project(groups))
    constraint.contains(groups)
    require(all(torch.equal(before[p], t) for p, t in groups.tensors.items()), f"{name}: it changes the given tensors")
    require(found.keys() == before.keys(), f"{name}: it gives {sorted(found)}; expected {sorted(before)}")
    for param, tensor in found.items():
        shapes = f"{param} has shape {tuple(tensor.shape)}; expected {tuple(before[param].shape)}"
        require(tensor.shape == before[param].shape, f"{name}: {shapes}")
        require(bool(tensor.isfinite().all()), f"{name}: {param} is not finite")
        shared = tensor.untyped_storage().data_ptr() == groups.tensors[param].untyped_storage().data_ptr()
        require(not shared, f"{name}: {param} shares its memory with the given tensor")
    require(_same(found, constraint.project(groups)), f"{name}: not deterministic")
    inside = Groups(groups.coupling, found)
    require(constraint.contains(inside), f"{name}: the projection does not lie in the set")
    require(_same(found, constraint.project(inside)), f"{name}: not idempotent")
    return inside


def _check_nearest(constraint: Constraint, groups: Groups, found: Groups, random: torch.Generator, name: str) -> None:
    own = _distance(groups, found)
    require(own > 0, f"{name}: the example lies in the set already; check it with another coupling")
    for member in _members_of_the_set(constraint, groups, random):
        require(constraint.contains(member), f"{name}: the projection of another point does not lie in the set")
        other = _distance(groups, member)
        near = not constraint.nearest or own <= other * (1 + TOLERANCE)
        require(near, f"{name}: the projection lies {own:.4g} away, another point of the set {other:.4g}")


def _members_of_the_set(constraint: Constraint, groups: Groups, random: torch.Generator) -> Iterator[Groups]:
    for spread in (1.0, 0.1, 0.01):
        for _ in range(TRIES // 2):
            noise = _example(groups.coupling, random).tensors
            there = {param: tensor + spread * noise[param] for param, tensor in groups.tensors.items()}
            yield Groups(groups.coupling, constraint.project(Groups(groups.coupling, there)))
    nothing = torch.zeros(groups.shape, dtype=torch.bool)
    if not constraint.contains(_kept(groups, nothing)):
        return
    largest_first = groups.norms.flatten().argsort(descending=True)
    for order in [largest_first, *(torch.randperm(nothing.numel(), generator=random) for _ in range(TRIES))]:
        keep = nothing.clone()
        for index in order:
            keep.view(-1)[index] = True
            keep.view(-1)[index] = constraint.contains(_kept(groups, keep))
        yield _kept(groups, keep)


def _kept(groups: Groups, keep: Tensor) -> Groups:
    return Groups(groups.coupling, groups.scaled(keep))


def _distance(a: Groups, b: Groups) -> float:
    """The l2 distance over the elements that norms count."""
    apart_by = {param: tensor - b.tensors[param] for param, tensor in a.tensors.items()}
    return float(Groups(a.coupling, apart_by).norms.square().sum().sqrt())


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(apart(a[param], b[param]) < TOLERANCE for param in a)


_UNITS = Coupling("units", (producer("up", "u i -> u"), bias("shift", "u -> u"), consumer("down", "o u -> u")))


def _example(coupling: Coupling, random: torch.Generator) -> Groups:
    """Members of eight units of unequal size, in double precision."""
    scale = torch.tensor([1.0, 0.3, 0.01, 2.0, 0.5, 1.5, 0.7, 3.0], dtype=torch.float64)
    up = torch.randn(8, 6, generator=random, dtype=torch.float64) * scale[:, None]
    down = torch.randn(4, 8, generator=random, dtype=torch.float64) * scale
    return groups_of(coupling, {"up": up, "shift": scale.flip(0), "down": down})
