"""Mistakes of constraints that the check has to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tprune.core.constraint import Constraint
from tprune.core.coupling import Coupling, Groups, producer
from tprune.methods.constraints.largest import Largest
from tprune.methods.constraints.n_of_m import NOfM
from tprune.testing import check_constraint


class _FadesToo(Largest):
    """The right groups, but smaller than they were."""

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return {param: tensor / 2 for param, tensor in super().project(groups).items()}


class _OneTooMany(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        assert self.k is not None
        return Largest(k=self.k + 1).project(groups)


class _TheFirst(Largest):
    """Idempotent and in the set, but not the nearest."""

    def keep(self, groups: Groups) -> Tensor:
        assert self.k is not None
        return torch.arange(groups.norms.numel()) < self.k


class _TheFirstAndSaysSo(_TheFirst):
    nearest: ClassVar[bool] = False


class _ForgetsBiases(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return {**super().project(groups), "shift": groups.tensors["shift"].clone()}


class _InPlace(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        groups.scale_(self.keep(groups))
        return {param: tensor.clone() for param, tensor in groups.refresh().tensors.items()}


class _Aliases(Largest):
    """Gives back what nothing was cut from."""

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        found = super().project(groups)
        return {p: groups.tensors[p] if torch.equal(t, groups.tensors[p]) else t for p, t in found.items()}


class _OneTensorOnly(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return {"up": super().project(groups)["up"]}


class _Cuts(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return {param: tensor[:1] for param, tensor in super().project(groups).items()}


class _Divides(Largest):
    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return {param: tensor * tensor / tensor for param, tensor in super().project(groups).items()}


class _Random(Largest):
    def keep(self, groups: Groups) -> Tensor:
        keep = torch.zeros(8, dtype=torch.bool)
        keep[torch.randperm(8)[: self.k]] = True
        return keep


class _TheFirstOfEachBlock(NOfM):
    def keep(self, groups: Groups) -> Tensor:
        return torch.arange(groups.shape[-1]).remainder(self.m).lt(self.n).expand(groups.shape)


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        (_FadesToo(k=2), "not idempotent"),
        (_OneTooMany(k=2), "the projection does not lie in the set"),
        (_TheFirst(k=2), "the projection lies .* away, another point of the set"),
        (_ForgetsBiases(k=2), "the projection does not lie in the set"),
        (_InPlace(k=2), "changes the given tensors"),
        (_Aliases(k=2), "where all is zero: up shares its memory"),
        (_OneTensorOnly(k=2), "it gives .'up'.; expected"),
        (_Cuts(k=2), r"up has shape \(1, 6\); expected \(8, 6\)"),
        (_Divides(k=2), "up is not finite"),
        (_Random(k=2), "not deterministic|not idempotent"),
        (Largest(share=1.0), "lies in the set already"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_broken_constraints_are_found(constraint: Constraint, says: str, seed: int) -> None:
    with pytest.raises(AssertionError, match=says):
        check_constraint(constraint, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_projection_of_single_weights_that_is_not_the_nearest_is_found(seed: int) -> None:
    weights = Coupling("weights", (producer("up", "o i -> o i"),))
    check_constraint(NOfM(2, 4), weights, seed=seed)
    with pytest.raises(AssertionError, match="another point of the set"):
        check_constraint(_TheFirstOfEachBlock(2, 4), weights, seed=seed)


def test_one_that_does_not_say_nearest_need_not_be() -> None:
    check_constraint(_TheFirstAndSaysSo(k=2))


@dataclass(frozen=True)
class _NoSet:
    nearest: ClassVar[bool] = True

    def project(self, groups: Groups) -> Mapping[str, Tensor]:
        return groups.tensors


def test_what_is_no_constraint_is_refused() -> None:
    with pytest.raises(AssertionError, match="expected nearest, contains and project"):
        check_constraint(_NoSet())  # type: ignore[arg-type]
