"""Modules that are used twice: rows cannot cut them, and say so before anything is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tprune.core.sites import Site
from tprune.families.channels import Channels
from tprune.families.table import Table
from tprune.support.errors import InputError
from tprune.testing import check_coupling


class Net(nn.Module):
    """Three maps, of which a test makes some the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mid, self.also, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.also(self.mid(self.first(x).relu()).relu()).relu())
        return y


def table(*rows: tuple[str, str, str]) -> Table:
    made = [Channels(Site("", i, "channels"), name, (out,), (), (read,)) for i, (name, out, read) in enumerate(rows)]
    return Table("net", lambda model: isinstance(model, Net), lambda model: made)


CHAIN = (("first", "first", "mid"), ("mid", "mid", "also"), ("also", "also", "last"))


def test_separate_modules_are_fine() -> None:
    model: Any = Net()
    found = table(*CHAIN).couplings(model)
    assert [c.name for c in found if not c.closed] == [
        f"{name}.{axis}" for name in ("first", "mid", "also", "last") for axis in ("in", "out")
    ]
    for coupling in (one for one in found if one.closed):
        check_coupling(model, coupling, lambda net: net(torch.ones(2, 4)))


def test_one_module_as_output_and_input_of_one_row() -> None:
    with pytest.raises(InputError, match="net: first: mid is among its outputs and its inputs"):
        table(("first", "mid", "mid")).couplings(Net())


def test_one_module_under_two_names() -> None:
    model = Net()
    model.also = model.mid
    with pytest.raises(InputError, match="net: mid and also are one module, which is used twice"):
        table(*CHAIN).couplings(model)


def test_two_modules_with_one_weight() -> None:
    model = Net()
    model.also.weight = model.mid.weight
    with pytest.raises(InputError, match="net: also and mid have one weight"):
        table(*CHAIN).couplings(model)


def test_a_module_that_runs_twice_is_found_by_the_check() -> None:
    class Twice(Net):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(self.mid(self.mid(self.first(x).relu()).relu()).relu())
            return y

    coupling = table(("mid", "mid", "last")).couplings(Twice())[0]
    with pytest.raises(AssertionError, match="are still read"):
        check_coupling(Twice(), coupling, lambda net: net(torch.ones(2, 4)))
