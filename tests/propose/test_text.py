"""The Python file of a family: names of any kind, and models of one class alone."""

import ast
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tprune
from tprune.families.registry import FAMILIES, family_of
from tprune.propose.expressions import name_of, opened_at, quoted
from tprune.propose.found import FoundStream, FoundView
from tprune.propose.subject import named_of
from tprune.propose.text import Named, family_file
from tprune.support.errors import InputError

ODD = 'a"b{c}\\'


@pytest.mark.parametrize("name", ["head", ODD, "{layer}.mlp", "{layer}." + ODD, "ä\n"])
def test_names_are_expressions_of_themselves(name: str) -> None:
    assert eval(name_of(name), {"layer": "h.0"}) == name.replace("{layer}", "h.0")
    assert ast.literal_eval(quoted(name)) == name


def test_what_stands_around_a_variable_is_itself() -> None:
    assert eval(opened_at("n", ODD, ODD), {"n": 3}) == f"{ODD}3{ODD}"


def test_a_module_with_an_odd_name_gets_a_table() -> None:
    net = nn.Sequential(OrderedDict([(ODD, nn.Linear(4, 8)), ("act", nn.ReLU()), ("last", nn.Linear(8, 3))])).eval()
    found = tprune.propose_family(net, torch.randn(3, 4))
    assert found.kinds["ffn"] == 1 and quoted(ODD) in found.text


def test_names_of_odd_layers_and_views_are_written() -> None:
    views = tuple(FoundView("bias", f"h.{n}.{ODD}", "u -> u") for n in range(2))
    stream = FoundStream((ODD,), ("h.0.norm", "h.1.norm"), (), (), False, 0, tensors=views)
    file = family_file(Named("odd", "Odd", "", False), (), stream)
    space: dict[str, Any] = {}
    exec(file.definition, space)
    model = nn.ModuleDict({"h": nn.ModuleList([nn.Identity(), nn.Identity()])})
    (row,) = space["rows"](model)
    assert row.embeddings == (ODD,) and row.norms == ("h.0.norm", "h.1.norm")
    assert [view.param for view in row.tensors] == [f"h.0.{ODD}", f"h.1.{ODD}"]
    assert "import bias\n" in file.definition and "consumer" not in file.definition


class Twin(nn.Sequential):
    """A class whose name another has."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)  # type: ignore[no-any-return]


def test_another_class_of_the_same_name_is_of_another_family() -> None:
    layers = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)
    found, other = tprune.propose_family(Twin(*layers).eval(), torch.randn(3, 4)), type("Twin", (nn.Sequential,), {})
    exec(found.text, {})
    try:
        assert family_of(Twin(*layers)).name == "twin"
        other.__module__ = "elsewhere"
        with pytest.raises(InputError, match="is of no supported family"):
            family_of(other(*layers))
    finally:
        FAMILIES.entered.clear()


def test_a_class_of_a_script_is_known_by_its_name_alone() -> None:
    scripted: Any = type("Scripted", (nn.Sequential,), {"__module__": "__main__"})
    assert named_of(scripted()).belongs == 'any(kind.__qualname__ == "Scripted" for kind in type(model).__mro__)'
    assert named_of(Twin()).belongs == (
        f'any((kind.__module__, kind.__qualname__) == ("{__name__}", "Twin") for kind in type(model).__mro__)'
    )
