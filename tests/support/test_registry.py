"""Things by name: ours, entered ones, installed ones."""

from __future__ import annotations

import importlib.metadata
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tprune.support.errors import InputError
from tprune.support.registry import Registry, rescan


def known() -> Registry[Any]:
    return Registry("shape", "tests.shapes", {"exact": "fractions:Fraction", "odd": "nowhere.at.all:Thing"})


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    shapes = known()
    sys.modules.pop("fractions", None)
    assert "odd" in shapes and list(shapes) == ["exact", "odd"] and len(shapes) == 2
    assert "fractions" not in sys.modules
    assert shapes["exact"](1, 2) == 0.5
    with pytest.raises(ModuleNotFoundError):
        shapes["odd"]


def test_entered_things_and_taken_names() -> None:
    shapes = known()
    shapes.enter("round", 3)
    assert shapes["round"] == 3 and list(shapes)[-1] == "round"
    shapes.enter("round", 4)  # a notebook's cell that is run again
    assert shapes.named("round") == 4
    with pytest.raises(InputError, match="two shapes are called 'exact'"):
        shapes.enter("exact", 5)
    with pytest.raises(InputError, match="shape 'flat'; expected one of exact, odd, round"):
        shapes.named("flat")


def test_installed_ones_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, looked = known(), []

    def entry_points(group: str) -> list[Any]:
        looked.append(group)
        return [SimpleNamespace(name="flat", load=lambda: 7)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert [shapes["flat"] for _ in range(3)] == [7, 7, 7] and "flat" in shapes
    assert looked == ["tests.shapes"]
    with pytest.raises(InputError, match="two shapes are called 'flat'"):
        shapes.enter("flat", 1)
    rescan()
    assert shapes["flat"] == 7 and len(looked) == 2


@pytest.mark.parametrize(
    ("names", "says"),
    [(("flat", "flat"), "two installed packages enter 'flat'"), (("exact",), "two shapes are called 'exact'")],
)
def test_names_that_two_have(names: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [SimpleNamespace(name=name, load=lambda: 7) for name in names]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    with pytest.raises(InputError, match=says):
        list(known())


def test_what_lacks_what_its_kind_needs_is_refused_when_entered_and_when_first_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def fault(thing: object) -> str | None:
        asked.append(thing)
        return None if isinstance(thing, int) else f"{thing!r} is no number"

    shapes: Registry[Any] = Registry("shape", "tests.checked", {"exact": "fractions:Fraction"}, fault)
    with pytest.raises(InputError, match="shape 'round' cannot be entered: 'x' is no number"):
        shapes.enter("round", "x")
    assert "round" not in shapes
    shapes.enter("round", 3)
    found = {"flat": 7, "bent": "y"}
    points = [SimpleNamespace(name=name, load=lambda name=name: found[name]) for name in found]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    assert shapes["flat"] == shapes["flat"] == 7 and asked.count(7) == 1  # once is enough
    with pytest.raises(
        InputError, match=r"shape 'bent' cannot be used, which a package installs under tests\.checked: 'y'"
    ):
        shapes["bent"]
    assert shapes["exact"](1, 2) == 0.5  # ours are looked at by the tests


def test_things_know_their_names() -> None:
    shapes: Registry[Any] = Registry("shape", "tests.named", {"exact": "fractions:Fraction"})
    shapes.enter("list", list)
    assert shapes.name_of(list) == "list" and shapes.name_of(shapes["exact"]) == "exact" and shapes.name_of(set) is None
