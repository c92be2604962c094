"""Families of others are checked before they are used; a model of no family is told what to do."""

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from tprune.families.bart import BART
from tprune.families.registry import FAMILIES, family_of
from tprune.families.table import Table
from tprune.support.errors import InputError


class Half:
    name = "half"

    def matches(self, model: nn.Module) -> bool:
        return False


def with_members(**changes: Any) -> Any:
    members = ("name", "tolerance", "matches", "couplings", "build", "drops_empty", "inherit")
    return SimpleNamespace(**{member: getattr(BART, member) for member in members} | changes)


@pytest.mark.parametrize(
    ("family", "says"),
    [
        (Half(), "'mine': is a Half without couplings, build, drops_empty, inherit, tolerance; expected a .*Table"),
        (Table, "'mine': is the class Table"),
        (with_members(name=None), "is a SimpleNamespace without name;"),
        (with_members(tolerance="1e-9", build=3), "is a SimpleNamespace without build, tolerance;"),
    ],
)
def test_what_a_plugin_lacks_is_named(family: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=says):
        FAMILIES.enter("mine", family)
    assert "mine" not in FAMILIES

    class Point:
        name = "mine"

        def load(self) -> Any:
            return family

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Point()] if "families" in group else [])
    with pytest.raises(InputError, match=says):
        family_of(nn.Linear(2, 2))


def test_a_model_of_no_family_is_told_what_to_do() -> None:
    with pytest.raises(InputError, match=r"Linear is of no supported family; .*write a table .*docs/add-your-own\.md"):
        family_of(nn.Linear(2, 2))
