"""Options in groups, as typer and help see them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer

from tprune.cli.app import VERBS
from tprune.cli.groups import expanded, options_of

Call = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Size:
    PANEL: ClassVar[str] = "Size"
    width: Annotated[int, typer.Option("--width", help="Width.")]
    height: Annotated[int, typer.Option("--height", help="Height.")] = 2


@dataclass(frozen=True)
class Again:
    PANEL: ClassVar[str] = "Again"
    width: Annotated[int, typer.Option("--width", help="Width.")] = 1


def test_a_group_becomes_its_options_and_comes_back_whole() -> None:
    found: list[object] = []

    def draw(name: Annotated[str, typer.Argument()], size: Size, dark: Annotated[bool, typer.Option()] = False) -> None:
        found.extend([name, size, dark])

    flat = expanded(draw)
    parameters = inspect.signature(flat).parameters
    assert list(parameters) == ["name", "width", "height", "dark"]
    assert parameters["width"].default is inspect.Parameter.empty and parameters["height"].default == 2
    flat(name="a", width=5, height=7, dark=True)
    assert found == ["a", Size(5, 7), True]


def test_the_same_option_in_two_groups_is_a_mistake() -> None:
    def draw(size: Size, again: Again) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'width'"):
        expanded(draw)


def test_groups_are_headings_of_the_help(tprune: Call) -> None:
    code, said, _ = tprune("prune", "--help")
    headings = [line.rstrip(":") for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert code == 0
    assert {"Data", "Translation", "Budget (one of these)", "Cutting", "Training", "Timing", "Output", "Common"} <= set(
        headings
    )
    assert len(headings) == len(set(headings))
    assert said.index("Budget") < said.index("--macs") < said.index("Cutting") < said.index("--kind")
    assert "--written" not in said


def test_no_verb_has_many_parameters_and_no_option_lacks_its_help() -> None:
    for name, verb in VERBS.items():
        assert len(inspect.signature(verb).parameters) <= 11, name
        for option in inspect.signature(expanded(verb)).parameters.values():
            info = option.annotation.__metadata__[0]
            assert info.hidden or (info.help[0].isupper() and info.help.rstrip().endswith(".")), (name, option.name)


@pytest.mark.parametrize(("old", "new"), [(("--written", "9"), "--output-vocab 9")])
def test_renamed_options_are_refused_with_their_new_names(tprune: Call, old: tuple[str, str], new: str) -> None:
    code, _, notes = tprune("prune", "owner/name", "--out", "run", "--macs", 0.5, *old)
    assert code == 2 and f"was renamed; use {new}" in " ".join(notes.split())


def test_the_group_of_an_option_is_where_it_was_declared() -> None:
    assert {p.annotation.__metadata__[0].rich_help_panel for p in options_of(Size)} == {"Size"}
