"""Writes docs/reference.md: every verb with its options, and every key of a recipe, from the code itself (a test
compares).

python docs/make_reference.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo

from tprune.cli.app import VERBS
from tprune.cli.groups import expanded, options_of
from tprune.cli.shared import Common
from tprune.core.kinds import KINDS, Scope
from tprune.recipe.schema import KindName, Recipe

WORDS = {int: "number", float: "number", str: "text", bool: "yes or no"}
PAGE = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The page."""
    lines = [
        "# Reference",
        "",
        "Made from the code by `python docs/make_reference.py`.",
        "",
        "## Verbs",
        *options_of_all(),
    ]
    for verb in VERBS:
        lines += verb_lines(verb)
    lines += ["", "## Kinds of couplings", "", *kind_lines()]
    lines += ["", "## Recipes", "", "A recipe is a YAML file; `--set KEY=VALUE` sets one of its keys."]
    return "\n".join([*lines, *recipe_lines()]) + "\n"


def options_of_all() -> Iterator[str]:
    """The options that every verb has."""
    yield from ("", "Every verb has:", "", *table(options_of(Common)))


def verb_lines(verb: str) -> Iterator[str]:
    """One verb: what it does, and its own options, group by group."""
    own = list(inspect.signature(expanded(VERBS[verb])).parameters.values())
    arguments = [each.name.upper() for each in own if isinstance(_info(each), ArgumentInfo)]
    yield from ("", f"### tprune {' '.join([verb, *arguments])}", "", inspect.cleandoc(VERBS[verb].__doc__ or ""), "")
    if own:
        yield from table(own)


def table(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    """Options in Markdown: those without a group first, and the name of each group above its options."""
    groups: dict[str, list[inspect.Parameter]] = {"": []}
    for parameter in parameters:
        groups.setdefault(_info(parameter).rich_help_panel or "", []).append(parameter)
    yield from ("| option | default | says |", "|---|---|---|")
    for name, each in groups.items():
        if name and len(groups) > 2:
            yield f"| **{name}** | | |"
        yield from (row(parameter) for parameter in each if not _info(parameter).hidden)


def row(parameter: inspect.Parameter) -> str:
    """One option in Markdown, from its name, annotation and default."""
    info, type_ = _info(parameter), get_args(parameter.annotation)[0]
    # in an annotation, typer keeps the first name where defaults would be
    names = [
        each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str) and each.startswith("-")
    ]
    shown = ", ".join(f"`{each}`" for each in names or (f"--{parameter.name.replace('_', '-')}",))
    if isinstance(info, ArgumentInfo):
        shown = f"`{parameter.name.upper()}`"
    kinds = [
        t
        for t in (type_, *get_args(type_), *(x for t in get_args(type_) for x in get_args(t)))
        if isinstance(t, type) and issubclass(t, StrEnum)
    ]
    choices = f" One of {', '.join(f'`{each}`' for each in kinds[0])}." if kinds else ""
    needed = "required" if parameter.default is inspect.Parameter.empty else default(parameter.default)
    return f"| {shown} | {needed} | {info.help or ''}{choices} |"


def _info(parameter: inspect.Parameter) -> Any:
    return get_args(parameter.annotation)[1]


def kind_lines() -> Iterator[str]:
    """What is known of every kind of coupling."""
    yield from ("| kind | a group is one of | within | may be left empty | shares tried |", "|---|---|---|---|---|")
    for kind_, rule in KINDS.items():
        within = f"`{rule.within}`, equally many in each" if rule.within else ""
        empty = "always" if rule.scope is Scope.BLOCK else "where its floor is 0" if rule.may_be_empty else "never"
        shares = ", ".join(f"{share:g}" for share in rule.shares)
        yield f"| `{kind_}` | {rule.label} | {within} | {empty} | {shares} |"


def recipe_lines() -> Iterator[str]:
    """Every section of a recipe with its keys."""
    yield from ("", *section("", Recipe))
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ("", f"### {name}", "", *section(f"{name}.", field.annotation))


def section(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """What a section is for, and its keys."""
    said = inspect.cleandoc(model.__doc__ or "")
    before, _, attributes = said.partition("Attributes:")
    yield from (before.strip(), "", "| key | type | default | says |", "|---|---|---|---|")
    inherited = [
        inspect.cleandoc(base.__doc__ or "").partition("Attributes:")[2]
        for base in model.__mro__
        if issubclass(base, BaseModel)
    ]
    meaning = {key: text for part in (*reversed(inherited), attributes) for key, text in _said(part)}
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        value = field.get_default(call_default_factory=True)
        needed = "required" if value is PydanticUndefined else default(value)
        yield f"| `{prefix}{key}` | {kind(field.annotation)} | {needed} | {meaning.get(key, '')} |"


def _said(attributes: str) -> Iterator[tuple[str, str]]:
    """The keys of a docstring's attributes with all lines that are said of each: further ones are indented more."""
    for entry in re.split(r"\n(?= {4}\S)", attributes.split("\n\n")[0]):
        if match := re.match(r"\s*(\w+): (.+)", entry, re.DOTALL):
            yield match[1], " ".join(match[2].split())


def kind(annotation: Any) -> str:
    """A type as a reader would say it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation == KindName:
        return " or ".join(f"`{each}`" for each in KINDS)
    if origin is Annotated:
        return kind(inner[0])
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inner)
    if origin in (Union, UnionType):
        return " or ".join(kind(each) for each in inner if each is not NoneType)
    if origin is dict:
        return f"{kind(inner[1])}, by {kind(inner[0])}"
    if origin in (list, tuple):
        parts = dict.fromkeys(kind(each) for each in inner if each is not Ellipsis)
        return f"list of {', '.join(parts)}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def default(value: Any) -> str:
    """A default as one would type it."""
    if value is None or value == {} or callable(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"`{list(value) if isinstance(value, tuple) else getattr(value, 'value', value)}`"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
